"""Who may do what: the scopes of routes and keys, and how a key is spelled. Pure.

Holds no keys and makes none; secrets come from outside and are only hashed here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from windlass.core.limits import ACCESS_ID_DIGITS, ACCESS_SECRET_DIGITS


class AccessScope(StrEnum):
    """What a caller must be allowed to do. Each scope allows what those before it do."""

    PUBLIC = "public"
    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"
    ADMIN = "admin"


_ORDER: Final = tuple(AccessScope)
KEY_SCOPES: Final = _ORDER[1:]
"""The scopes a key can have."""


def is_allowed(granted: Iterable[str], needed: AccessScope) -> bool:
    """Whether a key with the scopes `granted` may do what needs `needed`. A scope nobody knows allows nothing.

    >>> is_allowed(["operate"], AccessScope.SUBMIT), is_allowed(["read"], AccessScope.SUBMIT)
    (True, False)
    """
    enough = _ORDER[_ORDER.index(needed) :]
    return any(scope in enough for scope in granted)


FIRST_KEY: Final = "this is the first key: from now on everybody needs one, programs on the server's own machine too"
"""What follows from making it, said to whoever does."""


class KeyText(NamedTuple):
    """The two parts of a key as a client has it: what it is called, and what only its owner knows."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"wl_{self.id}_{self.secret}"

    def __repr__(self) -> str:  # a traceback or a log line must not tell it
        return f"KeyText(id={self.id!r})"


_PATTERN: Final = f"wl_([0-9a-f]{{{ACCESS_ID_DIGITS}}})_([0-9a-f]{{{ACCESS_SECRET_DIGITS}}})"
_KEY: Final = re.compile(_PATTERN)
_KEY_INSIDE: Final = re.compile(_PATTERN.encode())


def read_key(text: str) -> KeyText | None:
    """Read a key; None when it is spelled like none.

    >>> read_key("wl_0123456789abcdef_" + "7" * 64)
    KeyText(id='0123456789abcdef')
    >>> read_key("hunter2") is None
    True
    """
    found = _KEY.fullmatch(text)
    return KeyText(*found.groups()) if found else None


def holds_key(raw: bytes) -> bool:
    """Whether a key stands anywhere in `raw`."""
    return _KEY_INSIDE.search(raw) is not None


def digest_of(secret: str) -> bytes:
    """Hash a secret as it is kept: 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()
