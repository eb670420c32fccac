"""The route table: every path this server answers, and all that is known of each before a request comes.

Routing, the OpenAPI document, its page and the tests' walk all come from here. Holds no behaviour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from windlass.core import limits
from windlass.http.call import Call
from windlass.http.reply import Answer
from windlass.http.v1 import files, system, tasks
from windlass.wire.v1 import (
    AttemptList,
    CancelRequest,
    EmptyRequest,
    FileList,
    HealthView,
    KindList,
    SubmitRequest,
    TaskList,
    TaskView,
)


class AccessScope(StrEnum):
    """What a caller must be allowed to do."""

    PUBLIC = "public"
    READ = "read"
    SUBMIT = "submit"
    OPERATE = "operate"
    ADMIN = "admin"


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameters."""


class Header(msgspec.Struct, frozen=True):
    """A request header that a route heeds."""

    name: str
    summary: str
    example: str


class Response(msgspec.Struct, frozen=True):
    """An answer of a route: JSON of `shape`, any JSON where that is None, or something of another `media` type."""

    summary: str
    shape: Any = None
    media: str = "application/json"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    `request`: the shape of its body; `may_be_empty`: which may be left out. `query`: the shape of its parameters,
    None where any are passed over. `problems`: statuses of errors besides those that follow from the rest.
    `examples`: bodies by name.
    """

    method: str
    path: str
    scope: AccessScope
    summary: str
    handler: Callable[[Call], Awaitable[Answer]]
    responses: Mapping[int, Response]
    request: type[msgspec.Struct] | None = None
    may_be_empty: bool = False
    query: type[msgspec.Struct] | None = NoQuery
    headers: tuple[Header, ...] = ()
    problems: tuple[int, ...] = ()
    examples: Mapping[str, Any] = {}


_SUBMIT_EXAMPLES: Final = {
    "simulate": {"kind": "simulate", "payload": {"duration_s": 5}},
    "download": {
        "kind": "download",
        "payload": {"files": [{"url": "https://example.org/a.iso"}]},
        "key": "a.iso",
        "tags": {"owner": "ops"},
    },
    "later": {
        "kind": "build_report",
        "payload": {"customer_id": 7, "month": "2026-11"},
        "queue": "reports",
        "delay": "10m",
        "timeout": "1h",
        "retry": {"base": "10s", "cap": "5m"},
        "max_attempts": 3,
    },
}
_PREFER = Header("Prefer", f"How long to wait for the task's end, {limits.WAIT_MAX_S:g} s at most", "wait=30")
_IF_NONE_MATCH = Header("If-None-Match", "The ETag the client has; 304 while it still holds", 'W/"4"')
_RANGE = Header("Range", "One range of bytes; several are answered with the whole file", "bytes=0-1023")
_IF_RANGE = Header("If-Range", "The ETag the range belongs to; the whole file where it does not hold", '"400-1-2"')
_TASK: Final = "/v1/tasks/{id}"

TASK_ROUTES: Final = (
    Route(
        method="POST",
        path="/v1/tasks",
        scope=AccessScope.SUBMIT,
        summary="Submit a task; acknowledged once it is on disk",
        handler=tasks.submit,
        request=SubmitRequest,
        headers=(_PREFER,),
        responses={
            202: Response("Stored; `Location` names it", TaskView),
            200: Response("It has ended in the time given to it, or the key met the same task again", TaskView),
        },
        problems=(409, 503, 507),
        examples=_SUBMIT_EXAMPLES,
    ),
    Route(
        method="GET",
        path="/v1/tasks",
        scope=AccessScope.READ,
        summary="List tasks, page by page; a page may be short and still have a next one",
        handler=tasks.page,
        query=tasks.ListQuery,
        responses={200: Response("A page, without payloads and results", TaskList)},
    ),
    Route(
        method="GET",
        path=_TASK,
        scope=AccessScope.READ,
        summary="Read a task, or wait for its next change",
        handler=tasks.show,
        query=tasks.WaitQuery,
        headers=(_IF_NONE_MATCH,),
        responses={
            200: Response("The task; its ETag is its version", TaskView),
            304: Response("Not changed", None, ""),
        },
    ),
    Route(
        method="POST",
        path=_TASK + "/cancel",
        scope=AccessScope.OPERATE,
        summary="Cancel a queued task, or have a running one stopped",
        handler=tasks.cancel,
        request=CancelRequest,
        may_be_empty=True,
        responses={
            200: Response("Cancelled", TaskView),
            202: Response("It runs, and will be gone within its grace and 5 s", TaskView),
        },
        problems=(409, 503, 507),
    ),
    *(
        Route(
            method="POST",
            path=f"{_TASK}/{handler.__name__}",
            scope=AccessScope.OPERATE,
            summary=summary,
            handler=handler,
            request=EmptyRequest,
            may_be_empty=True,
            responses={200: Response("The task as it stands now", TaskView)},
            problems=(409, 503, 507),
        )
        for handler, summary in (
            (tasks.retry, "Queue an ended task again"),
            (tasks.hold, "Keep a queued task from starting"),
            (tasks.release, "Let a held task start"),
        )
    ),
    Route(
        method="GET",
        path=_TASK + "/result",
        scope=AccessScope.READ,
        summary="Read what a task has returned",
        handler=tasks.result,
        responses={
            200: Response("The result, any JSON"),
            202: Response("It has not ended; `Retry-After` guesses when", TaskView),
        },
        problems=(409,),
    ),
    Route(
        method="GET",
        path=_TASK + "/attempts",
        scope=AccessScope.READ,
        summary="List the attempts of a task, with how each ended",
        handler=tasks.attempts,
        responses={200: Response("Its attempts, oldest first; of very many the newest", AttemptList)},
    ),
    Route(
        method="GET",
        path=_TASK + "/files",
        scope=AccessScope.READ,
        summary="List the files of a task",
        handler=files.page,
        responses={200: Response("Its files", FileList)},
    ),
    Route(
        method="GET",
        path=_TASK + "/files/{name:path}",
        scope=AccessScope.READ,
        summary="Fetch a completed file, whole or one range of it",
        handler=files.show,
        headers=(_RANGE, _IF_RANGE, _IF_NONE_MATCH),
        responses={
            200: Response("The file", None, "application/octet-stream"),
            206: Response("The range", None, "application/octet-stream"),
            304: Response("Not changed", None, ""),
        },
        problems=(416,),
    ),
)


def _system(path: str, handler: Callable[[Call], Awaitable[Answer]], summary: str, **responses: Response) -> Route:
    """Describe a route that needs no key and passes over parameters, which probes like to add."""
    return Route(
        method="GET",
        path=path,
        scope=AccessScope.PUBLIC,
        summary=summary,
        handler=handler,
        query=None,
        responses={int(name.removeprefix("on_")): response for name, response in responses.items()},
    )


SYSTEM_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/kinds",
        scope=AccessScope.READ,
        summary="List the kinds with the JSON Schema of their payloads",
        handler=system.kinds,
        responses={200: Response("All known kinds, by name", KindList)},
    ),
    _system("/healthz", system.alive, "Whether the server turns", on_200=Response("OK", str, "text/plain")),
    _system("/livez", system.alive, "Whether the server turns", on_200=Response("OK", str, "text/plain")),
    _system(
        "/readyz",
        system.ready,
        "Whether the server takes and runs work",
        on_200=Response("It does", HealthView),
        on_503=Response("It does not; `problems` says why", HealthView),
    ),
    _system("/openapi.json", system.openapi, "This description", on_200=Response("An OpenAPI 3.1 document")),
    _system("/docs", system.docs, "This description as a page", on_200=Response("A page", str, "text/html")),
    _system("/docs/style.css", system.stylesheet, "The page's style", on_200=Response("CSS", str, "text/css")),
    _system("/", system.home, "Leads to the page", on_307=Response("`Location` names it", None, "")),
)

ROUTES: Final[tuple[Route, ...]] = TASK_ROUTES + SYSTEM_ROUTES
