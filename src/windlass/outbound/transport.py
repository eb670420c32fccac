"""The only outbound sockets: one request at a time over libcurl, every connection judged by the guard.

Follows redirects itself, keeps no cookies and no credentials, knows no proxy, and retries nothing.
"""

from __future__ import annotations

import errno
import math
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import wraps
from ipaddress import ip_address
from typing import Any, Concatenate, ParamSpec, Protocol

import msgspec
import pycurl

from windlass.core.limits import KIB
from windlass.errors import WindlassError
from windlass.outbound.failure import FailureClass, TransferFailed, TransferStopped
from windlass.outbound.guard import DestinationBlocked, Guard, Resolver, Url, check_url, redirect_url
from windlass.outbound.head import Head, HeadReader
from windlass.outbound.networks import Address
from windlass.outbound.request import Request, redirected

BUFFER_BYTES = 512 * KIB
"""Bytes of a body gathered for one write: libcurl hands them over by 16 KiB, whatever its own buffer holds."""
FLUSH_S = 0.25
"""Bytes of a slow body wait no longer than this for the buffer to fill, or a second when none follow."""
RESOLVE_S = 5.0
"""A name that takes longer is called unresolvable, so that a dead resolver cannot hold a transfer for a minute."""
PINNED_ADDRESSES = 8
"""LIMIT: more answers of a name are judged, but not tried."""
USER_AGENT = "windlass"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Methods that announce the length of a body even when there is none, as servers demand."""
RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

ShouldStop = Callable[[], bool]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one transfer may take. Durations in seconds; `total_s` bounds all of it, redirects included."""

    connect_s: float = 10.0
    headers_s: float = 30.0
    low_speed_bytes_per_s: int = 1024
    low_speed_s: float = 30.0
    redirects: int = 5
    total_s: float = math.inf


