"""What clients and operators can do to a task: cancel, retry, hold, release."""

from __future__ import annotations

import pytest
from store_cases import ERROR, FAILED, OK, Bench, applied_task, file

from windlass.contracts.tasks import (
    Applied,
    Hold,
    KeepFile,
    Refusal,
    Refused,
    Release,
    Report,
    RequestCancel,
    Retry,
    Save,
    Submit,
)
from windlass.core.outcome import Interrupted
from windlass.core.state import EventName, Reason, Recovery, State
from windlass.core.task import Progress

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


# ── cancel ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["ready", "scheduled", "held"])
async def test_a_queued_task_is_cancelled_at_once_and_never_starts(bench: Bench, way: str) -> None:
    task = await bench.submit(delay_s=60 if way == "scheduled" else 0)
    if way == "held":
        await bench.turn(Hold(task.number, bench.now))
    turn = await bench.turn(RequestCancel(task.id, bench.now, reason="changed my mind"), slots={"shared": 5})
    cancelled = applied_task(turn.results[0])
    assert turn.claimed == []
    assert (cancelled.state, cancelled.reason, cancelled.held) == (State.CANCELLED, Reason.CANCELLED, False)
    assert (cancelled.cancel_reason, cancelled.cancel_outcome) == ("changed my mind", "never_started")
    assert cancelled.finished_at == cancelled.cancel_requested_at == bench.now
    (event,) = turn.events
    assert (event.name, event.reason, event.token) == (EventName.CANCELLED, Reason.CANCELLED, None)
    assert event.data == {"reason": "changed my mind"}
    bench.pass_time(120)
    assert await bench.claim() == []


async def test_a_task_cancelled_between_two_attempts_was_stopped(bench: Bench) -> None:
    running = await bench.run()
    await bench.end(running.task, FAILED)
    task = applied_task(await bench.write(RequestCancel(running.task.number, bench.now)))
    assert (task.state, task.cancel_outcome, task.error) == (State.CANCELLED, "stopped", ERROR)


async def test_a_running_task_is_marked_once(bench: Bench) -> None:
    running = await bench.run()
    turn = await bench.turn(RequestCancel(running.task.number, bench.now, reason="r", grace_s=2.5))
    marked = applied_task(turn.results[0])
    assert (marked.state, marked.grace_s, marked.cancel_requested_at) == (State.RUNNING, 2.5, bench.now)
    assert (marked.token, marked.cancel_outcome, marked.version) == (running.task.token, None, 3)
    (event,) = turn.events
    assert (event.name, event.state, event.data) == (EventName.CANCEL_REQUESTED, State.RUNNING, {"reason": "r"})
    assert event.token == running.task.token
    bench.pass_time(1)
    again = await bench.turn(RequestCancel(running.task.number, bench.now, reason="other", grace_s=9))
    assert (again.results, again.events) == ([Applied(marked, created=False)], [])


async def test_a_cancel_that_came_too_late_says_so(bench: Bench) -> None:
    running = await bench.run()
    marked = applied_task(await bench.write(RequestCancel(running.task.number, bench.now)))
    task = await bench.end(marked, OK)
    assert (task.state, task.cancel_outcome) == (State.SUCCEEDED, "too_late")
    assert await bench.write(RequestCancel(task.number, bench.now)) == Refused(Refusal.STATE, task)


async def test_a_cancelled_task_may_be_cancelled_again(bench: Bench) -> None:
    task = await bench.submit()
    first = applied_task(await bench.write(RequestCancel(task.number, bench.now)))
    assert await bench.write(RequestCancel(task.number, bench.now, reason="x")) == Applied(first, created=False)


async def test_a_task_submitted_in_the_same_turn_can_be_cancelled(bench: Bench) -> None:
    new = bench.new()
    turn = await bench.turn(Submit(new), RequestCancel(new.id, bench.now), slots={"shared": 1})
    assert applied_task(turn.results[1]).state is State.CANCELLED
    assert turn.claimed == []


# ── retry, hold, release ───────────────────────────────────────────


