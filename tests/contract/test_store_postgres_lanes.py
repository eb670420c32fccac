"""Lanes: what a turn costs depends on those that have work, not on all there have ever been."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest
from plans import blocks_of
from store_cases import ALL, START, Bench

from windlass.contracts.queues import SetQueue
from windlass.contracts.registry import ServerRow
from windlass.contracts.tasks import Claimed, RequestCancel, Submit
from windlass.core.ids import ServerId
from windlass.store.postgres import claim_statements, lanes, read_statements, walk
from windlass.store.postgres.floors import SLOW_LOOKS, USED_S
from windlass.store.postgres.store import PostgresStore

pytest_plugins = ["store_fixtures", "store_servers"]
pytestmark = pytest.mark.anyio

Open = Callable[[], Awaitable[Bench]]
MANY = 20_000
LOOKS = {claim_statements.READY_LANES, claim_statements.READY_TASKS, claim_statements.ROOMY_QUEUES}
"""What a claim looks with; found tasks cost the same wherever they are."""


def numbers(claimed: Sequence[Claimed]) -> list[int]:
    return [start.task.number for start in claimed]


def postgres_of(bench: Bench) -> PostgresStore:
    assert isinstance(bench.store, PostgresStore)
    return bench.store


async def make_lanes(raw: asyncpg.Connection, count: int, *, kind: str = "work") -> None:
    """Make lanes that have no work."""
    await raw.execute(
        "INSERT INTO windlass.lanes (queue, kind, priority, solo) "
        "SELECT 'idle' || n, $2, 0, false FROM generate_series(1, $1::integer) AS n",
        count,
        kind,
    )


class Weighed:
    """The way to a database on which each look of a claim is weighed: blocks looked at and values sent."""

    server: ServerId | None = None

    def __init__(self, database: Any) -> None:
        self._database = database
        self.weight = 0
        self.asked: list[str] = []

    async def write(self, job: Callable[[Any], Awaitable[Any]], **how: Any) -> Any:
        return await self._database.write(lambda connection: job(_Weighing(connection, self)), **how)


class _Weighing:
    def __init__(self, connection: Any, weighed: Weighed) -> None:
        self._connection = connection
        self._weighed = weighed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, query: str, *args: Any) -> Any:
        if query in LOOKS:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
            plan = json.loads(await self._connection.fetchval(explain, *args))[0]["Plan"]
            values = sum(len(arg) for arg in args if isinstance(arg, Sequence))
            self._weighed.weight += 1 + blocks_of(plan) + values
            self._weighed.asked.append(query)
        return await self._connection.fetch(query, *args)


def weigh(bench: Bench) -> Weighed:
    tasks = postgres_of(bench).tasks
    weighed = tasks._writer = Weighed(tasks._writer)
    return weighed


async def test_an_idle_turn_with_thousands_of_lanes_costs_what_it_costs_with_ten(
    opened: Open, raw: asyncpg.Connection
) -> None:
    bench = await opened()
    await bench.turn(*[Submit(bench.new(queue=f"q{place}")) for place in range(10)], slots=ALL)
    weighed = weigh(bench)
    await bench.claim()
    with_ten, weighed.weight = weighed.weight, 0
    await make_lanes(raw, MANY)
    await bench.claim()  # learns of them
    weighed.weight = 0
    await bench.claim()
    assert 0 < weighed.weight <= 3 * with_ten


async def test_tasks_are_found_wherever_they_are_among_idle_lanes(opened: Open, raw: asyncpg.Connection) -> None:
    bench = await opened()
    await make_lanes(raw, MANY)
    queues = ["idle19999", "idle3", "new", "idle700"]
    tasks = [await bench.submit(queue=queue) for queue in queues]
    urgent = await bench.submit(queue="idle3", priority=5)
    postgres_of(bench).tasks._rotation.lane = 500
    claimed = await bench.claim()
    assert sorted(numbers(claimed)) == sorted([*[task.number for task in tasks], urgent.number])
    of_one = [start.task.number for start in claimed if start.task.queue == "idle3"]
    assert of_one == [urgent.number, tasks[1].number]


async def test_a_limit_holds_however_many_looks_the_lanes_of_its_queue_take(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "LANES_AT_ONCE", 10)
    bench = await opened()
    await bench.write(SetQueue(name="bounded", at=START, concurrency=15))
    await bench.turn(*[Submit(bench.new(queue="bounded", priority=priority)) for priority in range(40)])
    await bench.submit()
    claimed = await bench.claim()
    assert [start.task.queue for start in claimed].count("bounded") == 15
    assert len(claimed) == 16


async def test_a_claim_that_has_started_something_leaves_further_looks_to_the_next(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "LANES_AT_ONCE", 10)
    monkeypatch.setattr(walk, "LOOKS", 2)
    bench = await opened()
    await bench.turn(*[Submit(bench.new(queue=f"q{place}")) for place in range(45)])
    assert [len(await bench.claim(shared=100)) for _ in range(4)] == [20, 20, 5, 0]


async def test_a_claim_passes_all_lanes_of_others_until_it_has_started_something(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "LANES_AT_ONCE", 10)
    monkeypatch.setattr(walk, "LOOKS", 2)
    bench = await opened()
    await bench.turn(*[Submit(bench.new(queue=f"q{place}", kind="else")) for place in range(55)])
    await bench.turn(*[Submit(bench.new(queue=f"q{place}")) for place in range(40)])
    assert len(await bench.claim(shared=3)) == 3


async def test_behind_floors_the_lanes_seen_lately_are_looked_at_and_the_others_afterwards(
    opened: Open, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "LATELY", 40)
    here, there = await opened(), await opened()
    await make_lanes(raw, 100)
    tasks = postgres_of(here).tasks
    tasks._monotonic = lambda: now
    tasks._forget()
    now = 1_000.0
    await here.claim()
    tasks._floors._used_until = now + USED_S
    known = await there.submit(queue="idle99")
    unseen = await there.submit(queue="idle1")
    mine = await here.submit(queue="idle2")
    weighed = weigh(here)
    assert sorted(numbers(await here.claim())) == [known.number, mine.number]
    assert claim_statements.READY_LANES not in weighed.asked
    now += USED_S
    assert numbers(await here.claim()) == [unseen.number]
    assert claim_statements.READY_LANES in weighed.asked


async def test_a_search_for_lanes_that_is_slow_time_and_again_is_left_off_for_a_while(
    opened: Open, raw: asyncpg.Connection
) -> None:
    bench = await opened()
    await make_lanes(raw, 100)
    weighed = weigh(bench)
    tasks = postgres_of(bench).tasks
    tasks._monotonic = lambda: float(weighed.asked.count(claim_statements.READY_LANES))  # each takes a second
    tasks._forget()
    for _ in range(SLOW_LOOKS + 2):
        await bench.claim()
    assert weighed.asked.count(claim_statements.READY_LANES) == SLOW_LOOKS


async def test_who_is_to_be_cancelled_is_read_without_stepping_on_what_ran_before(
    opened: Open, postgres_url: str, raw: asyncpg.Connection
) -> None:
    bench = await opened()
    pinning = await asyncpg.connect(postgres_url)
    await pinning.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM windlass.tasks")
    server = ServerRow(
        id=ServerId(bench.ids.task_id()), host="here", pid=1, version="1", started_at=START, home="here:/data"
    )
    await bench.store.registry.enroll(server, ttl_s=30)
    try:
        for _ in range(2):
            await bench.turn(*[Submit(bench.new()) for _ in range(1_000)])
            await bench.turn(*[bench.settle(start.task) for start in await bench.claim()])
        task = (await bench.run()).task
        await bench.write(RequestCancel(task.number, START))
        asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {read_statements.CANCELLING}"
        explained = json.loads(await raw.fetchval(asked, server.id))
        assert [found.number for found in await bench.store.tasks.cancelling()] == [task.number]
    finally:
        await pinning.close()
    assert blocks_of(explained[0]["Plan"]) <= 20