class Receiver(Protocol):
    """Who takes the answer. Both methods are called in the thread of `fetch` and may raise to end the transfer."""

    def begin(self, head: Head, url: Url) -> bool:
        """Take the head of a 200 or 206, or of a 416 to a range, or of any answer to a request that takes all; say
        whether the body is wanted.
        """
        ...

    def write(self, chunk: memoryview) -> None:
        """Take the next bytes of the body; the view is dead once this returns."""
        ...


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of `host`, best first."""
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Transport:
    """Fetches urls under one guard and one set of limits.

    Concurrency: holds no state of a transfer; `fetch` blocks its thread and may run in many at once.
    """

    def __init__(self, guard: Guard, limits: Limits, *, resolver: Resolver = system_resolver) -> None:
        self._guard = guard
        self._limits = limits
        self._resolver = resolver

    def fetch(self, request: Request, receiver: Receiver, should_stop: ShouldStop) -> None:
        """Make the request, follow its redirects, and hand the answer to `receiver`; when none are to be followed, a
        request that takes all takes a redirect too.

        Raises:
            InputError: the url, or one it redirects to, is none that may be requested.
            DestinationBlocked: an address on the way may not be connected to.
            TransferFailed: see `failure`.
            TransferStopped: `should_stop` said so; noticed within a second.
        """
        first = url = check_url(request.url)
        end_at = time.monotonic() + self._limits.total_s
        for _ in range(self._limits.redirects + 1):
            exchange = _Exchange(self._guard, self._limits, receiver, should_stop, url)
            answer = exchange.run(self._addresses(url, should_stop, end_at), request, end_at)
            if answer is None:
                return
            origin, url = url, redirect_url(url, answer.location)
            # What is dropped is dropped for good: a later hop that leads back gets none of it either.
            request = redirected(request, answer.status, origin, leaves=url.origin != first.origin)
        raise TransferFailed(
            f"{first.host} redirects more than {self._limits.redirects} times",
            code="too_many_redirects",
            kind=FailureClass.PERMANENT,
        )

    def _addresses(self, url: Url, should_stop: ShouldStop, end_at: float) -> list[str]:
        """Resolve and judge, in a thread of its own: getaddrinfo knows neither a timeout nor a stop."""
        answers: queue.SimpleQueue[list[str] | WindlassError | OSError] = queue.SimpleQueue()

        def resolve() -> None:
            try:
                answers.put(self._guard.resolve(url, self._resolver))
            except (WindlassError, OSError) as error:
                answers.put(error)
            except UnicodeError:
                answers.put([])

        threading.Thread(target=resolve, name="windlass-resolve", daemon=True).start()
        give_up_at = min(time.monotonic() + RESOLVE_S, end_at)
        while time.monotonic() < give_up_at:
            if should_stop():
                raise TransferStopped("stopped while a name was being resolved")
            try:
                answer = answers.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(answer, WindlassError):
                raise answer
            if isinstance(answer, socket.gaierror) and answer.errno == socket.EAI_AGAIN:
                break
            if isinstance(answer, OSError) or not answer:
                raise TransferFailed(
                    f"no such host: {url.host}", code="no_such_host", kind=FailureClass.UNREACHABLE
                ) from None
            return answer
        if time.monotonic() >= end_at:
            raise _too_slow(f"{url.host} could not be looked up within {self._limits.total_s:g} s")
        raise TransferFailed(
            f"the name {url.host} could not be resolved", code="no_such_host", kind=FailureClass.UNREACHABLE
        )


def _too_slow(detail: str) -> TransferFailed:
    return TransferFailed(detail, code="too_slow", kind=FailureClass.TRANSIENT)


_P = ParamSpec("_P")


def _carry(
    callback: Callable[Concatenate[_Exchange, _P], int | None],
) -> Callable[Concatenate[_Exchange, _P], int | None]:
    """Keep what a callback raises for `run` to raise again: libcurl cannot carry an exception."""

    @wraps(callback)
    def call(exchange: _Exchange, /, *args: _P.args, **kwargs: _P.kwargs) -> int | None:
        try:
            return callback(exchange, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001 raised again by `run`, whatever it is
            exchange.error = error
            return -1

    return call


class _Exchange:
    """One request to one address, and its answer up to the end of the body or the reason to do without it."""

    def __init__(self, guard: Guard, limits: Limits, receiver: Receiver, should_stop: ShouldStop, url: Url) -> None:
        self.error: BaseException | None = None
        self._guard = guard
        self._limits = limits
        self._receiver = receiver
        self._should_stop = should_stop
        self._url = url
        self._reader = HeadReader(url.host)
        self._head: Head | None = None
        self._redirect: Head | None = None
        self._enough = False
        self._ranged = self._takes_all = False
        self._end_at = math.inf
        self._pinned: frozenset[Address] = frozenset()
        self._started_at = self._flushed_at = time.monotonic()
        self._buffer = bytearray(BUFFER_BYTES)
        self._filled = 0
        self._sockets: list[socket.socket] = []

    def run(self, addresses: list[str], request: Request, end_at: float) -> Head | None:
        """Do it; give the head of the answer when it is a redirect to be followed."""
        tried = addresses[:PINNED_ADDRESSES]
        self._pinned = frozenset(map(ip_address, tried))
        self._ranged = any(name.lower() == "range" for name, _ in request.headers + request.conditions)
        self._takes_all = request.takes_all
        self._end_at = end_at
        curl = self._prepare(tried, request)
        failure: BaseException | None = None
        try:
            curl.perform()
        except pycurl.error as error:
            failure = None if self._enough else self._explain(curl, int(error.args[0]))
        finally:
            curl.close()
            for opened in self._sockets:
                opened.close()
        failure = self.error or failure
        if failure is None or isinstance(failure, TransferStopped | TransferFailed):
            self._flush()  # also what came before a failure: the next try goes on behind it
        if failure is not None:
            raise failure
        return self._redirect

    def _prepare(self, addresses: list[str], request: Request) -> Any:
        url, limits = self._url, self._limits
        pins = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        trust = ssl.get_default_verify_paths()
        options: dict[int, Any] = {
            pycurl.URL: url.text,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.PROXY: "",
            pycurl.NOPROXY: "*",
            pycurl.NETRC: pycurl.NETRC_IGNORED,
            pycurl.SSL_VERIFYPEER: 1,
            pycurl.SSL_VERIFYHOST: 2,
            pycurl.NOSIGNAL: 1,
            pycurl.USERAGENT: USER_AGENT,
            pycurl.HTTPHEADER: _lines(request),
            pycurl.BUFFERSIZE: BUFFER_BYTES,
            pycurl.TCP_KEEPALIVE: 1,
            pycurl.CONNECTTIMEOUT_MS: max(1, int(limits.connect_s * 1000)),
            pycurl.LOW_SPEED_LIMIT: limits.low_speed_bytes_per_s,
            pycurl.LOW_SPEED_TIME: max(1, round(limits.low_speed_s)),
            pycurl.OPENSOCKETFUNCTION: self._open_socket,
            pycurl.HEADERFUNCTION: self._take_line,
            pycurl.NOPROGRESS: 0,
            pycurl.XFERINFOFUNCTION: self._watch,
            pycurl.RESOLVE: [f"{url.host}:{url.port}:{pins}"],
            **_method_options(request),
        }
        if self._end_at < math.inf:
            options[pycurl.TIMEOUT_MS] = max(1, math.ceil((self._end_at - time.monotonic()) * 1000))
        curl: Any = pycurl.Curl()
        for option, value in options.items():
            curl.setopt(option, value)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body, use_memoryview=True)
        for option, path in ((pycurl.CAINFO, trust.cafile), (pycurl.CAPATH, trust.capath)):
            if path:
                curl.setopt(option, path)
        return curl

    def _open_socket(self, purpose: int, address: Any) -> Any:  # noqa: ARG002 libcurl's signature
        """Judge the very address that libcurl is about to connect to, and only then give it a socket."""
        family, kind, protocol, (host, port, *_) = address
        try:
            if ip_address(host) not in self._pinned:
                raise DestinationBlocked(f"{self._url.host} changed its address while it was being connected to")
            self._guard.judge(host, port, name=None if host == self._url.host else self._url.host)
            # libcurl gets a copy of the descriptor; this one is closed at the end.
            self._sockets.append(socket.socket(family, kind, protocol))
        except (WindlassError, OSError) as error:
            self.error = error
            return pycurl.SOCKET_BAD
        return self._sockets[-1]

    @_carry
    def _take_line(self, line: bytes) -> int | None:
        head = self._reader.feed(line)
        if head is None:
            return None
        self._head = head
        if head.status in REDIRECTS and (self._limits.redirects or not self._takes_all):
            self._redirect = head
            self._enough = True
        elif self._takes_all or head.status in (200, 206) or (head.status == 416 and self._ranged):
            if not self._takes_all:
                self._check_encoding(head)
            self._enough = not self._receiver.begin(head, self._url)
        else:
            raise self._refuse_status(head)
        return -1 if self._enough else None

    @_carry
    def _take_body(self, chunk: memoryview) -> int:
        size = len(chunk)
        if self._filled + size > BUFFER_BYTES:
            self._flush()
        self._buffer[self._filled : self._filled + size] = chunk
        self._filled += size
        return size

    def _flush(self) -> None:
        self._flushed_at = time.monotonic()
        if self._filled:
            filled, self._filled = self._filled, 0
            with memoryview(self._buffer) as view, view[:filled] as chunk:
                self._receiver.write(chunk)

    @_carry
    def _watch(self, *_: int) -> None:
        if self._should_stop():
            raise TransferStopped("stopped while bytes were coming in")
        now = time.monotonic()
        if now - self._flushed_at > FLUSH_S:
            self._flush()
        waited_s = now - self._started_at
        if self._head is None and waited_s > self._limits.connect_s + self._limits.headers_s:
            raise _too_slow(f"{self._url.host} did not answer within {waited_s:.0f} s")

    def _check_encoding(self, head: Head) -> None:
        encoding = head.get("content-encoding")
        if encoding is not None and encoding.strip().lower() not in ("", "identity"):
            raise TransferFailed(
                f"{self._url.host} sent the file encoded, which it was asked not to do",
                code="unexpected_encoding",
                kind=FailureClass.PERMANENT,
            )

    def _refuse_status(self, head: Head) -> TransferFailed:
        retryable = head.status in RETRYABLE_STATUSES
        return TransferFailed(
            f"HTTP {head.status} from {self._url.host}",
            code="http_status",
            kind=FailureClass.TRANSIENT if retryable else FailureClass.PERMANENT,
            retry_after_s=head.retry_after_s(datetime.now(UTC)) if retryable else None,
        )

    def _explain(self, curl: Any, number: int) -> TransferFailed:
        host, limits = self._url.host, self._limits
        if number == pycurl.E_COULDNT_CONNECT:
            refused = curl.getinfo(pycurl.OS_ERRNO) == errno.ECONNREFUSED
            detail = f"{host} refused the connection" if refused else f"{host} cannot be reached"
            return TransferFailed(detail, code="not_connected", kind=FailureClass.UNREACHABLE)
        if number == pycurl.E_OPERATION_TIMEDOUT:
            if time.monotonic() >= self._end_at:
                return _too_slow(f"{host} did not end its answer within {limits.total_s:g} s")
            if not curl.getinfo(pycurl.PRETRANSFER_TIME):
                return _too_slow(f"{host} could not be connected to within {limits.connect_s:g} s")
            if self._head is None:
                return _too_slow(f"{host} did not answer within {limits.low_speed_s:g} s")
            return _too_slow(
                f"{host} sent less than {limits.low_speed_bytes_per_s:,} bytes/s for {limits.low_speed_s:g} s"
            )
        code, kind, what = _EXPLAINED.get(number, _LOST)
        return TransferFailed(f"{host} {what}", code=code, kind=kind)


def _lines(request: Request) -> list[str]:
    """Spell the fields; of two with one name the first is sent, so that the caller's go before ours."""
    sent = [*request.headers, *request.conditions, ("Accept", "*/*"), ("Accept-Encoding", "identity")]
    if not request.takes_all:
        sent.append(("Want-Repr-Digest", "sha-256=10"))
    names: set[str] = set()
    lines = [f"{name}: {value}" for name, value in sent if not (name.lower() in names or names.add(name.lower()))]
    # What libcurl would add to a body by itself: a wait for a 100, and a media type that nobody gave.
    return [*lines, "Expect:", *(() if "content-type" in names else ("Content-Type:",))]


