"""What every request passes on its way in, and every answer on its way out. Plain ASGI; knows no routes.

Decides nothing about tasks: who may talk to this server at all, what each answer carries, and what becomes of errors.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
import secrets
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windlass.errors import NotFoundError, WindlassError
from windlass.http.access import is_loopback_name
from windlass.http.call import ClientGone, Services
from windlass.http.cors import Pages
from windlass.http.errors import answer_error
from windlass.http.reply import Headers
from windlass.telemetry.log import get_logger
from windlass.telemetry.vocabulary import REQUEST_FAILED

_ON_EVERY_ANSWER: Final[Headers] = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_UNLESS_SAID_OTHERWISE: Final[Headers] = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
DIALECT_KEY: Final = "windlass.is_dialect"
"""Set in the scope of every request: whether a dialect's client sends it, which gets errors in its own form."""
PAGE_KEY: Final = "windlass.page_headers"
"""Set in the scope of a request that a page of a browser sends: what its answer carries for the browser."""
SUBMIT_KEY: Final = "windlass.is_submit"
"""Set in the scope once a request is known to submit a task: its errors say whether the task may be stored."""


class Envelope:
    """Gives each request its id, each answer its headers, and each error its form."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        # Unique over restarts by its beginning, and within one run by its end; cheaper than a random id each.
        self._prefix = secrets.token_hex(6)
        self._serial = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request through."""
        request_id = f"{self._prefix}-{next(self._serial):x}"
        has_started = False

        async def send_dressed(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *scope.get(PAGE_KEY, ())]
                check_headers(headers)
                message["headers"] = _dress(headers, request_id)
                has_started = True
            await send(message)

        try:
            await self._app(scope, receive, send_dressed)
        except ClientGone:
            return
        except Exception as error:
            if has_started:
                raise  # too late for an answer: the server under us logs it and cuts the connection
            answer = answer_error(
                error,
                self._services,
                request_id=request_id,
                is_submit=scope.get(SUBMIT_KEY, False),
                is_dialect=scope.get(DIALECT_KEY, False),
            )
            if answer.status == 500:
                get_logger().error(
                    REQUEST_FAILED,
                    request_id=request_id,
                    method=scope["method"],
                    path=scope["path"],
                    exc_info=error,
                )
            await answer(scope, receive, send_dressed)


def _dress(headers: Headers, request_id: str) -> Headers:
    """Add what every answer carries; all of it ours, and sound."""
    said = [name for name, _ in headers]
    unsaid = [header for header in _UNLESS_SAID_OTHERWISE if header[0] not in said]
    return [*headers, *_ON_EVERY_ANSWER, *unsaid, (b"x-request-id", request_id.encode())]


_UNSAFE_VALUE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_UNSAFE_NAME = re.compile(rb"[^a-z0-9-]")


def check_headers(headers: Headers) -> None:
    """See that no header can end before its end: the one way out for all that is not the same on every answer.

    Raises:
        ValueError: shows the headers, for the log; the answer has not begun.
    """
    names = b"".join([name for name, _ in headers])
    values = b"".join([value for _, value in headers])
    if _UNSAFE_NAME.search(names) or _UNSAFE_VALUE.search(values):
        raise ValueError(f"a header of the answer holds what would break it: {headers!r}")


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CHANGES_NOTHING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class Admission:
    """Lets in who calls this server by a name of its own, and where things change only pages that may do so.

    A page of another site that has its name resolve to this machine, or that posts here without asking, is refused
    before its body is read.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], pages: Pages) -> None:
        self._app = app
        self._pages = pages
        names = {_canonical(name.strip("[]")) for name in hosts}
        self._known = frozenset(names - {"0.0.0.0", "::"})  # noqa: S104  # names of no machine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it.

        Raises:
            WindlassError: `bad_host`, `bad_origin`.
            NotFoundError: the path holds control characters.
        """
        scope[DIALECT_KEY] = self._pages.is_dialect(scope["path"])
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._is_known(hosts[0], scope["server"]):
            raise WindlassError(
                "this server is not called so: use its address, or add the name to the setting hosts (WINDLASS_HOSTS)",
                code="bad_host",
            )
        self._check_page(scope, hosts[0])
        if _CONTROL.search(scope["path"]):
            raise NotFoundError("there is nothing under that path")
        await self._app(scope, receive, send)

    def _is_known(self, host: str, server: tuple[str, int | None] | None) -> bool:
        name = _host_name(host)
        if name is None:
            return False
        return name in self._known or is_loopback_name(name) or (server is not None and name == _canonical(server[0]))

    def _check_page(self, scope: Scope, host: str) -> None:
        """Look at the origin of a page that sends the request, if one does, and note what its answer carries."""
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        if not origins:
            return
        is_preflight = scope["method"] == "OPTIONS"
        page = self._pages.judge(origins, host=host, is_dialect=scope[DIALECT_KEY], is_preflight=is_preflight)
        scope[PAGE_KEY] = page.headers
        if not page.may_change and scope["method"] not in _CHANGES_NOTHING:
            raise WindlassError(
                "a page of another origin may change nothing here; the setting cors_origins (WINDLASS_CORS_ORIGINS) "
                "lets one in",
                code="bad_origin",
            )


@lru_cache(maxsize=256)
def _host_name(host: str) -> str | None:
    """Read the name out of a Host header; None when it has no such form."""
    found = _HOST.fullmatch(host)
    return _canonical(found.group(1).strip("[]")) if found else None


@lru_cache(maxsize=256)
def _canonical(name: str) -> str:
    """Spell a name or address in the one way it is compared in."""
    name = name.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return str(getattr(address, "ipv4_mapped", None) or address)
