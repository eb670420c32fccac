"""The dialect `tasktrack`: named tasks with numbers of their own, at `/api/task` and again at `/api/task/task`.

Translates alone: the names are the tasks' labels, which anybody may change.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta

from windlass.contracts.engine_api import Changes
from windlass.core import limits
from windlass.core.access import AccessScope
from windlass.core.state import State
from windlass.core.task import Task
from windlass.errors import InputError, NotFoundError
from windlass.http.call import Call
from windlass.http.dialects.dialect import FORGOTTEN, Dialect, list_own, read_body, submission_of
from windlass.http.reply import Reply, StreamReply, json_reply
from windlass.http.route import Response, Route
from windlass.http.v1.submission import label_faults
from windlass.wire.v1 import run_seconds

NAME: Final = "tasktrack"
_MISSING: Final = "task not found"
_ID_DIGITS: Final = 18
"""No store counts further; a longer number is that of no task."""

Status = Literal["pending", "running", "done", "failed"]
_STATUSES: Final[dict[State, Status]] = {
    State.QUEUED: "pending",
    State.RUNNING: "running",
    State.SUCCEEDED: "done",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}

Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS)]
Description = Annotated[str, Meta(max_length=limits.DESCRIPTION_CHARS)]


class TasktrackRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A task to be done."""

    name: Name
    description: Description | None = None


class TasktrackEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed: one of the two at least."""

    name: Name | None = None
    description: Description | None = None


class TasktrackDone(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and to which task."""

    message: str
    task_id: int


class TasktrackItem(msgspec.Struct, frozen=True, kw_only=True):
    """A task in the list."""

    id: int
    name: str
    description: str
    status: Status


class TasktrackView(TasktrackItem, frozen=True, kw_only=True):
    """A task; `duration` is running time, such as `4m2.348501s`."""

    created_at: datetime
    duration: str


async def create(call: Call) -> Reply:
    """Take a task."""
    request = await read_body(call, TasktrackRequest)
    description = request.description or ""
    _check(request.name, description)
    settings = call.services.dialects.tasktrack
    submission = submission_of(
        NAME,
        settings,
        {"name": request.name, "description": description},
        max_attempts=settings.max_attempts,
        name=request.name,
        description=description,
    )
    done = await call.engine.submit(submission)
    return json_reply(201, TasktrackDone(message="Task created successfully", task_id=_number(done.task)))


async def page(call: Call) -> StreamReply:
    """List all tasks, rising by id."""
    return StreamReply(200, list_own(call, origin=NAME, view=view_item))


async def show(call: Call) -> Reply:
    """Give a task."""
    return json_reply(200, view(await _own(call), now=call.services.clock.now()))


async def edit(call: Call) -> Reply:
    """Change the name or the description of a task."""
    task = await _own(call)
    request = await read_body(call, TasktrackEdit)
    if request.name is None and request.description is None:
        raise InputError("give a name or a description")
    _check(request.name, request.description)
    await call.engine.edit(
        task.id,
        Changes(
            name=UNSET if request.name is None else request.name,
            description=UNSET if request.description is None else request.description,
        ),
    )
    return json_reply(200, TasktrackDone(message="Task updated successfully", task_id=_number(task)))


async def delete(call: Call) -> Reply:
    """Stop a task, and know of it no more."""
    await call.engine.hide((await _own(call)).id)
    return Reply(204)


def view_item(task: Task) -> TasktrackItem:
    """Show a task as lists do."""
    return TasktrackItem(
        id=_number(task), name=task.name or "", description=task.description or "", status=_STATUSES[task.state]
    )


def view(task: Task, *, now: datetime) -> TasktrackView:
    """Show a task."""
    return TasktrackView(
        **msgspec.structs.asdict(view_item(task)),
        created_at=task.created_at,
        duration=spell_duration(run_seconds(task, now=now)),
    )


def spell_duration(seconds: float) -> str:
    """Spell a duration to the microsecond, in the largest units that fit.

    >>> [spell_duration(seconds) for seconds in (242.348501, 0.85, 1.5, 3603, 0, 60, 0.00025)]
    ['4m2.348501s', '850ms', '1.5s', '1h0m3s', '0s', '1m0s', '250µs']
    """
    whole_s, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    if whole_s == 0 and micros:
        return f"{micros}µs" if micros < 1_000 else f"{_decimal(micros // 1_000, micros % 1_000, 3)}ms"
    minutes, rest_s = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    above = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{above}{_decimal(rest_s, micros, 6)}s"


def _decimal(whole: int, fraction: int, digits: int) -> str:
    return f"{whole}.{fraction:0{digits}d}".rstrip("0").rstrip(".") if fraction else str(whole)


async def _own(call: Call) -> Task:
    """Find the task that the path names.

    Raises:
        InputError: it names none.
        NotFoundError: there is none of that number, or it was deleted.
    """
    text = call.parameter("id")
    if not (text.isascii() and text.isdigit() and text.strip("0")):
        raise InputError("id must be a positive integer")
    if len(text) > _ID_DIGITS:
        raise NotFoundError(_MISSING)
    try:
        task = await call.engine.find_of_origin(NAME, int(text))
    except NotFoundError:
        raise NotFoundError(_MISSING) from None
    if task.is_hidden:
        raise NotFoundError(_MISSING)
    return task


def _check(name: str | None, description: str | None) -> None:
    if faults := tuple(label_faults(name, description, {})):
        raise InputError.of(faults)


def _number(task: Task) -> int:
    assert task.origin_number is not None  # every task with an origin has one
    return task.origin_number


def _routes_of_all(root: str) -> Iterator[Route]:
    yield Route(
        method="POST",
        path=root,
        scope=AccessScope.SUBMIT,
        summary="Take a task",
        handler=create,
        request=TasktrackRequest,
        query=None,
        responses={201: Response("Taken", TasktrackDone)},
        problems=(503, 507),
        examples={"report": {"name": "report", "description": "of November"}},
        dialect=NAME,
    )
    yield Route(
        method="GET",
        path=root,
        scope=AccessScope.READ,
        summary="List all tasks, rising by id",
        handler=page,
        query=None,
        responses={200: Response("The tasks", list[TasktrackItem])},
        dialect=NAME,
    )


def _routes_of_one(one: str) -> Iterator[Route]:
    yield Route(
        method="GET",
        path=one,
        scope=AccessScope.READ,
        summary="Give a task",
        handler=show,
        query=None,
        responses={200: Response("The task", TasktrackView)},
        problems=(400,),
        dialect=NAME,
    )
    yield Route(
        method="PATCH",
        path=one,
        scope=AccessScope.OPERATE,
        summary="Change the name or the description of a task",
        handler=edit,
        request=TasktrackEdit,
        query=None,
        responses={200: Response("Changed", TasktrackDone)},
        problems=(503, 507),
        examples={"rename": {"name": "report of November"}},
        dialect=NAME,
    )
    yield Route(
        method="DELETE",
        path=one,
        scope=AccessScope.OPERATE,
        summary="Stop a task and forget it",
        handler=delete,
        query=None,
        responses={204: FORGOTTEN},
        problems=(400, 503, 507),
        dialect=NAME,
    )


_ROOTS: Final = ("/api/task", "/api/task/task")

DIALECT: Final = Dialect(
    NAME,
    tuple(route for root in _ROOTS for route in (*_routes_of_all(root), *_routes_of_one(root + "/{id}"))),
)
