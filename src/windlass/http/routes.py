"""The route table: every path this server answers, and all that is known of each before a request comes.

Routing, the OpenAPI document, its page and the tests' walk all come from here. Holds no behaviour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from windlass.config.dialects import Dialects
from windlass.core import limits
from windlass.core.access import AccessScope
from windlass.http.call import NDJSON, Call
from windlass.http.dialects import DIALECTS
from windlass.http.reply import Answer
from windlass.http.route import Header, Response, Route
from windlass.http.v1 import batch, bulk, files, keys, lists, queues, stats, system, tasks
from windlass.wire.v1 import (
    AttemptList,
    CancelRequest,
    EditRequest,
    EmptyRequest,
    FileList,
    HealthView,
    KeyList,
    KeyRequest,
    KeyView,
    KindList,
    NewKeyView,
    SubmitRequest,
    TaskList,
    TaskView,
)
from windlass.wire.v1_many import BatchRequest, BulkRequest, BulkView, PlacedList, StatsView
from windlass.wire.v1_queues import QueueList, QueueRequest, QueueView

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
_BATCH_EXAMPLES: Final = {
    "two": {"tasks": [{"kind": "simulate", "payload": {"duration_s": 5}}, {"kind": "simulate", "priority": 10}]}
}
_BULK_EXAMPLES: Final = {
    "count": {"action": "cancel", "filter": {"kind": "simulate", "state": "queued"}, "dry_run": True},
    "clear": {"action": "delete", "filter": {"state": "succeeded", "finished_before": "2026-11-01T00:00:00Z"}},
    "all": {"action": "retry", "all": True, "limit": 100},
}
_PREFER = Header("Prefer", f"How long to wait for the task's end, {limits.WAIT_MAX_S:g} s at most", "wait=30")
_IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "Your name for this request: sent again within 24 h it stores nothing more and gets the same answer, with "
    "`Idempotency-Replayed: true`. With `Prefer: wait` it waits for the task of that time",
    '"8e03978e-40d5"',
)
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
        headers=(_PREFER, _IDEMPOTENCY_KEY),
        responses={
            202: Response("Stored; `Location` names it", TaskView),
            200: Response("It has ended in the time given to it, or the key met the same task again", TaskView),
        },
        problems=(409, 503, 507),
        examples=_SUBMIT_EXAMPLES,
    ),
    Route(
        method="POST",
        path="/v1/tasks/batch",
        scope=AccessScope.SUBMIT,
        summary=f"Submit up to {limits.BATCH_TASKS:,} tasks at once: all of them are stored, or none",
        handler=batch.submit_batch,
        request=BatchRequest,
        media=("application/json", NDJSON),
        headers=(_IDEMPOTENCY_KEY,),
        responses={202: Response("All stored, or met by their keys, in this order", PlacedList)},
        problems=(409, 503, 507),
        examples=_BATCH_EXAMPLES,
    ),
    Route(
        method="GET",
        path="/v1/tasks",
        scope=AccessScope.READ,
        summary="List tasks, page by page; a page may be short and still have a next one",
        handler=lists.page,
        query=lists.ListQuery,
        responses={200: Response("A page, without payloads and results; `Link` names the next one", TaskList)},
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
        method="PATCH",
        path=_TASK,
        scope=AccessScope.OPERATE,
        summary="Change labels of a task at any time; its priority, time or queue while it is queued",
        handler=tasks.edit,
        request=EditRequest,
        responses={200: Response("The task as it stands now", TaskView)},
        problems=(409, 503, 507),
        examples={"sooner": {"priority": 50, "delay": 0}, "rename": {"name": "November", "description": None}},
    ),
    Route(
        method="DELETE",
        path=_TASK,
        scope=AccessScope.OPERATE,
        summary="Remove an ended task and its files",
        handler=tasks.delete,
        responses={204: Response("Gone; who asks for it is told so, with 410", None, "")},
        problems=(409, 503, 507),
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
    Route(
        method="POST",
        path="/v1/bulk",
        scope=AccessScope.OPERATE,
        summary="Cancel, retry or delete all tasks that match a filter, or count them",
        handler=bulk.bulk,
        request=BulkRequest,
        responses={200: Response("What became of them; with a cursor where there are more", BulkView)},
        problems=(503, 507),
        examples=_BULK_EXAMPLES,
    ),
)


QUEUE_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/queues",
        scope=AccessScope.READ,
        summary="List the queues with what is in them and their limits",
        handler=queues.page,
        responses={200: Response("All queues, by name", QueueList)},
    ),
    Route(
        method="GET",
        path="/v1/queues/{queue}",
        scope=AccessScope.READ,
        summary="Read one queue",
        handler=queues.show,
        responses={200: Response("The queue", QueueView)},
    ),
    Route(
        method="PATCH",
        path="/v1/queues/{queue}",
        scope=AccessScope.OPERATE,
        summary="Pause or resume a queue, or change its limits; it need not have tasks yet",
        handler=queues.edit,
        request=QueueRequest,
        responses={200: Response("The queue as it stands now", QueueView)},
        problems=(503, 507),
        examples={
            "pause": {"paused": True, "pause_reason": "the database moves"},
            "resume": {"paused": False},
            "limit": {"concurrency": 4, "capacity": 1000},
            "as the settings say": {"concurrency": None, "capacity": None},
        },
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
        path="/v1/stats",
        scope=AccessScope.READ,
        summary="Count tasks by state and queue, and say what has happened in the last minutes",
        handler=stats.stats,
        responses={200: Response("Counters and rates", StatsView)},
    ),
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

KEY_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/keys",
        scope=AccessScope.ADMIN,
        summary="List the keys, revoked ones too",
        handler=keys.page,
        responses={200: Response("All keys, by the time they were made; never a secret", KeyList)},
    ),
    Route(
        method="POST",
        path="/v1/keys",
        scope=AccessScope.ADMIN,
        summary="Make a key; once there is one, everybody needs one",
        handler=keys.create,
        request=KeyRequest,
        responses={201: Response("Made; `key` is shown this once", NewKeyView)},
        problems=(503, 507),
        examples={"ci": {"name": "ci", "scopes": ["submit"]}},
    ),
    Route(
        method="DELETE",
        path="/v1/keys/{key_id}",
        scope=AccessScope.ADMIN,
        summary="Revoke a key, at once and for good",
        handler=keys.revoke,
        responses={200: Response("Revoked", KeyView)},
        problems=(409, 503, 507),
    ),
)

DIALECT_ROUTES: Final = tuple(route for dialect in DIALECTS for route in dialect.routes)


def routes_for(dialects: Dialects) -> tuple[Route, ...]:
    """Give the routes of a server: all of the native API, and of the dialects those that the settings enable; where
    these need no key, everybody may use them.
    """
    served = (route for route in DIALECT_ROUTES if route.dialect in dialects.enabled)
    if dialects.auth == "off":
        served = (msgspec.structs.replace(route, scope=AccessScope.PUBLIC) for route in served)
    return (*TASK_ROUTES, *QUEUE_ROUTES, *KEY_ROUTES, *SYSTEM_ROUTES, *served)


ROUTES: Final = routes_for(Dialects())
"""Those of a server whose settings say nothing of dialects."""
