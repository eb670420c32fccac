"""The dialect `check_result`: work that is begun once and asked for its result, at `/task/create` and
`/task/check-result`.

Translates alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from windlass.core.access import AccessScope
from windlass.core.state import Recovery, State
from windlass.core.task import Task
from windlass.errors import InputError, NotFoundError
from windlass.http.call import Call
from windlass.http.dialects.dialect import (
    Dialect,
    find_own,
    given_in,
    parse_uuid,
    read_body,
    read_parameter,
    submission_of,
    why_ended,
)
from windlass.http.reply import Reply, json_reply
from windlass.http.route import Response, Route
from windlass.wire.codec import decode_json

NAME: Final = "check_result"
_INVALID: Final = "Invalid task data"
_MISSING: Final = "Task not found"

Status = Literal["in progress", "completed", "failed"]
_STATUSES: Final[dict[State, Status]] = {
    State.QUEUED: "in progress",
    State.RUNNING: "in progress",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}


class CheckResultRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    task: Annotated[str, Meta(min_length=1)]


class CheckResultCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A task that was taken."""

    task_id: str
    status: Literal["success"] = "success"


class CheckResultQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which task."""

    task_id: str


class CheckResultView(msgspec.Struct, frozen=True, kw_only=True):
    """A task; `Result` is empty until it ends, then what it has returned, or why it has failed."""

    Task: str
    CreatedAt: datetime
    Task_identification: str
    Result: str
    Status: Status


async def create(call: Call) -> Reply:
    """Take a task, which runs once at most: neither a failure nor a restart begins it again."""
    try:
        request = await read_body(call, CheckResultRequest)
    except InputError:
        raise InputError(_INVALID) from None
    settings = call.services.dialects.check_result
    submission = submission_of(
        NAME,
        settings,
        {"task": request.task},
        max_attempts=1,
        timeout_s=settings.timeout_s,
        recovery=Recovery.FAIL,
    )
    done = await call.engine.submit(submission)
    return json_reply(201, CheckResultCreated(task_id=done.task.id))


async def check(call: Call) -> Reply:
    """Say how a task stands, and what it has come to."""
    text = read_parameter(call, "task_id")
    if not text:
        raise InputError("task_id is missing: give it as /task/check-result?task_id=<id>")
    ref = parse_uuid(text)
    if ref is None:
        raise NotFoundError(_MISSING)
    task = await find_own(call, ref, origin=NAME, missing=_MISSING)
    payload = await call.engine.payload(task)
    returned = await call.engine.result(task) if task.state is State.SUCCEEDED else None
    return json_reply(200, view(task, payload, returned))


def view(task: Task, payload: bytes, returned: bytes | None) -> CheckResultView:
    """Show a task, given its payload and what it has returned."""
    return CheckResultView(
        Task=str(given_in(task, payload).get("task", "")),
        CreatedAt=task.created_at,
        Task_identification=task.id,
        Result=_result(task, returned),
        Status=_STATUSES[task.state],
    )


def _result(task: Task, returned: bytes | None) -> str:
    """Spell what a task has come to: text as it is, other JSON as JSON."""
    if not task.state.has_ended:
        return ""
    if task.state is not State.SUCCEEDED:
        return why_ended(task)
    if returned is None:
        return ""
    value = decode_json(returned)
    return value if isinstance(value, str) else returned.decode()


DIALECT: Final = Dialect(
    NAME,
    (
        Route(
            method="POST",
            path="/task/create",
            scope=AccessScope.SUBMIT,
            summary="Take a task, to be run once at most",
            handler=create,
            request=CheckResultRequest,
            query=None,
            responses={201: Response("Taken", CheckResultCreated)},
            problems=(503, 507),
            examples={"report": {"task": "count the words"}},
            dialect=NAME,
        ),
        Route(
            method="GET",
            path="/task/check-result",
            scope=AccessScope.READ,
            summary="Say how a task stands, and what it has come to",
            handler=check,
            query=CheckResultQuery,
            responses={200: Response("The task", CheckResultView)},
            problems=(400, 404),
            dialect=NAME,
        ),
    ),
)
