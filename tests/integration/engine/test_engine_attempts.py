"""Attempts from claim to settlement, with real stores and real worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inner import Inner, engine_in
from live import is_alive, until
from stores import STORES, fresh_store

from windlass.config.schema import Workers
from windlass.core.state import Reason, State
from windlass.core.waiting import Waiting
from windlass.errors import ConflictError, InputError, KeyConflict, NotFoundError

pytestmark = pytest.mark.anyio

Open = Callable[..., contextlib.AbstractAsyncContextManager[Inner]]


@pytest.fixture(params=STORES)
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Give what starts an engine on each store."""
    with fresh_store(request.param) as database:

        def opened(**settings: Any) -> Any:
            return engine_in(tmp_path, database=database, monkeypatch=monkeypatch, **settings)

        yield opened


async def test_a_task_runs_and_its_result_is_kept(start: Open):
    async with start() as inner:
        task = await inner.submit("hello", {"name": "ada"})
        ended = await inner.until(task)
        assert (ended.state, ended.attempt, ended.charged, ended.reason) == (State.SUCCEEDED, 1, 1, None)
        assert await inner.engine.result(ended) == b'"hello ada"'
        assert await inner.history(task) == ["submitted", "started", "succeeded"]


async def test_a_failing_handler_is_tried_again_until_it_succeeds(start: Open):
    async with start() as inner:
        task = await inner.submit("flaky")
        ended = await inner.until(task)
        assert (ended.state, ended.attempt, ended.charged) == (State.SUCCEEDED, 3, 3)
        assert await inner.history(task) == ["submitted", *["started", "retrying"] * 2, "started", "succeeded"]
        assert ended.error is None
        attempts = await inner.engine.attempts(ended)
        assert [(each.attempt, each.outcome) for each in attempts] == [
            (1, "retrying"),
            (2, "retrying"),
            (3, "succeeded"),
        ]
        assert [each.error and each.error.message for each in attempts] == ["not yet", "not yet", None]
        assert attempts[0].ended_at is not None
        assert attempts[0].next_run_at is not None
        assert attempts[0].next_run_at > attempts[0].ended_at


async def test_a_handler_that_keeps_failing_uses_up_its_budget(start: Open):
    async with start() as inner:
        task = await inner.submit("flaky", max_attempts=2)
        ended = await inner.until(task)
        assert (ended.state, ended.reason, ended.charged) == (State.FAILED, Reason.EXHAUSTED, 2)
        assert ended.error is not None
        assert (ended.error.type, ended.error.message) == ("ValueError", "not yet")
        assert "tasks.py" in (ended.error.traceback or "")


async def test_a_payload_is_checked_at_submit_without_running_anything(start: Open):
    async with start() as inner:
        with pytest.raises(InputError) as refused:
            await inner.submit("hello", {"nam": "ada"})
        assert {error[:2] for error in refused.value.errors} == {
            ("/payload/nam", "unknown_field"),
            ("/payload/name", "missing_field"),
        }
        assert "did you mean 'name'?" in str(refused.value.errors)
        with pytest.raises(InputError) as unknown:
            await inner.submit("helo")
        assert unknown.value.code == "unknown_kind"
        assert "did you mean 'hello'?" in unknown.value.detail


async def test_the_same_key_gives_the_same_task_and_other_content_is_refused(start: Open):
    async with start() as inner:
        task = await inner.submit("hello", {"name": "ada"}, key="k")
        again = await inner.submit("hello", {"name": "ada"}, key="k")
        assert again.number == task.number
        with pytest.raises(KeyConflict):
            await inner.submit("hello", {"name": "bob"}, key="k")
        assert (await inner.until(task)).attempt == 1


