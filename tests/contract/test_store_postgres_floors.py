"""Floors, behind which a claim looks when looks are slow: what they may overlook, and for how long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import asyncpg
import pytest
from store_cases import START, Bench

from windlass.contracts.tasks import Claimed, Hold, Submit
from windlass.core.outcome import Interrupted
from windlass.core.task import Error
from windlass.errors import StoreUnavailable
from windlass.store.postgres.floors import AGAIN_S, LAG_S, SHARE, SLOW_LOOKS, SLOW_S, USED_S
from windlass.store.postgres.store import PostgresStore

pytest_plugins = ["store_fixtures", "store_servers"]
pytestmark = pytest.mark.anyio

Open = Callable[[], Awaitable[Bench]]


def postgres_of(bench: Bench) -> PostgresStore:
    assert isinstance(bench.store, PostgresStore)
    return bench.store


def numbers(claimed: Sequence[Claimed]) -> list[int]:
    return [start.task.number for start in claimed]


class HandClock:
    """A monotonic clock that goes on when told to, and by `step` each time it is read."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


async def with_floors(bench: Bench) -> HandClock:
    """Have a store look behind floors, as if its looks were slow, and had been for as long as floors lag behind."""
    clock = HandClock()
    tasks = postgres_of(bench).tasks
    tasks._monotonic = clock
    tasks._forget()
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    clock.step = 2 * SLOW_S
    for expected in range(1, 1 + SLOW_LOOKS):
        assert numbers(await bench.claim(shared=1)) == [expected]
    clock.step = 0.0
    for _ in range(2):
        clock.now += LAG_S
        tasks._floors.after(0)
    return clock


async def test_a_task_before_the_floor_is_found_at_once_where_a_slot_is_free_for_it(opened: Open) -> None:
    here, there = await opened(), await opened()
    await with_floors(here)
    late = await there.submit(run_at=START - timedelta(seconds=9))
    assert numbers(await here.claim(shared=3)) == [3, 4, late.number]


async def test_a_task_before_the_floor_is_claimed_when_the_floor_is_no_longer_used(opened: Open) -> None:
    here, there = await opened(), await opened()
    clock = await with_floors(here)
    late = await there.submit(run_at=START - timedelta(seconds=9))
    assert numbers(await here.claim(shared=1)) == [3]  # overlooked
    clock.now += USED_S
    assert numbers(await here.claim(shared=1)) == [late.number]


async def test_looks_without_a_floor_are_bounded_too(opened: Open) -> None:
    here, there = await opened(), await opened()
    clock = await with_floors(here)
    assert numbers(await here.claim(shared=9)) == [3, 4]  # looked again, for nothing
    tasks = postgres_of(here).tasks
    tasks._floors._used_until = clock.now + USED_S
    late = await there.submit(run_at=START - timedelta(seconds=9))
    assert await here.claim(shared=9) == []
    clock.now += AGAIN_S
    assert numbers(await here.claim(shared=9)) == [late.number]


async def test_a_task_that_is_committed_a_moment_late_is_not_overlooked(opened: Open) -> None:
    here, there = await opened(), await opened()
    clock = await with_floors(here)
    assert numbers(await here.claim(shared=1)) == [3]
    late = await there.submit(run_at=START - timedelta(microseconds=1))
    await here.turn(Submit(here.new(run_at=START - timedelta(seconds=1))))
    assert numbers(await here.claim(shared=1)) == [late.number + 1]
    clock.now += LAG_S / 2
    assert numbers(await here.claim(shared=1)) == [late.number]


async def test_the_slower_looks_without_a_floor_are_the_rarer_they_are(opened: Open) -> None:
    here, there = await opened(), await opened()
    clock = await with_floors(here)
    took_s = 0.2
    clock.now += USED_S
    clock.step = took_s / 2  # it is read twice
    assert numbers(await here.claim(shared=1)) == [3]
    clock.step = 0.0
    late = await there.submit(run_at=START - timedelta(seconds=9))
    clock.now += took_s / SHARE - 1
    assert numbers(await here.claim(shared=2)) == [4]
    clock.now += 1
    assert numbers(await here.claim(shared=1)) == [late.number]


async def test_a_server_lowers_its_floor_for_what_it_makes_ready_itself(opened: Open) -> None:
    here = await opened()
    await with_floors(here)
    task = (await here.store.tasks.running(after=0, limit=1))[0]
    error = Error(type="Gone", message="the worker has ended")
    await here.turn(here.settle(task, Interrupted(error=error)), Hold(3, START))
    assert numbers(await here.claim(shared=1)) == [task.number]


async def test_floors_are_forgotten_with_the_claim_that_set_them(opened: Open, raw: asyncpg.Connection) -> None:
    here = await opened()
    await with_floors(here)
    await raw.execute("""
        CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION SQLSTATE '57014'; END $$""")
    await raw.execute("CREATE TRIGGER fail AFTER INSERT ON windlass.events EXECUTE FUNCTION public.fail()")
    with pytest.raises(StoreUnavailable):
        await here.claim(shared=2)
    await raw.execute("DROP TRIGGER fail ON windlass.events")
    assert numbers(await here.claim(shared=1)) == [3]
