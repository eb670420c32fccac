"""The native API as requests and answers: a call becomes a Request, a Response becomes a value or an error.

Pure: opens no connection, knows no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec.structs import replace

from windlass.client.errors import AccessDenied, ServerError, UnexpectedAnswer
from windlass.core.ids import parse_task_ref
from windlass.errors import (
    ConflictError,
    IdempotencyMismatch,
    IllegalTransition,
    InputError,
    KeyConflict,
    NotFoundError,
    NotReadyError,
    SaturatedError,
    StoreFull,
    StoreUnavailable,
    WindlassError,
)
from windlass.wire.codec import encode_json
from windlass.wire.v1 import (
    AttemptList,
    CancelRequest,
    EditRequest,
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
from windlass.wire.v1_many import BulkRequest, BulkView, PlacedList, StatsView
from windlass.wire.v1_queues import QueueList, QueueRequest, QueueView

T = TypeVar("T")

TaskRef = str | int
"""A task by its id or its number."""

_ECHO_CHARS = 64


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One HTTP request, and what its answer is read as. `path` is below the server's address, query included.

    `is_repeatable`: sent twice it does no more than once. `wait_s`: for how long the server has been asked to hold the
    answer back. `statuses`: what is an answer, not an error, besides 2xx.
    """

    method: str
    path: str
    answer: type[T]
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    wait_s: float = 0.0
    is_repeatable: bool = False
    statuses: frozenset[int] = frozenset()


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One HTTP response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def submit_task(request: SubmitRequest, *, idempotency_key: str | None = None) -> Request[TaskView]:
    """Have a task done. What was left at its default is not sent, so that the server's own default holds."""
    return _named(_post("/v1/tasks", TaskView, _submission(request)), idempotency_key)


def spell_lines(requests: Iterable[SubmitRequest]) -> bytes:
    """Spell tasks as the lines of a batch."""
    return b"\n".join(encode_json(_submission(request)) for request in requests)


def submit_lines(lines: bytes, *, idempotency_key: str | None = None) -> Request[PlacedList]:
    """Have all tasks done that `lines` spell, one JSON object a line, or none."""
    headers = {"Content-Type": "application/x-ndjson"}
    request = Request(method="POST", path="/v1/tasks/batch", answer=PlacedList, body=lines, headers=headers)
    return _named(request, idempotency_key)


def get_task(ref: TaskRef, *, wait_s: float = 0.0, etag: str | None = None) -> Request[TaskView]:
    """Read a task; with `etag` only if it has changed since, else 304, after `wait_s` at most."""
    query = {"wait": f"{wait_s:.3f}".rstrip("0").rstrip(".")} if wait_s else {}
    headers = {"If-None-Match": etag} if etag else {}
    return Request(method="GET", path=_path(ref, query=query), answer=TaskView, headers=headers, wait_s=wait_s)


def spell_filters(filters: Mapping[str, Any]) -> dict[str, str | None]:
    """Spell filters as parameters: a tag as name:value, an instant as RFC 3339 has it.

    Raises:
        InputError: an instant without its time zone.
    """
    return {name: _spell(name, value) for name, value in filters.items()}


def list_tasks(filters: Mapping[str, str | None], *, limit: int, cursor: str | None = None) -> Request[TaskList]:
    """Read a page of the tasks that match all of `filters`; None filters nothing."""
    query = {name: value for name, value in {**filters, "cursor": cursor}.items() if value is not None}
    return Request(method="GET", path=f"/v1/tasks?{urlencode({**query, 'limit': limit})}", answer=TaskList)


def cancel_task(ref: TaskRef, request: CancelRequest) -> Request[TaskView]:
    """Cancel a queued task, or have a running one stopped."""
    return _post(_path(ref, "/cancel"), TaskView, _set_fields(request))


