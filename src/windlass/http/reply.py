"""Answers: a status, headers and a body, sent as they are. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from windlass.http.call import until_gone
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


class StreamReply:
    """An answer of JSON whose body is made while it is sent, piece by piece, as fast as the client takes it."""

    def __init__(self, status: int, pieces: AsyncIterator[bytes]) -> None:
        self._status = status
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send, /) -> None:
        """Send it until it is through or the client leaves; of a HEAD, everything but the body.

        Raises:
            Whatever making the body raises: before the first piece it can still be answered, later the connection is
            cut, so that nobody takes a part for the whole.
        """
        if scope["http_version"] == "1.0":  # which knows no chunks: there it has to be whole before it has a length
            await Reply(self._status, b"".join([piece async for piece in self._pieces]), [_JSON])(scope, receive, send)
            return
        piece: bytes | None = await anext(self._pieces)
        await send({"type": "http.response.start", "status": self._status, "headers": [_JSON]})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.create_task(until_gone(receive))
        try:
            while piece is not None and not gone.done():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                # A quick store and a quick reader would let nobody else on the loop, nor the end of the client be seen.
                await asyncio.sleep(0)
                piece = await anext(self._pieces, None)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


def json_reply(status: int, view: Any, headers: Headers | None = None) -> Reply:
    """Answer with a shape of ours."""
    return raw_reply(status, encode_view(view), headers)


def raw_reply(status: int, document: bytes, headers: Headers | None = None) -> Reply:
    """Answer with a document that is JSON already."""
    return Reply(status, document, [_JSON, *(headers or [])])


def text_reply(status: int, text: str) -> Reply:
    """Answer with plain text."""
    return Reply(status, text.encode(), [(b"content-type", b"text/plain; charset=utf-8")])
