"""A life on PostgreSQL that does everything a store is asked for, and its story, the same whatever befalls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec.structs import replace
from store_cases import FAILED, OK, Bench, applied_task, attempt_writes
from store_ids import SeededIds

from windlass.config.schema import Postgres
from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import (
    Applied,
    Delete,
    Edit,
    Hold,
    Release,
    RequestCancel,
    Retry,
    Submit,
    SubmitBatch,
)
from windlass.core.backoff import RetryPolicy
from windlass.core.ids import TaskId
from windlass.core.query import TaskQuery
from windlass.core.queue import QueueDefaults
from windlass.core.task import Task
from windlass.store.postgres.store import open_postgres

Story = dict[str, Any]
"""What has become of each task of a life, by the part it plays in it."""

CALM = Postgres(connections=1, notify=False, connect_s=2.0)
"""Settings under which the same life sends the same messages in the same order each time."""


@asynccontextmanager
async def open_bench(url: str, settings: Postgres = CALM, *, seed: int = 1) -> AsyncIterator[Bench]:
    """Open a store that looks after nothing, and give it with a clock and names of its own."""
    ids = SeededIds(seed)
    store = await open_postgres(url, ids=ids, settings=settings, keeps_up=False)
    try:
        yield Bench(store, ids)
    finally:
        await store.close()


class Life:
    """Four tasks that are submitted, run, cancelled, edited, retried and deleted; `name` tells it from others."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench = bench
        self._name = name
        self._parts: dict[str, TaskId] = {}
        self._numbers: dict[str, int] = {}

    async def live(self) -> Story:
        """Live it from beginning to end, and tell the story."""
        await self._submit()
        await self._run()
        await self._operate()
        return await self._story()

    async def _submit(self) -> None:
        bench = self._bench
        again = RetryPolicy(base_s=0)
        new = {part: bench.new(retry=again, max_attempts=2, queue=self._name) for part in ("steady", "stopped")}
        new["keyed"] = bench.new(key=self._name, origin="enqueue", tags={"a": "b"}, queue=self._name)
        new["late"] = bench.new(delay_s=60, payload=b"[" + b"1," * 4000 + b"1]", queue=self._name)
        self._parts = {part: task.id for part, task in new.items()}
        turn = await bench.turn(
            DeclareQueues((QueueDefaults(name=self._name, concurrency=5),)),
            Submit(new["steady"]),
            Submit(new["stopped"]),
        )
        assert all(isinstance(result, Applied) and result.created for result in turn.results), turn.results
        placed = await bench.write(SubmitBatch((new["keyed"], new["late"])))
        assert isinstance(placed, Applied)
        assert [one.created for one in placed.placed] == [True, True]

    async def _run(self) -> None:
        bench = self._bench
        claimed = {one.task.id: one.task for one in await bench.claim(shared=3)}
        steady, stopped, keyed = (claimed[self._parts[part]] for part in ("steady", "stopped", "keyed"))
        assert steady.token is not None
        writes = attempt_writes(steady.number, steady.token, bench.settle(steady, FAILED).settlement)
        assert await self._all_apply(*writes[1:])
        asked = applied_task(await bench.write(RequestCancel(stopped.id, bench.now, reason="r")))
        assert await self._all_apply(bench.settle(steady, FAILED), bench.settle(asked), bench.settle(keyed))
        (once_more,) = await bench.claim(shared=1)
        assert (once_more.task.id, once_more.checkpoint) == (steady.id, b"[7]")
        assert await self._all_apply(bench.settle(once_more.task, replace(OK, result=b"2")))

    async def _operate(self) -> None:
        bench, parts = self._bench, self._parts
        late, keyed = parts["late"], parts["keyed"]
        await bench.write(SetQueue(name=self._name, at=bench.now, is_paused=True, pause_reason="r"))
        assert applied_task(await bench.write(Hold(late, bench.now))).held
        assert not applied_task(await bench.write(Release(late, bench.now))).held
        assert applied_task(await bench.write(Edit(ref=late, at=bench.now, priority=3))).priority == 3
        assert applied_task(await bench.write(Retry(keyed, bench.now))).state == "queued"
        assert not await bench.claim()
        await bench.write(SetQueue(name=self._name, at=bench.now, is_paused=False))
        (retried,) = await bench.claim()
        assert retried.task.id == keyed
        assert await self._all_apply(bench.settle(retried.task))
        assert isinstance(await bench.write(Delete(parts["stopped"], bench.now)), Applied)

    async def _all_apply(self, *writes: Any) -> bool:
        return all(isinstance(result, Applied) for result in (await self._bench.turn(*writes)).results)

    async def _story(self) -> Story:
        story: Story = {}
        for part, ref in self._parts.items():
            task = await self._bench.store.tasks.get(ref)
            story[part] = None if task is None else _fate(task, await self._bench.names(task.number))
        page = await self._bench.store.tasks.page(TaskQuery(queue=self._name, limit=100))
        row = next(row for row in await self._bench.store.tasks.queues() if row.queue.name == self._name)
        return story | {"listed": len(page.tasks), "queued": row.queued, "running": row.running}


def _fate(task: Task, events: Sequence[str]) -> tuple[Any, ...]:
    return (task.state, task.attempt, task.charged, task.version, task.reason, *events)
