"""The ASGI app: the route table made to answer. Imports no engine; it is given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final

from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from windlass.config.dialects import Dialects
from windlass.contracts.access import Access
from windlass.contracts.clock import Clock
from windlass.contracts.engine_api import EngineApi
from windlass.core.access import AccessScope
from windlass.errors import NotFoundError, WindlassError
from windlass.http.access import caller_of
from windlass.http.call import Call, Services
from windlass.http.cors import Pages
from windlass.http.docs import render_docs
from windlass.http.middleware import SUBMIT_KEY, Admission, Envelope
from windlass.http.openapi import build_openapi
from windlass.http.reply import Reply
from windlass.http.route import NoQuery, Route
from windlass.http.routes import routes_for
from windlass.wire.codec import encode_view


class HttpApp:
    """The app. Its waits can be ended, which a server does before it stops."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)

    def end_waits(self) -> None:
        """Have every request that waits, now or later, answered with what there is. Idempotent."""
        self._services.stopping.set()


_NO_CHOICE: Final = Dialects()


def build_app(
    engine: EngineApi,
    access: Access,
    *,
    clock: Clock,
    body_bytes: int,
    hosts: Sequence[str],
    dialects: Dialects = _NO_CHOICE,
    cors_origins: Sequence[str] = (),
) -> HttpApp:
    """Put the app together. `hosts` are the names, besides loopback's and its address, this server is called by."""
    routes = routes_for(dialects)
    document = build_openapi(routes, version=version("windlass"))
    documents = encode_view(document), render_docs(document)
    services = Services(engine, access, clock, body_bytes=body_bytes, dialects=dialects, documents=documents)
    by_path: dict[str, list[Route]] = {}
    for route in routes:
        by_path.setdefault(route.path, []).append(route)
    endpoints: dict[str, _PathEndpoint] = {}
    for path, here in by_path.items():
        endpoints[path] = endpoint = _PathEndpoint(here, services)
        if any(route.dialect is not None for route in here):
            endpoints[path + "/"] = endpoint  # their clients write it either way
    pages = Pages(routes, cors_origins)
    return HttpApp(Envelope(Admission(_Paths(endpoints), hosts, pages), services), services)


class _Paths:
    """Finds the endpoint of a path: one without parameters at once, others through the router."""

    def __init__(self, endpoints: Mapping[str, _PathEndpoint]) -> None:
        self._fixed = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}
        paths = [Path(path, endpoint) for path, endpoint in endpoints.items() if "{" in path]
        self._router = Router(paths, redirect_slashes=False, default=_nothing_there)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        await (self._fixed.get(scope["path"]) or self._router)(scope, receive, send)


class _PathEndpoint:
    """All methods of one path."""

    def __init__(self, routes: Sequence[Route], services: Services) -> None:
        self._services = services
        self._by_method = {route.method: route for route in routes}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]
        self._allow = ", ".join(sorted({*self._by_method, "OPTIONS"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to the handler of its method, if who sends it may do what the route is for.

        The only way to a handler, so that no route can be without its check.

        Raises:
            WindlassError: `method_not_allowed`, what `Access.admit` raises, and whatever the handler raises.
        """
        route = self._by_method.get(scope["method"])
        if route is None:
            await self._without_route(scope, receive, send)
            return
        scope[SUBMIT_KEY] = route.scope is AccessScope.SUBMIT
        call = Call(self._services, scope, receive)
        call.principal = self._services.access.admit(caller_of(call), route.scope)
        if route.query is NoQuery and scope["query_string"]:
            call.query(NoQuery)
        answer = await route.handler(call)
        await answer(scope, receive, send)

    async def _without_route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "OPTIONS":
            raise WindlassError(f"this path takes {self._allow}", code="method_not_allowed", allow=self._allow)
        await Reply(204, headers=[(b"allow", self._allow.encode())])(scope, receive, send)


async def _nothing_there(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise NotFoundError("there is nothing under that path; GET /docs shows what there is")
