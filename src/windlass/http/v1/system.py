"""What the server says of itself: kinds, health, its documents. Needs no task."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from windlass.http.call import Call
from windlass.http.reply import Reply, json_reply, raw_reply, text_reply
from windlass.wire.v1 import HealthView, KindList, view_kind

DOCS_POLICY: Final = (
    b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def kinds(call: Call) -> Reply:
    """List the kinds that are known."""
    known = await call.engine.kinds()
    return json_reply(200, KindList(kinds=[view_kind(status.kind, is_live=status.is_live) for status in known]))


async def alive(_call: Call) -> Reply:
    """Say that the server turns."""
    return text_reply(200, "OK")


async def ready(call: Call) -> Reply:
    """Say whether the server takes and runs work, and if not, why."""
    health = call.engine.health()
    view = HealthView(ready=health.is_ready, problems=list(health.problems))
    return json_reply(200 if health.is_ready else 503, view)


async def openapi(call: Call) -> Reply:
    """Give the description of this API."""
    return raw_reply(200, call.services.openapi)


async def docs(call: Call) -> Reply:
    """Give the description of this API as a page."""
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-security-policy", DOCS_POLICY)]
    return Reply(200, call.services.docs, headers)


async def stylesheet(_call: Call) -> Reply:
    """Give the style of the page."""
    headers = [(b"content-type", b"text/css; charset=utf-8"), (b"cache-control", b"public, max-age=3600")]
    return Reply(200, _stylesheet(), headers)


async def home(_call: Call) -> Reply:
    """Lead to the page that explains the server."""
    return Reply(307, headers=[(b"location", b"/docs")])


@cache
def _stylesheet() -> bytes:
    return (files("windlass.http") / "static" / "docs.css").read_bytes()
