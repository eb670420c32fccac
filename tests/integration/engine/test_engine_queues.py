"""Queues in a running engine: limits from the settings and from operators, and what waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from inner import engine_in
from stores import DURABLE, STORES, fresh_store

from windlass.config.dialects import Dialects, EnqueueDialect
from windlass.contracts.engine_api import QueueChange, Repeat, Submission
from windlass.core.state import State
from windlass.core.waiting import Waiting
from windlass.errors import InputError, NotFoundError, SaturatedError

pytestmark = pytest.mark.anyio

SLEEP = Submission(kind="sleep", payload={}, queue="slow")


def limits_of(concurrency: int, capacity: int) -> Dialects:
    return Dialects(enabled=["enqueue"], enqueue=EnqueueDialect(concurrency=concurrency, capacity=capacity))


@pytest.fixture(params=STORES)
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    with fresh_store(request.param) as database:
        yield lambda **settings: engine_in(tmp_path, database=database, monkeypatch=monkeypatch, **settings)


async def test_the_settings_limit_a_queue_from_the_start(engine: Callable[..., Any]) -> None:
    async with engine(dialects=limits_of(1, 2)) as inner:
        tasks = [await inner.submit("sleep", queue="enqueue")]
        await inner.until_progress(tasks[0])
        tasks += [await inner.submit("sleep", queue="enqueue", key=f"k{n}") for n in range(2)]
        assert [inner.engine.waiting(await inner.engine.get(task.id)) for task in tasks] == [
            None,
            Waiting.LIMIT,
            Waiting.LIMIT,
        ]
        again = await inner.submit("sleep", queue="enqueue", key="k1")
        assert again.number == tasks[2].number
        with pytest.raises(SaturatedError, match="the queue enqueue is full: its capacity is 2") as full:
            await inner.submit("sleep", queue="enqueue")
        assert full.value.code == "queue_full"
        assert 1 <= full.value.details["retry_after_s"] <= 60
        await inner.engine.cancel(tasks[0].id)
        await inner.until(tasks[1], State.RUNNING)
        await inner.submit("sleep", queue="enqueue")


async def test_a_batch_that_a_queue_has_no_room_for_is_refused_as_a_whole(engine: Callable[..., Any]) -> None:
    async with engine() as inner:
        await inner.engine.set_queue("slow", QueueChange(capacity=2, is_paused=True))
        repeat = Repeat("client", "once", b"1")
        with pytest.raises(SaturatedError) as full:
            await inner.engine.submit_batch([SLEEP] * 3, repeat=repeat)
        assert full.value.code == "queue_full"
        placed = (await inner.engine.submit_batch([SLEEP] * 2, repeat=repeat)).placed
        assert [task.number for task in placed] == [1, 2]
        again = await inner.engine.submit_batch([SLEEP] * 2, repeat=repeat)
        assert (again.is_replay, [task.number for task in again.placed]) == (True, [1, 2])


async def test_a_full_queue_that_drains_says_when_it_may_have_room(engine: Callable[..., Any]) -> None:
    async with engine() as inner:
        for _ in range(8):
            await inner.until(await inner.submit("hello", {"name": "x"}, queue="quick"))
        await inner.engine.set_queue("quick", QueueChange(is_paused=True, capacity=1))
        await inner.engine.set_queue("still", QueueChange(is_paused=True, capacity=1))
        waits: dict[str, float] = {}
        for name in ("quick", "still"):
            await inner.submit("sleep", queue=name)
            with pytest.raises(SaturatedError) as full:
                await inner.submit("sleep", queue=name)
            waits[name] = full.value.details["retry_after_s"]
        assert waits["still"] == 60
        assert 1 <= waits["quick"] < 60
        quick = await inner.engine.queue("quick")
        assert quick.started_per_s > 0


async def test_a_paused_queue_holds_its_tasks_until_it_is_resumed(engine: Callable[..., Any]) -> None:
    async with engine() as inner:
        paused = await inner.engine.set_queue("slow", QueueChange(is_paused=True, pause_reason="moving house"))
        assert (paused.row.queue.is_paused, paused.row.queue.pause_reason) == (True, "moving house")
        task = await inner.submit("hello", {"name": "x"}, queue="slow")
        other = await inner.submit("hello", {"name": "y"})
        await inner.until(other)
        assert inner.engine.waiting(await inner.engine.get(task.id)) is Waiting.PAUSED
        status = await inner.engine.queue("slow")
        assert (status.row.queued, status.row.running) == (1, 0)
        assert status.oldest_wait_s is not None
        await inner.engine.set_queue("slow", QueueChange(is_paused=False))
        assert (await inner.until(task)).state is State.SUCCEEDED


async def test_a_limit_that_rises_starts_what_waits_for_it(engine: Callable[..., Any]) -> None:
    async with engine() as inner:
        await inner.engine.set_queue("slow", QueueChange(concurrency=1))
        tasks = [await inner.submit("sleep", queue="slow") for _ in range(3)]
        await inner.until(tasks[0], State.RUNNING)
        assert inner.engine.waiting(await inner.engine.get(tasks[1].id)) is Waiting.LIMIT
        await inner.engine.set_queue("slow", QueueChange(concurrency=2))
        await inner.until(tasks[1], State.RUNNING)
        await inner.engine.set_queue("slow", QueueChange(concurrency=None))
        await inner.until(tasks[2], State.RUNNING)
        assert (await inner.engine.queue("slow")).row.running == 3


@pytest.mark.parametrize("engine", DURABLE, indirect=True)
async def test_what_an_operator_has_set_outlives_the_server(engine: Callable[..., Any]) -> None:
    async with engine(dialects=limits_of(4, 64)) as inner:
        await inner.engine.set_queue("enqueue", QueueChange(concurrency=1))
        await inner.engine.set_queue("slow", QueueChange(is_paused=True))
        task = await inner.submit("hello", {"name": "x"}, queue="slow")
    async with engine(dialects=limits_of(5, 70)) as inner:
        queue = (await inner.engine.queue("enqueue")).row.queue
        assert (queue.concurrency, queue.default_concurrency, queue.capacity) == (1, 5, 70)
        assert inner.engine.waiting(await inner.engine.get(task.id)) is Waiting.PAUSED


async def test_queues_are_those_with_tasks_with_limits_and_of_kinds(engine: Callable[..., Any]) -> None:
    async with engine(dialects=limits_of(4, 64)) as inner:
        await inner.engine.set_queue("rare", QueueChange(concurrency=1))
        await inner.submit("hello", {"name": "x"}, queue="later", delay_s=60)
        names = [status.row.queue.name for status in await inner.engine.queues()]
        assert names == ["default", "enqueue", "later", "rare"]
        await inner.until(await inner.submit("hello", {"name": "x"}, queue="once"))
        assert (await inner.engine.queue("once")).row.queued == 0
        with pytest.raises(NotFoundError) as missing:
            await inner.engine.queue("nowhere")
        assert missing.value.code == "queue_not_found"
        with pytest.raises(InputError):
            await inner.engine.set_queue("../x", QueueChange(concurrency=1))


async def test_hiding_a_running_task_stops_it_and_whoever_waits_for_it_is_told(engine: Callable[..., Any]) -> None:
    async with engine() as inner:
        task = await inner.submit("sleep", origin="workmate")
        await inner.until_progress(task)
        hidden = await inner.engine.hide(task.id)
        assert (hidden.is_hidden, hidden.origin_number) == (True, 1)
        assert (await inner.until(task)).state is State.CANCELLED
        found = await inner.engine.find_of_origin("workmate", 1)
        assert (found.number, found.is_hidden) == (task.number, True)
        with pytest.raises(NotFoundError) as missing:
            await inner.engine.find_of_origin("workmate", 2)
        assert missing.value.code == "task_not_found"


async def test_hiding_an_ended_task_is_a_change_that_can_be_waited_for(engine: Callable[..., Any]) -> None:
    async with engine() as inner:
        task = await inner.until(await inner.submit("hello", {"name": "x"}, origin="workmate"))
        hidden = await inner.engine.hide(task.id)
        assert (hidden.state, hidden.is_hidden, hidden.version) == (State.SUCCEEDED, True, task.version + 1)
        assert await inner.history(task) == ["submitted", "started", "succeeded"]