def edit_task(ref: TaskRef, request: EditRequest) -> Request[TaskView]:
    """Change what is set of a task."""
    return replace(_post(_path(ref), TaskView, _set_fields(request)), method="PATCH")


def delete_task(ref: TaskRef) -> Request[None]:
    """Remove an ended task and its files."""
    return Request(method="DELETE", path=_path(ref), answer=type(None))


def bulk(request: BulkRequest) -> Request[BulkView]:
    """Do one thing to all tasks that match a filter."""
    return _post("/v1/bulk", BulkView, _set_fields(request))


def act_on_task(ref: TaskRef, action: Literal["retry", "hold", "release"]) -> Request[TaskView]:
    """Do to a task what an operator may."""
    return _post(_path(ref, f"/{action}"), TaskView, {})


def list_attempts(ref: TaskRef) -> Request[AttemptList]:
    """Read how often a task has run, and how each run ended."""
    return Request(method="GET", path=_path(ref, "/attempts"), answer=AttemptList)


def list_files(ref: TaskRef) -> Request[FileList]:
    """Read which files a task has, and how far each has come."""
    return Request(method="GET", path=_path(ref, "/files"), answer=FileList)


def fetch_file(ref: TaskRef, name: str) -> Request[bytes]:
    """Read the bytes of one file."""
    return Request(method="GET", path=_path(ref, f"/files/{quote(name, safe='/')}"), answer=bytes)


def get_stats() -> Request[StatsView]:
    """Read the server's counters."""
    return Request(method="GET", path="/v1/stats", answer=StatsView)


def list_kinds() -> Request[KindList]:
    """Read which kinds the server knows."""
    return Request(method="GET", path="/v1/kinds", answer=KindList)


def list_queues() -> Request[QueueList]:
    """Read how the queues stand."""
    return Request(method="GET", path="/v1/queues", answer=QueueList)


def get_queue(name: str) -> Request[QueueView]:
    """Read how one queue stands."""
    return Request(method="GET", path=f"/v1/queues/{quote(name, safe='')}", answer=QueueView)


def edit_queue(name: str, request: QueueRequest) -> Request[QueueView]:
    """Pause or resume a queue, or change its limits."""
    return replace(_post(f"/v1/queues/{quote(name, safe='')}", QueueView, _set_fields(request)), method="PATCH")


def list_keys() -> Request[KeyList]:
    """Read which keys there are, revoked ones too."""
    return Request(method="GET", path="/v1/keys", answer=KeyList)


def create_key(request: KeyRequest) -> Request[NewKeyView]:
    """Have a key made."""
    return _post("/v1/keys", NewKeyView, {"name": request.name, "scopes": request.scopes})


def revoke_key(key_id: str) -> Request[KeyView]:
    """Have a key taken out of use."""
    return Request(method="DELETE", path=f"/v1/keys/{quote(key_id, safe='')}", answer=KeyView)


def get_health() -> Request[HealthView]:
    """Ask whether the server takes and runs work; a 503 is an answer too."""
    return Request(method="GET", path="/readyz", answer=HealthView, statuses=frozenset({503}))


