"""How the PostgreSQL store reads: by which plans, how many rows of them, and the log in its order."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from plans import costly_steps, steps_of
from postgres import database, database_name, shared_postgres
from store_cases import Bench

from windlass.contracts.registry import ServerRow
from windlass.contracts.tasks import RequestCancel, Submit
from windlass.core.query import Order, TaskQuery
from windlass.core.state import State
from windlass.store.open import open_store
from windlass.store.postgres import page_statements as lists
from windlass.store.postgres import read_statements as sql
from windlass.store.postgres.lists import read_page

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

TASKS = 20_000
FILL = f"""
SET session_replication_role = replica;
INSERT INTO windlass.lanes (queue, kind, priority, solo) SELECT 'q' || n, 'work', 0, false FROM generate_series(1, 8) n;
INSERT INTO windlass.specs (number, id, kind, created_at, key, origin, origin_number, name, max_attempts, retry,
    recovery, payload)
SELECT n, md5(n::text)::uuid, 'work', to_timestamp(n), CASE WHEN n % 7 = 0 THEN 'key' || n END,
    CASE WHEN n % 3 = 0 THEN 'tasktrack' END, CASE WHEN n % 3 = 0 THEN n END, 'name' || n, 5, '{{}}', 'retry', '{{}}'
FROM generate_series(1, {TASKS}) n;
INSERT INTO windlass.tasks (number, lane, state, ready, run_at, grace_s, size_bytes, token)
SELECT n, 1 + n % 8, CASE WHEN n % 100 = 0 THEN 'running' ELSE 'queued' END, n % 100 <> 0 AND n % 3 = 0,
    to_timestamp(n), 10, 2, CASE WHEN n % 100 = 0 THEN md5(n::text)::uuid END
FROM generate_series(2, {TASKS}, 2) n;
INSERT INTO windlass.ended (number, lane, state, run_at, attempt, charged, lost, interrupted, retries, ordinal, version,
    finished_at, run_s, grace_s, hidden, size_bytes, ending_bytes)
SELECT n, 1 + n % 8, (ARRAY['succeeded', 'failed', 'cancelled'])[1 + n % 3], to_timestamp(n), 1, 1, 0, 0, 0, 3, 3,
    to_timestamp(n * 4 * 86400.0 / {TASKS + 1}), 1, 10, false, 2, 0
FROM generate_series(1, {TASKS}, 2) n;
INSERT INTO windlass.events (number, ordinal, at, name, state, attempt)
SELECT n, o, to_timestamp(n), 'submitted', 'queued', 0 FROM generate_series(1, {TASKS}) n, generate_series(1, 2) o;
INSERT INTO windlass.files (number, idx, name, state, received_bytes, resumed_bytes, seconds)
SELECT n, 0, 'a', 'completed', 1, 0, 0 FROM generate_series(1, {TASKS}) n;
INSERT INTO windlass.tombstones (number, id, deleted_at, swept)
SELECT n + {TASKS}, md5((n + {TASKS})::text)::uuid, to_timestamp(n), n % 50 <> 0 FROM generate_series(1, {TASKS}) n;
INSERT INTO windlass.counts (lane, state, tasks, size_bytes)
SELECT 1 + n % 8, 'queued', 1, 2 FROM generate_series(1, 100) n;
"""
DAYS = "".join(
    f"CREATE TABLE windlass.ended_1970010{day} PARTITION OF windlass.ended "
    f"FOR VALUES FROM ('1970-01-0{day} 00:00+00') TO ('1970-01-0{day + 1} 00:00+00');"
    for day in range(1, 5)
)


@pytest.fixture(scope="module")
def full() -> Iterator[str]:
    """Give a database with many tasks, half of them ended, over four days, and with statistics."""
    with database("full") as url:
        shared_postgres().ask(f"{DAYS}{FILL} VACUUM ANALYZE;", database_name(url))
        yield url


@asynccontextmanager
async def session(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


# ── plans ──────────────────────────────────────────────────────────

READING = {
    name: text
    for name, text in (vars(sql) | vars(lists)).items()
    if name.isupper()
    and not name.startswith("_")
    and isinstance(text, str)
    and re.match(r"\s*(SELECT|WITH)", text)
    and "windlass." in text
}
SORTING = {"CANCELLING", "PAGE_NEWEST_BY_KEY", "PAGE_OLDEST_BY_KEY"}
"""What few tasks have in common is sorted: of a key there is one for each kind and origin, and to be cancelled are few
of those that run."""


def bad_steps(name: str, plan: dict[str, Any]) -> list[str]:
    """Name what of a plan costs more the more tasks there are."""
    return [step for step in costly_steps(plan) if name not in SORTING or "Sort by" not in step]


@pytest.mark.parametrize("name", sorted(READING))
def test_no_reading_statement_scans_or_sorts_what_grows(full: str, name: str) -> None:
    explained = shared_postgres().ask(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {READING[name]}", database_name(full))
    assert bad_steps(name, json.loads(explained)[0]["Plan"]) == [], explained


class Examined:
    """A connection that has each statement explain itself, and counts the rows of tasks that it looks at."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.rows = 0
        self.bad: list[str] = []

    async def fetch(self, query: str, *args: Any) -> Any:
        explained = await self._connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *args)
        for node in steps_of(plan := json.loads(explained)[0]["Plan"]):
            if re.fullmatch("tasks|ended.*", node.get("Relation Name", "")):
                looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                self.rows += round(looked_at * node["Actual Loops"])
        self.bad += bad_steps("PAGE_NEWEST_BY_KEY" if "s.key = $4 AND s.number" in query else "", plan)
        return await self._connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> Any:
        return next(iter(await self.fetch(query, *args)), None)

    async def fetchval(self, query: str, *args: Any) -> Any:
        row = await self.fetchrow(query, *args)
        return None if row is None else row[0]