async def test_a_task_with_a_delay_waits_for_its_time(start: Open):
    async with start() as inner:
        later = await inner.submit("hello", {"name": "later"}, delay_s=3600.0)
        assert inner.engine.waiting(later) is Waiting.UNTIL
        soon = await inner.submit("hello", {"name": "soon"}, delay_s=0.3)
        ended = await inner.until(soon)
        assert ended.started_at is not None
        assert ended.started_at >= soon.run_at
        assert (await inner.engine.get(later.id)).state is State.QUEUED


async def test_a_queued_task_that_is_cancelled_never_starts(start: Open):
    async with start() as inner:
        task = await inner.submit("hello", {"name": "x"}, delay_s=0.2)
        cancelled = await inner.engine.cancel(task.id, reason="changed my mind")
        assert (cancelled.state, cancelled.attempt) == (State.CANCELLED, 0)
        assert (await inner.engine.cancel(task.id)).version == cancelled.version
        other = await inner.submit("hello", {"name": "y"}, delay_s=0.3)
        await inner.until(other)
        assert await inner.history(task) == ["submitted", "cancelled"]


@pytest.mark.parametrize("kind", ["sleep", "sleep_blocking", "swallow", "spin", "block"])
async def test_whatever_a_handler_does_a_cancel_ends_it(start: Open, kind: str):
    async with start(kill_after_s=0.3) as inner:
        task = await inner.submit(kind, grace_s=0.2)
        running = await inner.until(task, State.RUNNING)
        requested = await inner.engine.cancel(task.id)
        assert (requested.state, requested.cancel_requested_at is not None) == (State.RUNNING, True)
        ended = await inner.until(running)
        assert (ended.state, ended.reason, ended.cancel_outcome) == (State.CANCELLED, Reason.CANCELLED, "stopped")
        assert await inner.history(task) == ["submitted", "started", "cancel_requested", "cancelled"]
        with pytest.raises(ConflictError):
            await inner.engine.hold(task.id)


async def test_a_cancel_that_comes_too_late_is_refused_and_changes_nothing(start: Open):
    async with start() as inner:
        task = await inner.until(await inner.submit("hello", {"name": "ada"}))
        with pytest.raises(ConflictError) as refused:
            await inner.engine.cancel(task.id)
        assert refused.value.details["task"].version == task.version


@pytest.mark.parametrize("kind", ["sleep", "sleep_blocking", "spin"])
async def test_an_attempt_over_its_timeout_is_stopped_and_charged(start: Open, kind: str):
    async with start(kill_after_s=0.2) as inner:
        task = await inner.submit(kind, timeout_s=0.3, grace_s=0.2, max_attempts=1)
        ended = await inner.until(task)
        assert (ended.state, ended.reason, ended.charged) == (State.FAILED, Reason.TIMED_OUT, 1)
        assert ended.error is not None
        assert "timeout of 0.3 s" in ended.error.message


async def test_what_a_handler_has_spawned_is_gone_with_it(start: Open):
    async with start(kill_after_s=0.2) as inner:
        task = await inner.submit("spawns", grace_s=0.1)
        running = await inner.until_progress(task)
        assert running.progress is not None
        child = int(running.progress.done)
        assert is_alive(child)
        await inner.engine.cancel(task.id)
        await inner.until(task)
        assert not is_alive(child)


@pytest.mark.parametrize(("kind", "ending"), [("exits", "exit 3"), ("segfaults", "SIGSEGV")])
async def test_a_handler_that_kills_its_worker_three_times_is_poison(start: Open, kind: str, ending: str):
    async with start() as inner:
        task = await inner.until(await inner.submit(kind))
        assert (task.state, task.reason, task.lost, task.attempt, task.charged) == (
            State.FAILED,
            Reason.POISON,
            3,
            3,
            1,
        )
        assert task.error is not None
        assert task.error.exit == ending
        assert await inner.history(task) == ["submitted", *["started", "interrupted"] * 2, "started", "failed"]


