"""The dialect `workmate`: work that is started, watched, asked for its result and stopped, at `/task`.

Translates alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from windlass.core.access import AccessScope
from windlass.core.ids import TaskId
from windlass.core.state import State
from windlass.core.task import Task
from windlass.errors import InputError
from windlass.http.call import Call
from windlass.http.dialects.dialect import FORGOTTEN, Dialect, find_own, list_own, parse_uuid, submission_of
from windlass.http.reply import Reply, StreamReply, json_reply
from windlass.http.route import Response, Route
from windlass.wire.v1 import run_seconds

NAME: Final = "workmate"

Status = Literal["created, but waiting to start", "in process", "completed", "failed by io bound"]
_STATUSES: Final[dict[State, Status]] = {
    State.QUEUED: "created, but waiting to start",
    State.RUNNING: "in process",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed by io bound",
    State.CANCELLED: "failed by io bound",
}


class WorkmateCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A task that was taken."""

    id: str
    created_at: datetime
    duration: Literal[0] = 0


class WorkmateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a task stands; `duration` is whole seconds of running time."""

    status: Status
    created_at: datetime
    duration: int


class WorkmateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a completed task has come to."""

    result: str


class WorkmateNoResult(msgspec.Struct, frozen=True, kw_only=True):
    """There is no result, or not yet."""

    problem: Literal["task running or failed, no result, check status"] = (
        "task running or failed, no result, check status"
    )


class WorkmateView(msgspec.Struct, frozen=True, kw_only=True):
    """A task in the list; `result` is null until it is completed."""

    id: str
    result: str | None
    status: Status
    created_at: datetime
    duration: int


async def create(call: Call) -> Reply:
    """Start a task; a body is passed over."""
    settings = call.services.dialects.workmate
    done = await call.engine.submit(submission_of(NAME, settings, {}, max_attempts=settings.max_attempts))
    return json_reply(201, WorkmateCreated(id=done.task.id, created_at=done.task.created_at))


async def page(call: Call) -> StreamReply:
    """List all tasks, oldest first."""
    clock = call.services.clock
    return StreamReply(200, list_own(call, origin=NAME, view=lambda task: view(task, now=clock.now())))


async def status(call: Call) -> Reply:
    """Say how a task stands."""
    task = await find_own(call, _id(call), origin=NAME)
    seen = view(task, now=call.services.clock.now())
    return json_reply(200, WorkmateStatus(status=seen.status, created_at=seen.created_at, duration=seen.duration))


async def result(call: Call) -> Reply:
    """Give the result of a task that is completed."""
    task = await find_own(call, _id(call), origin=NAME)
    said = result_of(task)
    return json_reply(202, WorkmateNoResult()) if said is None else json_reply(200, WorkmateResult(result=said))


async def delete(call: Call) -> Reply:
    """Stop a task, and know of it no more."""
    task = await find_own(call, _id(call), origin=NAME)
    await call.engine.hide(task.id)
    return Reply(204)


def view(task: Task, *, now: datetime) -> WorkmateView:
    """Show a task."""
    return WorkmateView(
        id=task.id,
        result=result_of(task),
        status=_STATUSES[task.state],
        created_at=task.created_at,
        duration=int(run_seconds(task, now=now)),
    )


def result_of(task: Task) -> str | None:
    """Give the result of a completed task: a digit that is its own, at every reading and in every list the same."""
    if task.state is not State.SUCCEEDED:
        return None
    return f"io work result = {UUID(task.id).int % 10}"


def _id(call: Call) -> TaskId:
    ref = parse_uuid(call.parameter("id"))
    if ref is None:
        raise InputError("invalid id")
    return ref


DIALECT: Final = Dialect(
    NAME,
    (
        Route(
            method="POST",
            path="/task",
            scope=AccessScope.SUBMIT,
            summary="Start a task",
            handler=create,
            query=None,
            responses={201: Response("Taken", WorkmateCreated)},
            problems=(400, 503, 507),
            dialect=NAME,
        ),
        Route(
            method="GET",
            path="/task",
            scope=AccessScope.READ,
            summary="List all tasks, oldest first",
            handler=page,
            query=None,
            responses={200: Response("The tasks", list[WorkmateView])},
            dialect=NAME,
        ),
        Route(
            method="DELETE",
            path="/task/{id}",
            scope=AccessScope.OPERATE,
            summary="Stop a task and forget it",
            handler=delete,
            query=None,
            responses={204: FORGOTTEN},
            problems=(400, 503, 507),
            dialect=NAME,
        ),
        Route(
            method="GET",
            path="/task/{id}/status",
            scope=AccessScope.READ,
            summary="Say how a task stands",
            handler=status,
            query=None,
            responses={200: Response("How it stands", WorkmateStatus)},
            problems=(400,),
            dialect=NAME,
        ),
        Route(
            method="GET",
            path="/task/{id}/result",
            scope=AccessScope.READ,
            summary="Give the result of a task that is completed",
            handler=result,
            query=None,
            responses={
                200: Response("The result", WorkmateResult),
                202: Response("It is not completed", WorkmateNoResult),
            },
            problems=(400,),
            dialect=NAME,
        ),
    ),
)