QUERIES = [
    {},
    {"queue": "nowhere"},
    {"state": State.RUNNING},
    {"waiting": "retry"},
    {"tag": ("a", "b")},
    {"key": "key700"},
    {"q": "name12"},
    {"q": "name12", "queue": "nowhere"},
    {"q": "n"},
    {"origin": "tasktrack"},
    {"origin": "tasktrack", "is_hidden": True},
    {"after": 9_000, "queue": "nowhere"},
]


@pytest.mark.parametrize("order", [Order.NEWEST, Order.OLDEST])
@pytest.mark.parametrize("query", QUERIES, ids=str)
async def test_a_page_examines_no_more_tasks_than_it_may(
    full: str, query: dict[str, Any], order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windlass.store.pages.PAGE_SCAN_ROWS", 1_200)
    async with session(full) as connection:
        examined = Examined(connection)
        await read_page(TaskQuery(order=order, **query), examined)
    assert examined.bad == []
    assert examined.rows <= 1_200


@pytest.mark.parametrize(
    "query", [{}, {"queue": "nowhere"}, {"finished_after": datetime(1970, 1, 3, tzinfo=UTC)}], ids=str
)
async def test_a_page_of_ends_examines_no_more_of_them_than_it_may(
    full: str, query: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windlass.store.pages.PAGE_SCAN_ROWS", 1_200)
    async with session(full) as connection:
        examined = Examined(connection)
        await read_page(TaskQuery(state=State.FAILED, order=Order.ENDED_LAST, **query), examined)
    assert examined.bad == []
    assert examined.rows <= 2 * 1_200  # once to find where the page ends, and once to read it


# ── odd queries ────────────────────────────────────────────────────


async def test_times_at_either_end_of_the_calendar_can_be_asked_for_in_any_zone(postgres_bench: Bench) -> None:
    bench = postgres_bench
    await bench.turn(Submit(bench.new()), Submit(bench.new()))
    await bench.turn(RequestCancel(1, bench.now))
    east, west = (timezone(timedelta(hours=hours)) for hours in (14, -12))
    first, last = datetime.min.replace(tzinfo=east), datetime.max.replace(tzinfo=west)
    page = bench.store.tasks.page
    assert len((await page(TaskQuery(created_after=first, created_before=last))).tasks) == 2
    ends = {"state": State.CANCELLED, "order": Order.ENDED_LAST}
    assert len((await page(TaskQuery(**ends, finished_after=first, finished_before=last))).tasks) == 1
    assert (await page(TaskQuery(**ends, finished_after=last))).tasks == []
    assert (await page(TaskQuery(**ends, finished_before=first))).tasks == []


async def test_names_are_found_by_a_beginning_that_nothing_comes_behind(postgres_bench: Bench) -> None:
    bench = postgres_bench
    highest = chr(0x10FFFF)
    await bench.turn(*[Submit(bench.new(name=name)) for name in (highest * 200, highest, "z", None)])
    found = (await bench.store.tasks.page(TaskQuery(q=highest))).tasks
    assert [task.number for task in found] == [2, 1]


# ── whose tasks run ────────────────────────────────────────────────


async def test_tasks_are_orphans_once_the_lease_they_run_under_has_ended(
    postgres_url: str, postgres_bench: Bench, tmp_path: Path
) -> None:
    mine, ids = postgres_bench, postgres_bench.ids
    other = Bench(await open_store(postgres_url, data=tmp_path, ids=ids), ids)
    servers = [
        ServerRow(id=ids.server_id(), host="h", pid=1, version="1", started_at=mine.now, home=home) for home in "ab"
    ]
    for bench, server in zip((mine, other), servers, strict=True):
        await bench.store.registry.enroll(server, ttl_s=30.0)
        await bench.turn(Submit(bench.new()), Submit(bench.new()), slots={"shared": 2})
        await bench.turn(
            *[RequestCancel(task.number, bench.now) for task in await bench.store.tasks.leased(after=0, limit=1)]
        )
    for bench, numbers in ((mine, [1, 2]), (other, [3, 4])):
        assert [task.number for task in await bench.store.tasks.leased(after=0, limit=9)] == numbers
        assert [task.number for task in await bench.store.tasks.leased(after=numbers[0], limit=9)] == numbers[1:]
        assert [task.number for task in await bench.store.tasks.cancelling()] == numbers[:1]
        assert await bench.store.tasks.orphans(after=0, limit=9) == []
    await other.store.registry.leave(servers[1].id)
    assert [task.number for task in await mine.store.tasks.orphans(after=0, limit=9)] == [3, 4]
    assert [task.number for task in await mine.store.tasks.orphans(after=3, limit=9)] == [4]
    await other.store.close()


# ── the log ────────────────────────────────────────────────────────

_ordinals = itertools.count(100)
APPEND = """
INSERT INTO windlass.events (number, ordinal, at, name, state, attempt) VALUES (1, $1, now(), 'edited', 'queued', 0)
RETURNING seq"""


class Appender:
    """A transaction of somebody else's."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transaction = connection.transaction()

    async def begin(self) -> None:
        """Begin, and get its place among transactions."""
        await self._transaction.start()
        await self._connection.fetchval("SELECT pg_current_xact_id()::text")

    async def append(self) -> int:
        return await self._connection.fetchval(APPEND, next(_ordinals))

    async def commit(self) -> None:
        await self._transaction.commit()

    async def roll_back(self) -> None:
        await self._transaction.rollback()


async def seqs(bench: Bench) -> list[int]:
    return [event.seq for event in await bench.store.events.log()]


@pytest.mark.parametrize("is_kept", [True, False])
async def test_the_log_stops_before_what_may_still_be_committed(
    postgres_url: str, postgres_bench: Bench, is_kept: bool
) -> None:
    await postgres_bench.submit()
    (first,) = await seqs(postgres_bench)
    async with session(postgres_url) as connection:
        appender = Appender(connection)
        await appender.begin()
        held = await appender.append()
        await postgres_bench.submit()
        assert await seqs(postgres_bench) == [first]
        assert await seqs(postgres_bench) == [first]
        await (appender.commit() if is_kept else appender.roll_back())
        last = held + 1
        assert await seqs(postgres_bench) == ([first, held, last] if is_kept else [first, last])


async def test_an_older_transaction_with_a_later_seq_does_not_lead_the_log_past_a_younger_one(
    postgres_url: str, postgres_bench: Bench
) -> None:
    await postgres_bench.submit()
    before = await seqs(postgres_bench)
    async with session(postgres_url) as one, session(postgres_url) as another:
        older, younger = Appender(one), Appender(another)
        await older.begin()
        await younger.begin()
        earlier = await younger.append()
        later = await older.append()
        await older.commit()
        assert await seqs(postgres_bench) == before
        await younger.commit()
        assert await seqs(postgres_bench) == [*before, earlier, later]


async def test_the_log_goes_on_though_there_is_always_somebody_who_appends(
    postgres_url: str, postgres_bench: Bench
) -> None:
    await postgres_bench.submit()
    seen = await seqs(postgres_bench)
    async with session(postgres_url) as one, session(postgres_url) as another:
        appenders = [Appender(one), Appender(another)]
        await appenders[0].begin()
        appended = [await appenders[0].append()]
        for turn in range(6):
            assert await seqs(postgres_bench) == [*seen, *appended[:-1]]
            following = appenders[(turn + 1) % 2] = Appender((one, another)[(turn + 1) % 2])
            await following.begin()
            appended.append(await following.append())
            await appenders[turn % 2].commit()
        await appenders[0].commit()
        assert await seqs(postgres_bench) == [*seen, *appended]


async def test_a_transaction_that_appends_nothing_holds_the_log_up_for_nobody(
    postgres_url: str, postgres_bench: Bench
) -> None:
    async with session(postgres_url) as connection:
        await Appender(connection).begin()
        await postgres_bench.submit()
        assert len(await seqs(postgres_bench)) == 1
