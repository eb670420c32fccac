"""What came back, and what it makes of the attempt: a result, another try, or a failure for good. Does no I/O."""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from windlass.app.signals import Fail, Retry
from windlass.core.limits import KIB, RESULT_BYTES
from windlass.errors import InputError, WindlassError
from windlass.outbound.failure import TransferFailed
from windlass.outbound.guard import Url
from windlass.outbound.head import Head
from windlass.wire.codec import decode_strict, encode_json
from windlass.wire.secrets import mask_url

EXCERPT_BYTES: Final = 256
"""Of the body of an answer that fails the task, shown in its error."""
HEADERS_BYTES: Final = 16 * KIB
_NOT_KEPT: Final = frozenset({"set-cookie", "set-cookie2", "authentication-info", "proxy-authentication-info"})
"""Fields that hold secrets of the other side's."""
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_JSON_TYPE = re.compile(r"application/(?:[!#$&^_.+a-z0-9-]+\+)?json", re.ASCII)
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class CallFailed(Retry):
    """A call that is worth another try; `code` says why, as `Fail.code` does."""

    def __init__(self, message: str, *, code: str, after: float | None = None) -> None:
        super().__init__(message, after=after)
        self.code = code


class AnswerFull(Exception):
    """More came than is kept: the rest is not waited for."""


class Answer:
    """The answer as it comes in; its transport's `Receiver`. Keeps `limit` bytes of the body.

    Concurrency: filled by one thread, read once that has ended.
    """

    def __init__(self, limit: int) -> None:
        self.head = Head(0)
        self.url: Url | None = None
        self.content = bytearray()
        self.is_cut = False
        self._limit = limit

    def begin(self, head: Head, url: Url) -> bool:
        """Take the head; the body is always wanted, be it to learn that there is one."""
        self.head, self.url = head, url
        return True

    def write(self, chunk: memoryview) -> None:
        """Take the next bytes.

        Raises:
            AnswerFull: they are more than is kept; what fits is.
        """
        room = self._limit - len(self.content)
        self.content += chunk[:room]
        if len(chunk) > room:
            self.is_cut = True
            raise AnswerFull


def judge(answer: Answer, elapsed_s: float, now: datetime) -> dict[str, Any]:
    """Give the result of a call that was answered with 2xx.

    Raises:
        CallFailed: 408, 425, 429 or 5xx, with the delay that the other side asks for.
        Fail: any other status; the message has the beginning of the answer.
    """
    status = answer.head.status
    if 200 <= status < 300:
        return _result(answer, elapsed_s)
    host = "" if answer.url is None else answer.url.host
    message = f"HTTP {status} from {host}{_excerpt(bytes(answer.content))}"
    if status >= 500 or status in _TRY_AGAIN:
        raise CallFailed(message, code="http_status", after=answer.head.retry_after_s(now))
    raise Fail(message, code="http_status")


def failure_of(error: WindlassError) -> Fail | CallFailed:
    """Say what a call without a whole answer makes of the attempt.

    A certificate may be renewed: unlike a download, a call tries on.
    """
    if isinstance(error, TransferFailed) and (error.retryable or error.code == "tls_failed"):
        return CallFailed(error.detail, code=error.code, after=error.retry_after_s)
    return Fail(error.detail, code=error.code)


def _result(answer: Answer, elapsed_s: float) -> dict[str, Any]:
    """Describe the answer; its body in the first form that holds all of it and fits."""
    common: dict[str, Any] = {
        "status": answer.head.status,
        "headers": _headers(answer.head),
        "truncated": answer.is_cut,
        "url": "" if answer.url is None else mask_url(answer.url.text),
        "elapsed_s": round(elapsed_s, 3),
    }
    for form in _forms(answer):
        result = {**common, **form}
        try:
            if len(encode_json(result)) <= RESULT_BYTES:
                return result
        except InputError:
            continue  # JSON that nests too deep as a part of the result
    return {**common, "body_base64": base64.b64encode(answer.content).decode()}


def _forms(answer: Answer) -> Iterator[dict[str, Any]]:
    head, content = answer.head, bytes(answer.content)
    if (head.get("content-encoding") or "identity").strip().lower() != "identity":
        return  # never decoded: a small answer could become a huge one
    media_type = (head.get("content-type") or "").partition(";")[0].strip().lower()
    if content and not answer.is_cut and _JSON_TYPE.fullmatch(media_type):
        with suppress(InputError):  # not the JSON it says it is, or more than windlass reads: then it is text
            yield {"json": decode_strict(content)}
    try:
        # A cut may go through a character; what is left of that is dropped.
        text = codecs.getincrementaldecoder("utf-8")().decode(content, final=not answer.is_cut)
    except UnicodeDecodeError:
        return
    if not _NO_TEXT.search(text):
        yield {"body": text}


def _headers(head: Head) -> dict[str, str]:
    """Keep the fields, as many as there is room for, those of one name joined by commas."""
    kept: dict[str, str] = {}
    room = HEADERS_BYTES
    for name, _ in head.fields:
        if name in kept or name in _NOT_KEPT:
            continue
        value = head.get(name) or ""
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name] = value
    return kept


def _excerpt(content: bytes) -> str:
    """Quote the beginning of a body; what is not printable is escaped, so that it can neither forge nor hide."""
    text = content[:EXCERPT_BYTES].decode("utf-8", "backslashreplace")
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f": {shown}" if shown else ""
