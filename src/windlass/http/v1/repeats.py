"""The header Idempotency-Key: read, and bound to who sends it, to what route, and to which body.

Keeps nothing: the engine knows which requests have come before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from windlass.contracts.engine_api import Repeat
from windlass.core.limits import IDEMPOTENCY_KEY_CHARS
from windlass.errors import InputError
from windlass.http.call import Call
from windlass.http.reply import Headers
from windlass.wire.codec import encode_json

REPLAYED: Final[Headers] = [(b"idempotency-replayed", b"true")]
"""Said of an answer that was given before."""

_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_ESCAPE = re.compile(r"\\(.)")


def read_key(call: Call) -> str | None:
    """Read the key; None when there is none.

    Raises:
        InputError: it is no string of a structured field and no word either, or too long.

    Source: draft-ietf-httpapi-idempotency-key-header-07 for the string (RFC 9651 § 3.3.3); many clients send it bare.
    """
    text = call.header(b"idempotency-key")
    if text is None:
        return None
    text = text.strip(" \t")
    key = text if _BARE.fullmatch(text) else ""
    if found := _STRING.fullmatch(text):
        key = _ESCAPE.sub(r"\1", found[1])
    if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARS:
        raise InputError(
            f'Idempotency-Key is 1 to {IDEMPOTENCY_KEY_CHARS} printable characters, in quotes or without: "8e03-40fe"',
            code="invalid_value",
            pointer="/Idempotency-Key",
        )
    return key


def read_repeat(call: Call, documents: Iterable[Any]) -> Repeat | None:
    """Bind the key to the request, whose body is `documents`; None when there is no key.

    A batch is the same whichever way it is spelled: as one document or line by line, with or without spaces.
    """
    key = read_key(call)
    if key is None:
        return None
    digest = hashlib.sha256()
    for document in documents:
        digest.update(encode_json(document))
        digest.update(b"\n")
    scope = f"{call.principal} {call.scope['method']} {call.scope['path']}"
    return Repeat(scope, key, digest.digest())
