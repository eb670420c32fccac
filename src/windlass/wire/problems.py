"""Errors as clients see them: problem details of RFC 9457. The only place that knows HTTP statuses.

Says nothing of the inside: what a stranger may not read stays in the log, under the request's id.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from windlass.errors import InputError, KeyConflict, StoreError, StoreFull, StoreUnavailable, WindlassError
from windlass.wire.v1 import TaskView

MEDIA_TYPE: Final = "application/problem+json"
TYPE_BASE: Final = "/docs#problem-"
"""A problem's `type` is this and its code: the line of `/docs` that explains it."""

_DETAIL_CHARS: Final = 500
_ECHO_CHARS: Final = 64
_RETRY_AFTER_S: Final = 5
"""Said with a status that calls for it when nothing better is known."""

STATUSES: Final[dict[str, tuple[int, str]]] = {
    # the request cannot be read
    "bad_request": (400, "The request is not HTTP as it should be"),
    "invalid_json": (400, "The body is not JSON"),
    "duplicate_key": (400, "A key stands twice in one object"),
    "non_finite_number": (400, "A number is not finite"),
    "unauthenticated": (401, "This takes a key"),
    "bad_origin": (403, "A page of another origin may not do this"),
    "forbidden": (403, "The key's scopes do not allow this"),
    "not_found": (404, "There is no such thing"),
    "task_not_found": (404, "There is no such task"),
    "queue_not_found": (404, "There is no such queue"),
    "task_deleted": (410, "The task was deleted"),
    "method_not_allowed": (405, "This path does not take this method"),
    "request_timeout": (408, "The request did not arrive in time"),
    "body_too_large": (413, "The body is too large"),
    "batch_too_large": (413, "The batch has too many tasks"),
    "target_too_long": (414, "The request's target is too long"),
    "unsupported_media_type": (415, "The body is of a kind that is not read here"),
    "range_not_satisfiable": (416, "The file has no such range"),
    "bad_host": (421, "This server is not known by that name"),
    "too_many_failures": (429, "Too many wrong keys came from this address"),
    "headers_too_large": (431, "The request's headers are too large"),
    # what it asks for cannot be done
    "conflict": (409, "The present state does not allow this"),
    "illegal_transition": (409, "The task's state does not allow this"),
    "task_state": (409, "The task's state does not allow this"),
    "key_conflict": (409, "The key belongs to a task with other content"),
    "last_admin_key": (409, "This is the last key that can make others"),
    "task_failed": (409, "The task has failed, so it has no result"),
    "task_cancelled": (409, "The task was cancelled, so it has no result"),
    "invalid_input": (422, "The input breaks a rule"),
    "invalid_text": (422, "A text holds characters that are not kept"),
    "invalid_value": (422, "A field's value breaks its rule"),
    "missing_field": (422, "A field that is needed is missing"),
    "unknown_field": (422, "There is no such field"),
    "repeated_parameter": (422, "A parameter is given twice"),
    "exclusive_fields": (422, "Two fields exclude each other"),
    "naive_time": (422, "An instant is without its time zone"),
    "idempotency_mismatch": (422, "The Idempotency-Key came with another body before"),
    "unknown_kind": (422, "There is no such kind"),
    "bad_duration": (422, "This is no duration"),
    "bad_cursor": (422, "This is no cursor of this list"),
    "too_deep": (422, "The document nests too deep"),
    "too_many_keys": (422, "An object has too many keys"),
    "too_many_values": (422, "The document has too many values"),
    "string_too_long": (422, "A string is too long"),
    "number_out_of_range": (422, "An integer is beyond 64 bits"),
    "not_json": (422, "This cannot be kept as JSON"),
    # the server cannot do it now
    "error": (500, "The server failed"),
    "internal": (500, "The server failed"),
    "store_error": (500, "The store failed"),
    "too_many_connections": (503, "The server has all the connections it takes"),
    "saturated": (503, "Too much is waiting"),
    "queue_full": (503, "The queue has no room"),
    "starting": (503, "The server is starting"),
    "stopping": (503, "The server is stopping"),
    "store_unavailable": (503, "The store cannot be reached"),
    "store_uncertain": (503, "The store's answer was lost"),
    "storage_full": (507, "The store has no space left"),
}
"""Status and title by code. A code that is not here has those of the code of its error's class."""

_CALL_FOR_RETRY_AFTER: Final = frozenset({429, 503, 507})


class FieldProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One broken rule; `pointer` is the JSON Pointer of the field, or `/` and the parameter's name."""

    pointer: str
    code: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused or failed. `code` is stable; `detail` is for people.

    `stored`, on submit alone: whether the task may be there all the same. `task`: the task as it stands, where its
    state is the reason; `reason`: why it ended.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | UnsetType = UNSET
    stored: Literal["no", "unknown"] | UnsetType = UNSET
    task: TaskView | UnsetType = UNSET
    reason: str | UnsetType = UNSET


def problem_of(
    error: Exception, *, request_id: str, is_submit: bool = False, task: TaskView | None = None, reason: str = ""
) -> Problem:
    """Describe `error` to a client. What is no error of ours, or the server's own fault, is told by its code alone."""
    code = error.code if isinstance(error, WindlassError) else "internal"
    known, (status, title) = _look_up(error)
    if not isinstance(error, WindlassError) or status == 500:
        detail = f"the server failed; its log says more under the request id {request_id}"
    else:
        detail = _tame(error.detail)
    errors = [FieldProblem(pointer=_cut(at), code=what, detail=_tame(why)) for at, what, why in _fields(error)]
    return Problem(
        type=TYPE_BASE + known,
        title=title,
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        errors=errors or UNSET,
        stored=_stored(error) if is_submit else UNSET,
        task=UNSET if task is None else task,
        reason=reason or UNSET,
    )


class ShortError(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused or failed, for clients of a dialect: a sentence."""

    error: str


_IN_SHORT: Final = {410: 404, 415: 400, 422: 400}
"""Dialects know bad input and what is not there, and no finer."""


def in_short(error: Exception, *, request_id: str) -> tuple[int, ShortError]:
    """Describe `error` to a client of a dialect: its status and all that is wrong in one line."""
    problem = problem_of(error, request_id=request_id)
    sentence = problem.detail
    if problem.errors is not UNSET and isinstance(error, InputError):
        sentence = "; ".join(_spell(fault) for fault in problem.errors)
    return _IN_SHORT.get(problem.status, problem.status), ShortError(error=sentence)


def _spell(fault: FieldProblem) -> str:
    names_itself = not fault.pointer or fault.code == "missing_field"
    return fault.detail if names_itself else f"{fault.pointer[1:]}: {fault.detail}"


def _fields(error: Exception) -> tuple[tuple[str, str, str], ...]:
    """Name the fields an error is about: of bad input all that are wrong, of a conflict in a batch the first."""
    if isinstance(error, InputError):
        return error.errors
    if isinstance(error, KeyConflict) and (pointer := error.details.get("pointer")) is not None:
        return ((pointer, error.code, error.detail),)
    return ()


def retry_after_s(error: Exception) -> int | None:
    """Say after how many whole seconds to come again; None when the error's status does not call for it."""
    if _look_up(error)[1][0] not in _CALL_FOR_RETRY_AFTER:
        return None
    seconds = error.details.get("retry_after_s") if isinstance(error, WindlassError) else None
    return _RETRY_AFTER_S if seconds is None else max(1, math.ceil(seconds))


def _look_up(error: Exception) -> tuple[str, tuple[int, str]]:
    for code in _codes(error):
        if code in STATUSES:
            return code, STATUSES[code]
    return "internal", STATUSES["internal"]


def _codes(error: Exception) -> Iterator[str]:
    """Give the error's own code, then those of its classes, the nearest first."""
    if isinstance(error, WindlassError):
        yield error.code
        for kind in type(error).__mro__:
            if issubclass(kind, WindlassError):
                yield kind.code


def _stored(error: Exception) -> Literal["no", "unknown"]:
    """Refusals come before the write, and a full or busy store has undone it; of anything else nobody can tell.

    A commit that failed in any other way may still be found whole when the store is opened again.
    """
    if isinstance(error, StoreError):
        return "no" if isinstance(error, StoreFull | StoreUnavailable) else "unknown"
    return "no" if _look_up(error)[1][0] != 500 else "unknown"


_QUOTED = re.compile(rf"""(['"`])((?:(?!\1).){{{_ECHO_CHARS}}})(?:(?!\1).)+\1""", re.DOTALL)


def _tame(detail: str) -> str:
    """Cut what a message quotes of the input, and the message itself."""
    detail = _QUOTED.sub(r"\1\2…\1", detail)
    return detail if len(detail) <= _DETAIL_CHARS else detail[:_DETAIL_CHARS] + "…"


def _cut(pointer: str) -> str:
    return pointer if len(pointer) <= _DETAIL_CHARS else pointer[:_DETAIL_CHARS] + "…"