def _method_options(request: Request) -> dict[int, Any]:
    """Choose the method and the body as libcurl wants to be told them."""
    if request.method == "HEAD":
        return {pycurl.NOBODY: 1}
    if request.body is None and request.method not in WITH_BODY:
        return {pycurl.CUSTOMREQUEST: request.method}
    return {pycurl.POSTFIELDS: request.body or b"", pycurl.CUSTOMREQUEST: request.method}


_LOST = ("connection_lost", FailureClass.TRANSIENT, "broke the connection off")
_BAD = ("bad_response", FailureClass.PERMANENT, "sent a response that is no proper HTTP")
_EXPLAINED: dict[int, tuple[str, FailureClass, str]] = {
    pycurl.E_PEER_FAILED_VERIFICATION: ("tls_failed", FailureClass.PERMANENT, "has a certificate that is not trusted"),
    pycurl.E_SSL_CONNECT_ERROR: ("tls_failed", FailureClass.TRANSIENT, "did not complete the TLS handshake"),
    pycurl.E_UNSUPPORTED_PROTOCOL: _BAD,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: _BAD,  # libcurl has long used the number for HTTP too
    pycurl.E_BAD_CONTENT_ENCODING: _BAD,
    100: _BAD,  # CURLE_TOO_LARGE, which pycurl does not name: a header over libcurl's own limit
}