async def test_a_retry_clears_what_the_last_life_left_but_its_work(bench: Bench) -> None:
    running = await bench.run(max_attempts=1)
    number, token = running.task.number, running.task.token
    assert token is not None
    await bench.turn(Save(number, token, b"[5]"), KeepFile(number, token, file(0)))
    marked = applied_task(await bench.write(RequestCancel(number, bench.now, reason="r")))
    await bench.turn(Report(number, token, Progress(done=1)))
    await bench.turn(bench.settle(marked, FAILED, lost=2, interrupted=3))
    ended = await bench.task(number)
    bench.pass_time(10)
    task = applied_task(await bench.write(Retry(number, bench.now)))
    assert task == await bench.task(number)
    assert (task.state, task.reason, task.error, task.progress) == (State.QUEUED, None, None, None)
    assert (task.charged, task.lost, task.interrupted, task.run_at) == (0, 0, 0, bench.now)
    assert (task.started_at, task.finished_at, task.cancel_requested_at) == (None, None, None)
    assert (task.cancel_reason, task.cancel_outcome) == (None, None)
    assert (task.attempt, task.run_s, task.version) == (1, 1.5, ended.version + 1)
    (again,) = await bench.claim()
    assert (again.task.attempt, again.checkpoint, again.files) == (2, b"[5]", [file(0)])


async def test_a_retry_forgets_the_result(bench: Bench) -> None:
    running = await bench.run()
    await bench.end(running.task)
    await bench.turn(Retry(running.task.id, bench.now))
    assert await bench.store.tasks.result(running.task.number) is None
    assert await bench.names(running.task.number) == ["submitted", "started", "succeeded", "retried"]


async def test_only_an_ended_task_can_be_retried(bench: Bench) -> None:
    queued = await bench.submit()
    assert await bench.write(Retry(queued.number, bench.now)) == Refused(Refusal.STATE, queued)
    (running,) = await bench.claim()
    assert await bench.write(Retry(queued.number, bench.now)) == Refused(Refusal.STATE, running.task)


async def test_a_held_task_starts_once_it_is_released(bench: Bench) -> None:
    task = await bench.submit()
    held = applied_task(await bench.write(Hold(task.number, bench.now)))
    assert (held.state, held.held, held.version) == (State.QUEUED, True, 2)
    assert await bench.write(Hold(task.number, bench.now)) == Applied(held, created=False)
    assert await bench.claim() == []
    turn = await bench.turn(Release(task.number, bench.now), slots={"shared": 1})
    released = applied_task(turn.results[0])
    assert (released.held, released.version) == (False, 3)
    assert len(turn.claimed) == 1
    assert await bench.names(task.number) == ["submitted", "held", "released", "started"]


async def test_a_release_begins_losses_and_interruptions_anew(bench: Bench) -> None:
    running = await bench.run(recovery=Recovery.HOLD)
    settle = bench.settle(running.task, Interrupted(error=ERROR), lost=2, interrupted=4)
    await bench.turn(settle)
    task = applied_task(await bench.write(Release(running.task.number, bench.now)))
    assert (task.lost, task.interrupted, task.error) == (0, 0, ERROR)


async def test_a_task_released_before_its_time_waits_for_it(bench: Bench) -> None:
    task = await bench.submit(delay_s=10)
    await bench.turn(Hold(task.number, bench.now))
    turn = await bench.turn(Release(task.number, bench.now), slots={"shared": 1})
    assert (turn.claimed, turn.next_due_at) == ([], task.run_at)


@pytest.mark.parametrize("sort", [Hold, Release])
async def test_a_task_that_runs_or_has_ended_is_neither_held_nor_released(
    bench: Bench, sort: type[Hold] | type[Release]
) -> None:
    running = await bench.run()
    assert await bench.write(sort(running.task.number, bench.now)) == Refused(Refusal.STATE, running.task)
    ended = await bench.end(running.task)
    assert await bench.write(sort(running.task.number, bench.now)) == Refused(Refusal.STATE, ended)


async def test_what_is_not_held_is_not_released(bench: Bench) -> None:
    task = await bench.submit()
    assert await bench.write(Release(task.number, bench.now)) == Refused(Refusal.STATE, task)


async def test_a_task_can_be_named_by_its_id_or_its_number(bench: Bench) -> None:
    first, second = await bench.submit(), await bench.submit()
    turn = await bench.turn(Hold(first.number, bench.now), Hold(second.id, bench.now))
    assert [applied_task(result).number for result in turn.results] == [first.number, second.number]
