"""HTTP/1.1 on a connection, with the bounds that the parser under it lacks: sizes, counts, and time to say it.

Answers what is no request; everything else goes to the app.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from windlass.errors import WindlassError
from windlass.wire.codec import encode_view
from windlass.wire.problems import MEDIA_TYPE, problem_of

# Source: the figures that servers in front of others commonly set.
TARGET_BYTES: Final = 8 * 1024
HEADER_BYTES: Final = 8 * 1024
HEAD_BYTES: Final = 32 * 1024
HEADERS_MAX: Final = 100
HEAD_RECEIPT_S: Final = 10.0
"""From the first byte of a request, or from the connection, to the end of the headers."""
BODY_RECEIPT_S: Final = 30.0
"""From the end of the headers to the end of the body."""
WRITE_STALL_S: Final = 30.0
"""A reader that has taken nothing for so long is cut off."""
LINGER_BYTES: Final = 32 * 1024 * 1024
"""So much of a body that was answered before its end is thrown away, so that its sender gets to read the answer."""


class _Refused(Exception):
    """Ends the parsing; the reason is kept beside."""


class StrictProtocol(HttpToolsProtocol):
    """One connection."""

    _refusal: WindlassError | None = None
    _deadline: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _in_head = True
    _in_body = False
    _head_bytes = 0
    _headers_bytes = 0
    _unread_bytes = 0
    _is_broken = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin, with a deadline for the first request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget_deadline()
        self._forget_stall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the reader, but not for ever: what it does not read is held here."""
        super().pause_writing()
        self._stall = self.loop.call_later(WRITE_STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        self._forget_stall()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        if self._is_broken:
            return
        super().data_received(data)
        # LIMIT: the parser keeps a header that has no end, and calls nobody before its end.
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES + TARGET_BYTES and not self.transport.is_closing():
                self._refusal = _headers_too_large()
                self.send_400_response("")
        elif self._in_body and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(BODY_RECEIPT_S, self._give_up_body)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._headers_bytes = self._unread_bytes = 0
        if self._deadline is None:
            self._expect_head()

    def on_url(self, url: bytes) -> None:
        """Take in the target or a part of it."""
        super().on_url(url)
        if len(self.url) > TARGET_BYTES:
            self._refuse(WindlassError(f"a target may have {TARGET_BYTES:,} bytes", code="target_too_long"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header."""
        super().on_header(name, value)
        size = len(name) + len(value)
        self._headers_bytes += size
        if size > HEADER_BYTES or self._headers_bytes > HEAD_BYTES or len(self.headers) > HEADERS_MAX:
            self._refuse(_headers_too_large())

    def on_headers_complete(self) -> None:
        """Give the request to the app."""
        self._in_head = False
        self._in_body = True
        self._forget_deadline()
        if not self.url.startswith(b"/"):
            # A whole URL names a host of its own, and nobody would check it.
            self._refuse(WindlassError("name a path of this server: /…", code="bad_request"))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Give a part of the body to the app, or throw it away where that has answered already."""
        super().on_body(body)
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > LINGER_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        """End a request."""
        super().on_message_complete()
        self._in_body = False
        self._forget_deadline()
        if self._unread_bytes:
            self._expect_head()

    def on_response_complete(self) -> None:
        """Go on to the next request, unless what came behind this one was none."""
        if self._is_broken:
            self.pipeline.clear()
            self.transport.close()
        super().on_response_complete()

    def _owes_answer(self) -> bool:
        """Whether a request that came whole has not been answered yet."""
        if self.pipeline:
            return True
        return self.cycle is not None and not self.cycle.response_complete and not self._in_body  # pyright: ignore[reportUnnecessaryComparison]

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with the request, and end the connection.

        Behind a request that is being worked on it says nothing: it would be taken for that one's answer. The
        connection ends once that has been given.
        """
        if self._owes_answer():
            self._is_broken = True
            self._forget_deadline()
            return
        error = self._refusal or WindlassError(msg, code="bad_request")
        problem = problem_of(error, request_id=secrets.token_hex(8))
        body = encode_view(problem)
        head = (
            f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nx-content-type-options: nosniff\r\n"
            f"cache-control: no-store\r\nx-request-id: {problem.request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[problem.status] + head.encode("ascii") + body)
        self.transport.close()

    def _refuse(self, error: WindlassError) -> None:
        self._refusal = error
        raise _Refused

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_RECEIPT_S, self._give_up_head)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _give_up_head(self) -> None:
        self._give_up(f"the request's headers were not there after {HEAD_RECEIPT_S:g} s")

    def _give_up_body(self) -> None:
        if self.cycle.response_started:  # what is left of the body would be thrown away
            self.transport.close()
        else:
            self._give_up(f"the request's body was not there after {BODY_RECEIPT_S:g} s")

    def _give_up(self, detail: str) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refusal = WindlassError(detail, code="request_timeout")
            self.send_400_response("")


def _headers_too_large() -> WindlassError:
    return WindlassError(
        f"a request may have {HEADERS_MAX} headers, {HEADER_BYTES:,} bytes each and {HEAD_BYTES:,} in all",
        code="headers_too_large",
    )
