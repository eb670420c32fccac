"""Answers: a status, headers and a body, sent as they are. Decides nothing."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from windlass.wire.codec import encode_view

Headers = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_WITHOUT_BODY = frozenset({204, 304})


class Answer(Protocol):
    """What a handler gives back."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> None:
        """Send it."""
        ...


class Reply:
    """An answer whose body is in memory."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Headers | None = None) -> None:
        self.status = status
        self.body = body
        self.headers: Headers = headers or []

    async def __call__(self, scope: Scope, _receive: Receive, send: Send, /) -> None:
        """Send it; of a HEAD, everything but the body."""
        headers = self.headers
        if self.status not in _WITHOUT_BODY:
            headers = [*headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


def json_reply(status: int, view: Any, headers: Headers | None = None) -> Reply:
    """Answer with a shape of ours."""
    return raw_reply(status, encode_view(view), headers)


def raw_reply(status: int, document: bytes, headers: Headers | None = None) -> Reply:
    """Answer with a document that is JSON already."""
    return Reply(status, document, [_JSON, *(headers or [])])


def text_reply(status: int, text: str) -> Reply:
    """Answer with plain text."""
    return Reply(status, text.encode(), [(b"content-type", b"text/plain; charset=utf-8")])
