"""HTTP/1.1 on a connection, with the bounds that the parser under it lacks: sizes, counts, and time to say it.

Answers what is no request; everything else goes to the app.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from windlass.errors import WindlassError
from windlass.http.access import is_loopback
from windlass.http.connections import Connections
from windlass.http.whole import WholeAnswers
from windlass.wire.codec import encode_view
from windlass.wire.problems import MEDIA_TYPE, problem_of, retry_after_s

# Source: the figures that servers in front of others commonly set.
TARGET_BYTES: Final = 8 * 1024
HEADER_BYTES: Final = 8 * 1024
HEAD_BYTES: Final = 32 * 1024
HEADERS_MAX: Final = 100
CHUNKS_MAX: Final = 10_000
"""Of one body: each costs a call, however small it is."""
CHUNK_FRAME_BYTES: Final = 32
"""What may stand around a chunk, on average: its size, line ends, and hardly any extension."""
HEAD_RECEIPT_S: Final = 10.0
"""From the first byte of a request, or from the connection, to the end of the headers."""
BODY_RECEIPT_S: Final = 30.0
"""From the end of the headers to the end of the body."""
BODY_BYTES_PER_S: Final = 1024
BODY_SLOW_S: Final = 5.0
"""From here on a body must have come at `BODY_BYTES_PER_S` on average; looked at every second."""
WRITE_STALL_S: Final = 30.0
"""A reader that has taken nothing for so long is cut off."""
LINGER_BYTES: Final = 32 * 1024 * 1024
"""So much of a body that was answered before its end is thrown away, so that its sender gets to read the answer."""
_LOOK_S: Final = 1.0
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_OPENING_BYTES: Final = 64
_OPENING = re.compile(rb"(?:\r?\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) /")
_ALLOW: Final = "DELETE, GET, HEAD, OPTIONS, PATCH, POST"
"""Said of a method no path takes: the path is not looked at then."""
_METHODS: Final = frozenset(_ALLOW.encode().split(b", "))


class _Refused(Exception):
    """Ends the parsing; the reason is kept beside."""


class _Alarm:
    """A call that comes after a time, unless it is put off."""

    __slots__ = ("_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        return self._handle is not None

    def set(self, after_s: float, call: Callable[[], None]) -> None:
        self.stop()
        self._handle = self._loop.call_later(after_s, self._ring, call)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _ring(self, call: Callable[[], None]) -> None:
        self._handle = None
        call()


class _CutOffProtocol(HttpToolsProtocol):
    """A connection that does not wait for ever for its reader: what that does not take is held here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stall = _Alarm(self.loop)

    def pause_writing(self) -> None:
        """Wait for the reader."""
        super().pause_writing()
        self._stall.set(WRITE_STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        self._stall.stop()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stall.stop()
        super().connection_lost(exc)


class StrictProtocol(_CutOffProtocol):
    """One connection."""

    _refusal: WindlassError | None = None
    _in_head = False
    _in_body = False
    _is_broken = False
    _received_bytes = 0
    """Of this request, everything."""
    _headers_bytes = 0
    _body_bytes = 0
    _unread_bytes = 0
    _chunks = 0
    _body_began_s = 0.0
    _opening = b""
    """How the request begins, where what has come begins with it."""

    def __init__(self, *args: Any, connections: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = connections
        self._deadline = _Alarm(self.loop)

    # the connection ──────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin, with a deadline for the first request; or end, where there is no room."""
        super().connection_made(transport)
        address = "" if self.client is None else self.client[0]
        if self._places.enter(self, None if is_loopback(address) else address):
            self._deadline.set(HEAD_RECEIPT_S, self._give_up_head)
            return
        self._refusal = WindlassError("close connections that are idle, and try again", code="too_many_connections")
        self.send_400_response("")
        self._is_broken = True

    def give_way(self) -> None:
        """Close, with no request under way: another connection needs the place."""
        if self.transport.get_write_buffer_size():  # the last answer is read too slowly to wait for
            self.transport.abort()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._places.leave(self)
        self._deadline.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        if self._is_broken:
            return
        if self._in_head or self._in_body:
            self._received_bytes += len(data)
            super().data_received(data)
        else:
            self._opening = data[:_OPENING_BYTES]
            super().data_received(data)
            if self._opening:  # else a request has ended in it, and the next is counted from what comes next
                self._received_bytes = len(data)
        if self.transport.is_closing():
            return
        # LIMIT: the parser keeps a header that has no end, and an extension of a chunk, and calls nobody.
        frame_bytes = self._received_bytes - self._body_bytes - CHUNK_FRAME_BYTES * self._chunks
        if (self._in_head or self._in_body) and frame_bytes > HEAD_BYTES + TARGET_BYTES:
            self._refusal = _headers_too_large() if self._in_head else _chunks_too_many()
            self.send_400_response("")
        elif not self._deadline.is_set:
            self._set_deadline()

    def _set_deadline(self) -> None:
        """Wait for the rest of a body, or for what begins with empty lines and is no request yet."""
        if self._in_body:
            self._body_began_s = self.loop.time()
            self._deadline.set(min(BODY_SLOW_S, BODY_RECEIPT_S), self._look_at_body)
        elif not self._in_head and not self._owes_answer():
            self._deadline.set(HEAD_RECEIPT_S, self._give_up_head)

    # the request ─────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._in_head = True
        # Of one that begins in the midst of what has come, the rest of that is not counted.
        self._received_bytes = self._headers_bytes = self._body_bytes = self._unread_bytes = self._chunks = 0
        if not self._deadline.is_set:
            self._deadline.set(HEAD_RECEIPT_S, self._give_up_head)

    def on_url(self, url: bytes) -> None:
        """Take in the target or a part of it."""
        super().on_url(url)
        if len(self.url) > TARGET_BYTES:
            self._refuse(WindlassError(f"a target may have {TARGET_BYTES:,} bytes", code="target_too_long"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header."""
        if self._in_body:
            # What stands behind a body would be taken for what stands before it, and nobody has checked it.
            self._refuse(WindlassError("a request has no headers behind its body", code="bad_request"))
        super().on_header(name, value)
        size = len(name) + len(value)
        self._headers_bytes += size
        if size > HEADER_BYTES or self._headers_bytes > HEAD_BYTES or len(self.headers) > HEADERS_MAX:
            self._refuse(_headers_too_large())

    def on_headers_complete(self) -> None:
        """Give the request to the app."""
        self._places.work(self)
        self._in_head = False
        self._in_body = True
        self._deadline.stop()
        assert self.parser is not None  # there until the connection is lost
        fault = _fault_of(self.parser.get_http_version(), self.parser.get_method(), self.url, self.headers)
        if fault is not None:
            self._refuse(fault)
        asks_to_upgrade = self.parser.should_upgrade()
        if asks_to_upgrade and _has_body(self.headers):
            # The parser would pass over the body, and what it says would be read as the next request.
            self._refuse(WindlassError("send a body without asking for another protocol (Upgrade)", code="bad_request"))
        super().on_headers_complete()
        if asks_to_upgrade:
            self.cycle.keep_alive = False  # answered as it is; what stands behind it is nobody's request

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, WholeAnswers(app, cycle))  # pyright: ignore[reportArgumentType] see WholeAnswers

    def on_chunk_header(self) -> None:
        """Count a chunk of the body."""
        self._chunks += 1
        if self._chunks > CHUNKS_MAX:
            self._refuse(_chunks_too_many())

    def on_body(self, body: bytes) -> None:
        """Give a part of the body to the app, or throw it away where that has answered already."""
        super().on_body(body)
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > LINGER_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        """End a request."""
        super().on_message_complete()
        self._in_body = False
        self._opening = b""
        self._deadline.stop()
        if self._unread_bytes:
            self._deadline.set(HEAD_RECEIPT_S, self._give_up_head)

    def on_response_complete(self) -> None:
        """Go on to the next request, unless what came behind this one was none."""
        if self._is_broken:
            self.pipeline.clear()
            self.transport.close()
        if not self.pipeline:
            self._places.rest(self)
        super().on_response_complete()

    # the end of what is no request ───────────────────────────────

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
            self._deadline.stop()
            return
        opening = _OPENING.match(self._opening)
        method = opening[1] if opening else b""
        if self._refusal is None and self._in_head and not self.url and method and method not in _METHODS:
            self._refusal = _method_unknown()  # the parser does not even read what such a method is for
        error = self._refusal or WindlassError(msg, code="bad_request")
        # The app has not seen the end of this request, so it has stored nothing.
        problem = problem_of(error, request_id=secrets.token_hex(8), is_submit=method == b"POST")
        body = encode_view(problem)
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": len(body),
            "x-content-type-options": "nosniff",
            "cache-control": "no-store",
            "x-request-id": problem.request_id,
            "connection": "close",
            "allow": error.details.get("allow"),
            "retry-after": retry_after_s(error),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
        self.transport.write(STATUS_LINE[problem.status] + head.encode("ascii") + b"\r\n" + body)
        self.transport.close()

    def _refuse(self, error: WindlassError) -> None:
        self._refusal = error
        raise _Refused

    def _give_up_head(self) -> None:
        self._give_up(f"the request's headers were not there after {HEAD_RECEIPT_S:g} s")

    def _look_at_body(self) -> None:
        """Go on waiting for the body, if it comes fast enough."""
        if self.pipeline:  # it is this server that does not read on, while an earlier request is being worked on
            self._body_began_s, self._body_bytes = self.loop.time(), 0
        taken_s = self.loop.time() - self._body_began_s
        is_slow = taken_s >= BODY_SLOW_S and self._body_bytes < BODY_BYTES_PER_S * taken_s
        if taken_s < BODY_RECEIPT_S and not is_slow:
            self._deadline.set(min(_LOOK_S, BODY_RECEIPT_S - taken_s), self._look_at_body)
        elif self.cycle.response_started:  # what is left of the body would be thrown away
            self.transport.close()
        elif is_slow:
            self._give_up(f"the request's body came at less than {BODY_BYTES_PER_S:,} bytes a second")
        else:
            self._give_up(f"the request's body was not there after {BODY_RECEIPT_S:g} s")

    def _give_up(self, detail: str) -> None:
        if not self.transport.is_closing():
            self._refusal = WindlassError(detail, code="request_timeout")
            self.send_400_response("")


def _fault_of(
    version: str, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> WindlassError | None:
    """Find what the parser lets pass and others would read in another way.

    Source: RFC 9112 § 3.2 (targets), § 6.1 (codings of HTTP/1.0).
    """
    if version not in _VERSIONS or (version == "1.0" and any(name == b"transfer-encoding" for name, _ in headers)):
        return WindlassError("speak HTTP/1.1", code="bad_request")
    if method == b"CONNECT":
        return _method_unknown()
    # A whole URL names a host of its own, and nobody would check it.
    if not target.startswith(b"/") or b"#" in target:
        return WindlassError("name a path of this server: /…", code="bad_request")
    return None


def _has_body(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b" \t0")) for name, value in headers
    )


def _method_unknown() -> WindlassError:
    return WindlassError(f"there is no such method here; there are {_ALLOW}", code="method_not_allowed", allow=_ALLOW)


def _headers_too_large() -> WindlassError:
    return WindlassError(
        f"a request may have {HEADERS_MAX} headers, {HEADER_BYTES:,} bytes each and {HEAD_BYTES:,} in all",
        code="headers_too_large",
    )


def _chunks_too_many() -> WindlassError:
    return WindlassError(f"a body may have {CHUNKS_MAX:,} chunks, and no more than chunks", code="bad_request")