def read_answer(request: Request[T], response: Response) -> T:
    """Read what the server has answered to `request`.

    Raises:
        WindlassError: the server refused or failed, as the class its code and status stand for.
        UnexpectedAnswer: the answer is none of the native API.
    """
    if not (200 <= response.status < 300 or response.status in request.statuses):
        raise read_error(response)
    try:
        return msgspec.json.decode(b"null" if response.status == 204 else response.body, type=request.answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if response.status in request.statuses:
            raise read_error(response) from None
        raise UnexpectedAnswer(
            f"the answer to {request.method} {request.path} is not understood ({error}): the server is of another "
            "version than this client, or no windlass server",
            status=response.status,
        ) from None


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457), read leniently: servers to come may say more."""

    detail: str
    code: str
    request_id: str | None = None
    stored: str | None = None
    task: Any = None
    errors: list[_Broken] = []


class _Broken(msgspec.Struct, frozen=True, kw_only=True):
    """One broken rule of the input."""

    pointer: str
    code: str
    detail: str


_OF_CODES = (
    KeyConflict,
    IdempotencyMismatch,
    IllegalTransition,
    NotFoundError,
    SaturatedError,
    NotReadyError,
    StoreUnavailable,
    StoreFull,
)
_BY_CODE: dict[str, type[WindlassError]] = {**{kind.code: kind for kind in _OF_CODES}, "queue_full": SaturatedError}

_BY_STATUS: dict[int, type[WindlassError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    429: SaturatedError,
    503: NotReadyError,
    507: StoreFull,
}


def read_error(response: Response) -> WindlassError:
    """Read a refusal or failure into the exception that its code, or else its status, stands for."""
    try:
        problem = msgspec.json.decode(response.body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        kind = response.headers.get("content-type", "no content type")[:_ECHO_CHARS]
        return UnexpectedAnswer(
            f"the server answered {response.status} ({kind}), which is not how windlass says no: check that the "
            "address is that of a windlass server",
            status=response.status,
        )
    details: dict[str, Any] = {
        "status": response.status,
        "request_id": problem.request_id,
        "stored": problem.stored,
        "task": problem.task,
        "retry_after_s": _retry_after_s(response),
    }
    details = {name: value for name, value in details.items() if value is not None}
    error_class = _BY_CODE.get(problem.code) or _BY_STATUS.get(response.status)
    if error_class is None and 400 <= response.status < 500:
        return _input_error(problem, details)
    return (error_class or ServerError)(problem.detail, code=problem.code, **details)


def _input_error(problem: _Problem, details: Mapping[str, Any]) -> InputError:
    error = InputError(problem.detail, code=problem.code, **details)
    if problem.errors:
        error.errors = tuple((broken.pointer, broken.code, broken.detail) for broken in problem.errors)
    return error


def _retry_after_s(response: Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _path(ref: TaskRef, below: str = "", *, query: Mapping[str, str] | None = None) -> str:
    parsed = parse_task_ref(str(ref))
    if parsed is None:
        raise InputError(
            f"'{str(ref)[:_ECHO_CHARS]}' names no task: give its number, for example 17, or its id", code="bad_task_ref"
        )
    return f"/v1/tasks/{parsed}{below}" + (f"?{urlencode(query)}" if query else "")


def _post(path: str, answer: type[T], document: Mapping[str, Any]) -> Request[T]:
    headers = {"Content-Type": "application/json"}
    return Request(method="POST", path=path, answer=answer, body=encode_json(document), headers=headers)


def _spell(name: str, value: Any) -> str | None:
    match value:
        case datetime(tzinfo=None):
            raise InputError("must say its time zone: datetime.now(UTC), for example", pointer=name)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case (str(tag), str(text)):
            return f"{tag}:{text}"
        case _:
            return value


def _submission(request: SubmitRequest) -> dict[str, Any]:
    return {"payload": request.payload, **_set_fields(request)}


def _named(request: Request[T], idempotency_key: str | None) -> Request[T]:
    """Give a request its name, by which the server knows it again. As a structured field has it: in quotes."""
    if idempotency_key is None:
        return request
    if not (idempotency_key.isascii() and idempotency_key.isprintable()):
        raise InputError("an idempotency key is printable ASCII", pointer="idempotency_key")
    quoted = idempotency_key.replace("\\", "\\\\").replace('"', '\\"')
    return replace(request, headers={**request.headers, "Idempotency-Key": f'"{quoted}"'}, is_repeatable=True)


def _set_fields(record: msgspec.Struct) -> dict[str, Any]:
    """Give the fields of `record` that differ from their defaults, records inside it likewise."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
        if value != default:
            fields[field.encode_name] = _set_fields(value) if isinstance(value, msgspec.Struct) else value
    return fields