async def test_a_neighbour_that_blocks_the_loop_costs_others_an_interruption_and_nothing_else(start: Open):
    workers = Workers(suspect_s=0.6, blocked_kill_s=1.5)
    async with start(workers=workers) as inner:
        sleeper = await inner.submit("sleep", {"seconds": 2.0})
        await inner.until(sleeper, State.RUNNING)
        blocker = await inner.submit("block", {"seconds": 3.0})
        await inner.until(blocker, State.RUNNING)
        ended = await inner.until(sleeper)
        assert (ended.state, ended.charged) == (State.SUCCEEDED, 1)
        assert ended.solo
        late = await inner.submit("hello", {"name": "x"})
        assert (await inner.until(late)).attempt == 1
        assert (await inner.until(blocker)).state is State.SUCCEEDED


async def test_an_ended_task_can_be_retried_and_its_history_is_kept(start: Open):
    async with start() as inner:
        task = await inner.until(await inner.submit("flaky", max_attempts=1))
        assert task.state is State.FAILED
        again = await inner.engine.retry(task.id)
        assert (again.charged, again.attempt, again.reason) == (0, 1, None)
        ended = await inner.until(again)
        assert (ended.attempt, ended.charged) == (2, 1)
        history = await inner.history(task)
        assert history == ["submitted", "started", "failed", "retried", "started", "failed"]
        with pytest.raises(NotFoundError):
            await inner.engine.retry(10_000)


async def test_a_held_task_waits_until_it_is_released(start: Open):
    async with start() as inner:
        task = await inner.submit("hello", {"name": "x"}, delay_s=0.3)
        held = await inner.engine.hold(task.id)
        assert inner.engine.waiting(held) is Waiting.HOLD
        other = await inner.submit("hello", {"name": "y"}, delay_s=0.5)
        await inner.until(other)
        assert (await inner.engine.get(task.id)).state is State.QUEUED
        await inner.engine.release(task.id)
        assert (await inner.until(task)).state is State.SUCCEEDED


async def test_files_left_in_the_directory_are_the_tasks_files(start: Open, tmp_path: Path):
    async with start() as inner:
        task = await inner.submit("step")
        running = await inner.until_progress(task)
        (tmp_path / "files" / running.id / "go").write_text("now")
        await inner.engine.cancel(task.id)
        await inner.until(task)
        again = await inner.engine.retry(task.id)
        ended = await inner.until(again)
        assert await inner.engine.result(ended) == b'{"begun_at":1}'
        assert [(file.name, file.size_bytes) for file in await inner.engine.files(ended)] == [("go", 3)]


async def test_a_drain_gives_running_work_back_uncharged(start: Open):
    async with start(stop_s=0.6) as inner:
        task = await inner.submit("sleep")
        blocking = await inner.submit("spin")
        await inner.until(task, State.RUNNING)
        await inner.until(blocking, State.RUNNING)
        await inner.engine.drain()
        for each in (task, blocking):
            now = await inner.engine.get(each.id)
            assert (now.state, now.reason, now.attempt, now.charged) == (State.QUEUED, Reason.INTERRUPTED, 1, 0)
            assert now.run_at <= each.run_at + timedelta(seconds=0.001)


async def test_nothing_of_a_stopped_engine_is_left(start: Open):
    async with start() as inner:
        task = await inner.submit("spawns")
        running = await inner.until_progress(task)
        assert running.progress is not None
        workers = [row.pid for row in await inner.store.registry.workers(inner.engine._home)]
        assert len(workers) >= 3
    assert not is_alive(int(running.progress.done))
    until(lambda: not any(is_alive(pid) for pid in workers), "all workers are gone")


async def test_a_waiter_is_woken_by_the_end_of_its_task(start: Open):
    async with start() as inner:
        task = await inner.submit("hello", {"name": "x"}, delay_s=0.2)
        ended = await inner.engine.wait_for_end(task.id, timeout_s=10)
        assert ended.state is State.SUCCEEDED
        still = await inner.engine.wait_for_end((await inner.submit("sleep")).id, timeout_s=0.05)
        assert not still.state.has_ended
