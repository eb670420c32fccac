"""A transaction of somebody else that stays open keeps everything that tasks leave behind: claims step over it."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest
import structlog
from pg_flow import Flow, flowing, percentile_ms, told
from plans import blocks_of
from postgres import database
from postgres_server import postgres_of_its_own

from windlass.core.ids import ServerId
from windlass.store.postgres import upkeep
from windlass.store.postgres.claim_statements import NEXT_DUE, READY_TASKS
from windlass.store.postgres.database import Database
from windlass.store.postgres.floors import SLOW_S
from windlass.telemetry import vocabulary as words

pytestmark = pytest.mark.anyio

MINUTES = float(os.environ.get("SNAPSHOT_MINUTES", "5"))
"""How long the long proof keeps the transaction open."""
LONG: Final = 5
"""How many minutes a transaction may be open before the log says so."""
PER_MINUTE: Final = 40_000
TASKS: Final = 100
MUCH: Final = 5.0
"""By how much claims may be slower meanwhile."""


@asynccontextmanager
async def old_snapshot(url: str) -> AsyncIterator[None]:
    """Keep a transaction open that sees the database as it is now."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM windlass.lanes")
        yield
    finally:
        await connection.close()


class Explained:
    """The way to a database, with which each look of a claim says how many blocks it has gone through."""

    server: ServerId | None = None

    def __init__(self, database: Database) -> None:
        self._database = database
        self.blocks: dict[str, list[int]] = {READY_TASKS: [], NEXT_DUE: []}

    async def write(self, job: Callable[[Any], Awaitable[Any]], **how: Any) -> Any:
        return await self._database.write(lambda connection: job(_Explaining(connection, self.blocks)), **how)


class _Explaining:
    def __init__(self, connection: Any, blocks: dict[str, list[int]]) -> None:
        self._connection = connection
        self._blocks = blocks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, query: str, *args: Any) -> Any:
        await self._explain(query, args)
        return await self._connection.fetch(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        await self._explain(query, args)
        return await self._connection.fetchval(query, *args)

    async def _explain(self, query: str, args: tuple[Any, ...]) -> None:
        if query in self._blocks:
            explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
            explained = json.loads(await self._connection.fetchval(explain, *args))
            self._blocks[query].append(blocks_of(explained[0]["Plan"]))


def explain(flow: Flow) -> Explained:
    tasks = flow.store.tasks
    explained = tasks._writer = Explained(tasks._writer)
    return explained


class SlowLooks:
    """A monotonic clock by which every look is slow."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 20 * SLOW_S
        return self._now


def no_look_is_slow() -> float:
    """Read a monotonic clock that stands still."""
    return 0.0


async def blocks_of_looks(clock: Callable[[], float]) -> dict[str, list[int]]:
    """Have tasks flow behind an old snapshot; give how many blocks each look has gone through."""
    with database() as url:
        async with flowing(url) as flow, old_snapshot(url):
            tasks = flow.store.tasks
            tasks._monotonic = clock
            tasks._forget()
            explained = tasks._writer = Explained(tasks._writer)
            for _ in range(CYCLES):
                await flow.cycle(TASKS, slots=2 * TASKS)
    return explained.blocks


# ── in short ───────────────────────────────────────────────────────

CYCLES: Final = 30


async def test_a_claim_steps_over_what_an_old_snapshot_keeps() -> None:
    for looks in (await blocks_of_looks(SlowLooks())).values():
        assert statistics.median(looks[len(looks) // 2 :]) <= looks[0] + CYCLES


async def test_without_floors_a_claim_walks_over_all_that_an_old_snapshot_keeps() -> None:
    for looks in (await blocks_of_looks(no_look_is_slow)).values():
        assert statistics.median(looks[-5:]) >= looks[0] + 2 * CYCLES


# ── the proof ──────────────────────────────────────────────────────


@pytest.fixture
def two_databases() -> Iterator[tuple[str, str]]:
    """Give two databases of a cluster that nobody else uses: what one keeps does not hold the other back."""
    with postgres_of_its_own() as server:
        for name in ("free", "held"):
            server.ask(f"CREATE DATABASE {name}")
        yield server.url("free"), server.url("held")


async def flow_on(flows: Sequence[Flow], *, minutes: float) -> None:
    """Let tasks flow through stores by turns for so long, and as many as must have by then."""
    until, enough = time.monotonic() + minutes * 60, flows[0].started + minutes * PER_MINUTE
    while time.monotonic() < until or flows[0].started < enough:
        for flow in flows:
            await flow.cycle(TASKS, slots=2 * TASKS)


def warnings(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in lines if line["event"] == words.STORE_PINNED]


@pytest.mark.prove
@pytest.mark.timeout(MINUTES * 300 + 600)
async def test_claims_stay_quick_enough_behind_an_old_snapshot_for_minutes(two_databases: tuple[str, str]) -> None:
    async with flowing(two_databases[0]) as free, flowing(two_databases[1]) as held:
        for flow in (free, held):
            await flow.cycle(TASKS, slots=2 * TASKS)
        async with old_snapshot(two_databases[1]):
            for half in ("first", "second"):
                for flow in (free, held):
                    flow.claims_s.clear()
                await flow_on([held, free], minutes=MINUTES / 2)
                p99, behind = percentile_ms(free.claims_s, 0.99), percentile_ms(held.claims_s, 0.99)
                compared = f"{told('free', free)}; {told('behind a snapshot', held)}; {behind / p99:.2f} at p99"
                print(f"\n{half} half, {held.started:,} tasks: {compared}", flush=True)
                assert behind <= MUCH * p99
            with structlog.testing.capture_logs() as lines:
                await upkeep.tidy(held.store.tasks._writer)
            assert [line["state"] for line in warnings(lines)] == ["idle in transaction"] * (MINUTES >= LONG)
