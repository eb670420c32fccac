"""What limits of queues cost in a file: nothing per task that waits, and nothing at all where there are none."""

from __future__ import annotations

from typing import Any

import pytest
from store_cases import ALL, Bench, database_of

from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import Refusal, Refused, Submit
from windlass.core.queue import Queue, QueueDefaults
from windlass.errors import StoreError

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def bench(sqlite_bench: Bench) -> Bench:
    return sqlite_bench


def declare(name: str = "default", **limits: int) -> DeclareQueues:
    return DeclareQueues((QueueDefaults(name=name, **limits),))


async def statements_of(bench: Bench, *writes: Any) -> list[str]:
    """Take a turn with all slots, and give the statements it ran."""
    seen: list[str] = []

    def trace(cursor: Any, text: str, values: Any) -> bool:
        seen.append(text)
        return True

    def install(connection: Any, tracer: Any) -> None:
        connection.exec_trace = tracer

    await database_of(bench).write(lambda connection: install(connection, trace))
    turn = await bench.turn(*writes, slots=ALL)
    await database_of(bench).write(lambda connection: install(connection, None))
    assert len(turn.claimed) == len(writes)
    return seen


@pytest.mark.parametrize("closed", [{"is_paused": True}, {"concurrency": 1}])
async def test_a_closed_queue_costs_a_claim_no_look_at_its_tasks(bench: Bench, closed: dict[str, Any]) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(50)])
    await bench.claim(shared=1)
    await bench.turn(SetQueue(name="default", at=bench.now, **closed))
    seen = await statements_of(bench)
    assert not any("FROM tasks AS t INDEXED BY ready_tasks" in text for text in seen)
    assert sum("FROM lanes CROSS JOIN counters" in text for text in seen) == ("concurrency" in closed)


async def test_a_queue_without_limits_is_not_counted(bench: Bench) -> None:
    await bench.turn(declare("limited", concurrency=1, capacity=1))
    seen = await statements_of(bench, *[Submit(bench.new()) for _ in range(5)])
    assert not any("counters ON" in text or "FROM queues" in text for text in seen)


async def test_a_limited_queue_is_counted_once_a_turn(bench: Bench) -> None:
    await bench.turn(declare(concurrency=50, capacity=50))
    seen = await statements_of(bench, *[Submit(bench.new(kind=kind)) for kind in ("work", "other", "file")])
    assert sum("FROM lanes CROSS JOIN counters" in text for text in seen) == 1


async def test_a_turn_that_is_undone_has_changed_no_limit(bench: Bench) -> None:
    await bench.turn(declare(capacity=1))
    await bench.submit(queue="elsewhere")
    (running,) = await bench.claim()
    broken = bench.settle(running.task, charged=None)
    with pytest.raises(StoreError):
        await bench.turn(SetQueue(name="default", at=bench.now, capacity=9), broken)
    assert (await bench.store.tasks.queues())[0].queue == Queue(name="default", default_capacity=1)
    await bench.submit()
    assert await bench.write(Submit(bench.new())) == Refused(Refusal.CAPACITY)
