"""A claim costs the same however many tasks wait, are scheduled, or have finished."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from clean import assert_clean
from pg_bulk import Bulk, bulk_into
from pg_flow import Flow, flowing, percentile_ms, told
from plans import costly_steps
from postgres import database, database_name, shared_postgres
from postgres_server import postgres_of_its_own

from windlass.store.postgres import claim_statements, statements

pytestmark = pytest.mark.anyio

MILLION = int(os.environ.get("MILLION", "1_000_000"))
"""How much a million is: a smaller one tries the proof out."""
MILLIONS = {"waiting": 2 * MILLION, "scheduled": MILLION, "finished": 5 * MILLION}
SAMPLES = 1_500
WARM = 50
TASKS = 50
FLAT = 2.0
"""By how much the slow claims among millions may be slower than those among none."""


@asynccontextmanager
async def loading(url: str) -> AsyncIterator[Bulk]:
    connection = await asyncpg.connect(url)
    try:
        yield await bulk_into(connection)
    finally:
        await connection.close()


# ── the plans ──────────────────────────────────────────────────────

SHORT = 2_000


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def loaded(anyio_backend: str) -> AsyncIterator[str]:
    """Give a database with thousands of each sort of task."""
    with database("loaded") as url:
        async with flowing(url) as flow:
            await flow.cycle(2, slots=2)
        async with loading(url) as bulk:
            await bulk.waiting(SHORT)
            await bulk.scheduled(SHORT)
            await bulk.finished(2 * SHORT)
            await bulk.settle_down()
        yield url


def test_what_is_laid_in_by_sql_breaks_no_rule(loaded: str, tmp_path: Path) -> None:
    asked = "SELECT state, sum(tasks) FROM windlass.counts GROUP BY state HAVING sum(tasks) > 0 ORDER BY state"
    counted = shared_postgres().ask(asked, database_name(loaded)).splitlines()
    assert counted == [f"queued|{2 * SHORT}", f"succeeded|{2 * SHORT + 2}"]
    assert_clean(tmp_path, database=loaded)


TURN = {
    name: text
    for name, text in (vars(statements) | vars(claim_statements)).items()
    if name.isupper() and isinstance(text, str) and re.match(r"\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b", text)
}
OF_TOMBSTONES = {"SWEEP", "FORGET_TOMBSTONES"}
"""Left out: there are no tombstones here, so their plans say nothing."""
ORDERING = {"ENDED_FIRST", "FILES", "LOCK_ENDED", "LOCK_GOING", "LOCK_HOT", "MET", "ROOMY_QUEUES"}
"""These sort no more than they were asked for: of each number, id or lane one, of each state so many."""


@pytest.mark.parametrize("name", sorted(TURN.keys() - OF_TOMBSTONES))
def test_no_statement_of_a_turn_scans_or_sorts_what_grows(loaded: str, name: str) -> None:
    begin = statements.OPEN.replace("$1", "NULL")
    asked = f"BEGIN;\n\\o /dev/null\n{begin};\n\\o\nEXPLAIN (GENERIC_PLAN, FORMAT JSON) {TURN[name]};\nROLLBACK"
    explained = shared_postgres().ask(asked, database_name(loaded))
    found = costly_steps(json.loads(explained)[0]["Plan"])
    assert [step for step in found if name not in ORDERING or "Sort" not in step] == [], explained


# ── the proof ──────────────────────────────────────────────────────


async def interleave(flows: Sequence[Flow], cycles: int) -> None:
    """Let tasks flow through stores by turns, so that what disturbs one disturbs the others."""
    for flow in flows:
        flow.claims_s.clear()
    for place in range(cycles):
        for flow in flows if place % 2 else reversed(flows):
            await flow.cycle(TASKS, slots=TASKS)


@pytest.fixture
def two_databases() -> Iterator[tuple[str, str]]:
    """Give two databases of a cluster that nobody else uses."""
    with postgres_of_its_own(max_wal_size="2GB") as server:
        for name in ("none", "millions"):
            server.ask(f"CREATE DATABASE {name}")
        yield server.url("none"), server.url("millions")


@pytest.mark.prove
@pytest.mark.timeout(7_200)
async def test_claims_stay_as_quick_among_millions(two_databases: tuple[str, str]) -> None:
    async with flowing(two_databases[0]) as none, flowing(two_databases[1]) as millions:
        await interleave([none, millions], WARM)
        async with loading(two_databases[1]) as bulk:
            stages = {"waiting": bulk.waiting, "scheduled": bulk.scheduled, "finished": bulk.finished}
            for sort, lay_in in stages.items():
                await lay_in(MILLIONS[sort])
                await bulk.settle_down()
                await interleave([none, millions], SAMPLES)
                p99, among = percentile_ms(none.claims_s, 0.99), percentile_ms(millions.claims_s, 0.99)
                compared = f"{told('among none', none)}; {told('among them', millions)}; {among / p99:.2f} at p99"
                print(f"\n{MILLIONS[sort]:,} {sort} beside the others: {compared}", flush=True)
                assert among <= FLAT * p99
