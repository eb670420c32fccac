"""The client's connections: sends a Request and brings its Response. Knows no tasks and no codes.

Follows no redirects and uses no proxy: what a client says goes to the server it was given, or nowhere.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Url, parse_url

from windlass.client.errors import ServerUnreachable
from windlass.client.exchange import Request, Response, read_error
from windlass.core.limits import BODY_BYTES, MIB
from windlass.errors import InputError

# LIMIT: connections kept open; more threads than that open their own for one call each.
_KEPT_CONNECTIONS = 32
_CONNECT_S = 5.0
# LIMIT: a server that has answered before may be restarting; reads and submits bridge this much of it and no more.
_AGAIN_AFTER_S = (0.1, 0.3, 1.0)
_BRIEF = (NewConnectionError, ProtocolError)


class Transport:
    """A pool of connections to one server.

    Concurrency: may be used from any thread.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float) -> None:
        try:
            place = parse_url(url)
        except LocationParseError:
            place = Url()
        if place.scheme not in ("http", "https") or not place.host or place.query or place.auth:
            raise InputError(
                f"'{url}' is no address of a server: write it like http://127.0.0.1:8080", code="bad_url", pointer="url"
            )
        self.url = f"{place.scheme}://{place.netloc}{(place.path or '').rstrip('/')}"
        self._prefix = (place.path or "").rstrip("/")
        self._headers = {"Accept": "application/json", **_authorization(key)}
        self._timeout_s = timeout_s
        self._was_reached = False
        self._pool = urllib3.connection_from_url(self.url, maxsize=_KEPT_CONNECTIONS, retries=False)

    def close(self) -> None:
        """Close the connections that are idle; those in use are closed when their call ends."""
        self._pool.close()

    def send(self, request: Request[Any]) -> Response:
        """Send `request` and read the whole response; one that may be repeated is sent again, briefly, when
        its connection fails.

        Raises:
            ServerUnreachable: no answer came.
        """
        delays = iter(_AGAIN_AFTER_S if request.method == "GET" or request.is_repeatable else ())
        while True:
            try:
                answer = self._open(request, preload_content=True)
            except ServerUnreachable as error:
                is_brief = self._was_reached and isinstance(error.__cause__, _BRIEF)
                delay_s = next(delays, None) if is_brief else None
                if delay_s is None:
                    raise
                time.sleep(delay_s)
            else:
                return _response(answer, answer.data)

    def save(self, request: Request[bytes], to: Path) -> None:
        """Stream the answer into the file `to`, which appears whole or not at all and replaces what was there.

        Raises:
            ServerUnreachable: the connection failed, at the beginning or in the midst.
            WindlassError: the server refused.
        """
        answer = self._open(request, preload_content=False)
        part = to.with_name(f".{to.name[:200]}.{secrets.token_hex(4)}.part")
        try:
            if answer.status != 200:
                raise read_error(_response(answer, answer.read(BODY_BYTES)))
            with part.open("xb") as file, self._named_failures():
                for chunk in answer.stream(MIB, decode_content=False):
                    file.write(chunk)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
            # A body read to its end has given its connection back already; else there is no going on with it.
            answer.close()

    def _open(self, request: Request[Any], *, preload_content: bool) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=self._timeout_s + request.wait_s)
        with self._named_failures():
            answer = self._pool.urlopen(
                request.method,
                self._prefix + request.path,
                body=request.body,
                headers={**self._headers, **request.headers},
                timeout=timeout,
                redirect=False,
                retries=False,
                preload_content=preload_content,
            )
        self._was_reached = True
        return answer

    @contextmanager
    def _named_failures(self) -> Generator[None]:
        try:
            yield
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise ServerUnreachable(
                f"no server answers at {self.url} ({_reason(error)}): start one with `windlass serve`, or check the "
                "address",
                was_sent=False,
            ) from error
        except ReadTimeoutError as error:
            raise ServerUnreachable(
                f"the server at {self.url} did not answer within {self._timeout_s:g} s: whether it got the request is "
                "not known",
                was_sent=True,
            ) from error
        except SSLError as error:
            detail = f"no trusted connection to {self.url} ({_reason(error)})"
            raise ServerUnreachable(detail, was_sent=False) from error
        except HTTPError as error:
            raise ServerUnreachable(
                f"the connection to {self.url} broke before the whole answer came ({_reason(error)}): whether the "
                "server got the request is not known",
                was_sent=True,
            ) from error


def _authorization(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    # Whatever else it is, it must not end the header it goes into; what it is instead is not shown.
    if not (key and key.isascii() and key.isprintable() and " " not in key):
        raise InputError("this is no key: one looks like wl_…, without spaces", code="bad_key", pointer="key")
    return {"Authorization": f"Bearer {key}"}


def _response(answer: urllib3.BaseHTTPResponse, body: bytes) -> Response:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Response(status=answer.status, headers=headers, body=body)


def _reason(error: BaseException) -> str:
    """Say it as the operating system says it, where that is where it comes from."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(error)
