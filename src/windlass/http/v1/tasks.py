"""Tasks over HTTP: submit, read, list, wait, and what an operator does to them.

Parses, asks the engine, renders; holds no rule of tasks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from windlass.contracts.engine_api import Submitted
from windlass.contracts.tasks import TaskRef
from windlass.core import limits
from windlass.core.state import State
from windlass.core.task import Task
from windlass.core.waiting import waiting_for
from windlass.errors import ConflictError, NotFoundError
from windlass.http.call import Call
from windlass.http.reply import Headers, Reply, json_reply, raw_reply
from windlass.http.v1.repeats import REPLAYED, read_repeat
from windlass.http.v1.submission import check_reason, read_changes, read_submission
from windlass.wire.codec import encode_json
from windlass.wire.v1 import AttemptList, CancelRequest, EmptyRequest, TaskView, view_progress, view_task

_RETRY_AFTER_MAX_S: Final = 60


class WaitQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many seconds to wait for the next change."""

    wait: Annotated[float, Meta(ge=0, le=limits.WAIT_MAX_S)] = 0


async def submit(call: Call) -> Reply:
    """Take a task in; with `Prefer: wait=N` give it its time to end.

    With an `Idempotency-Key` that was used before, the answer is the one given then; with `Prefer: wait` besides, it
    waits for the task of that time once more.
    """
    document = await call.json()
    submission = read_submission(document, now=call.services.clock.now())
    wait_s = _preferred_wait(call)
    repeat = read_repeat(call, [document])
    done = await call.engine.submit(submission, repeat=repeat)
    headers: Headers = [(b"location", f"/v1/tasks/{done.task.id}".encode()), *(REPLAYED if done.is_replay else ())]
    # What has just been stored, or is kept as it was then, needs no reading back.
    payload = encode_json(submission.payload) if done.is_new or repeat is not None else None
    if wait_s is None:
        at = None if repeat is None else done.task.created_at
        return json_reply(202 if done.is_new else 200, await _single(call, done.task, payload, at=at), headers)
    headers.append((b"preference-applied", b"wait=%d" % wait_s))
    task = await _wait_for_end(call, done, wait_s) if wait_s else done.task
    return json_reply(200 if task.state.has_ended else 202, await _single(call, task, payload), headers)


async def show(call: Call) -> Reply:
    """Give a task; with `wait`, its next change if one comes in time."""
    query = call.query(WaitQuery)
    ref = call.task_ref()
    seen = call.if_none_match()
    task = None
    if query.wait:
        versions = [int(tag) for tag in seen if tag.isascii() and tag.isdigit() and len(tag) < 19]
        waiting = call.engine.wait_for_change(ref, version=max(versions, default=None), timeout_s=query.wait)
        task = await call.wait(waiting)
    task = task or await call.engine.get(ref)
    headers: Headers = [(b"etag", b'W/"%d"' % task.version)]
    if not seen.isdisjoint({str(task.version), "*"}):
        return Reply(304, headers=headers)
    return json_reply(200, await _single(call, task), headers)


async def cancel(call: Call) -> Reply:
    """Cancel a task, or have it stopped."""
    request = await call.struct(CancelRequest)
    check_reason(request.reason)
    task = await call.engine.cancel(call.task_ref(), reason=request.reason, grace_s=request.grace_s)
    return json_reply(200 if task.state.has_ended else 202, await _single(call, task))


async def edit(call: Call) -> Reply:
    """Change labels of a task, or when and where it runs."""
    changes = read_changes(await call.json(), now=call.services.clock.now())
    return json_reply(200, await _single(call, await call.engine.edit(call.task_ref(), changes)))


async def delete(call: Call) -> Reply:
    """Remove an ended task with its files."""
    await call.engine.delete(call.task_ref())
    return Reply(204)


async def retry(call: Call) -> Reply:
    """Queue an ended task again."""
    return await _operate(call, call.engine.retry)


async def hold(call: Call) -> Reply:
    """Keep a queued task from starting."""
    return await _operate(call, call.engine.hold)


async def release(call: Call) -> Reply:
    """Let a held task start."""
    return await _operate(call, call.engine.release)


async def result(call: Call) -> Reply:
    """Give what a task has returned.

    Raises:
        ConflictError: `task_failed`, `task_cancelled`.
    """
    task = await call.engine.get(call.task_ref())
    match task.state:
        case State.SUCCEEDED:
            return raw_reply(200, await call.engine.result(task) or b"null")
        case State.FAILED:
            why = f": {task.error.message}" if task.error is not None else ""
            raise ConflictError(f"the task has failed{why}", code="task_failed", task=task, reason=task.reason)
        case State.CANCELLED:
            why = f": {task.cancel_reason}" if task.cancel_reason else ""
            raise ConflictError(f"the task was cancelled{why}", code="task_cancelled", task=task, reason=task.reason)
        case State.QUEUED | State.RUNNING:
            view = view_task(task, now=call.services.clock.now(), waiting=call.engine.waiting(task))
            return json_reply(202, view, [(b"retry-after", b"%d" % _ask_again_s(call, task))])


async def attempts(call: Call) -> Reply:
    """List how often a task has run, and how each run ended."""
    task = await call.engine.get(call.task_ref())
    return json_reply(200, AttemptList(attempts=list(await call.engine.attempts(task))))


async def _operate(call: Call, act: Callable[[TaskRef], Awaitable[Task]]) -> Reply:
    await call.struct(EmptyRequest)
    return json_reply(200, await _single(call, await act(call.task_ref())))


async def _wait_for_end(call: Call, done: Submitted, wait_s: float) -> Task:
    """Wait for the task as it is now; one that was deleted since is shown as it was."""
    if done.task.state.has_ended:
        return done.task
    try:
        ended = await call.wait(call.engine.wait_for_end(done.task.id, timeout_s=wait_s))
        return ended or await call.engine.get(done.task.id)
    except NotFoundError:
        if not done.is_replay:
            raise
        return done.task


async def _single(call: Call, task: Task, payload: bytes | None = None, *, at: datetime | None = None) -> TaskView:
    """Show everything of `task`; with `at`, as it stood then: the same at any time, whatever the workers do."""
    if payload is None:
        payload = await call.engine.payload(task)
    result = await call.engine.result(task) if task.state is State.SUCCEEDED else None
    if at is None:
        now, waiting = call.services.clock.now(), call.engine.waiting(task)
    else:
        now, waiting = at, waiting_for(task, now=at, is_kind_live=True)
    return view_task(task, now=now, waiting=waiting, payload=payload, result=result)


_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:$|[,;])", re.IGNORECASE)


def _preferred_wait(call: Call) -> int | None:
    """Read how long the client would wait (RFC 7240 § 4.3); what is no such preference is passed over."""
    found = _WAIT.search(call.header(b"prefer") or "")
    return min(int(found.group(1)), int(limits.WAIT_MAX_S)) if found else None


def _ask_again_s(call: Call, task: Task) -> int:
    """Guess when the task will have ended, as far as anybody can know."""
    now = call.services.clock.now()
    progress = view_progress(task, now=now)
    ends_at = progress.eta if progress is not None and progress.eta is not None else task.run_at
    return min(_RETRY_AFTER_MAX_S, max(1, math.ceil((ends_at - now).total_seconds())))
