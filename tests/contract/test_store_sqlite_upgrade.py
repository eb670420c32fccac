"""A file of an earlier version is brought up to date as it stands, and a crash leaves it before a step or after it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import count
from pathlib import Path
from typing import Any, cast

import apsw
import pytest
from store_cases import ERROR, FAILED, OK, Bench
from store_ids import SeededIds

from windlass.contracts.tasks import Count, Hold, Prune, RequestCancel, Submit
from windlass.core.query import Order, TaskQuery
from windlass.core.state import ENDED, State
from windlass.store.open import open_store
from windlass.store.sqlite import schema
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import open_writer, transaction
from windlass.store.sqlite.store import DATABASE_FILE
from windlass.wire.codec import encode_json

pytestmark = pytest.mark.anyio

FIRST_COLUMNS = {
    "lanes": "lane, queue, kind",
    "tasks": "number, id, lane, solo, state, ready, held, reason, priority, run_at, attempt, charged, lost, "
    "interrupted, retries, ordinal, version, token, started_at, finished_at, run_s, grace_s, cancel_requested_at, "
    "cancel_reason, cancel_outcome, progress",
    "specs": "*",
    "endings": "*",
    "checkpoints": "*",
    "files": "*",
    "events": "*",
}
"""The tables of the first version that have to do with tasks, and their columns."""


@asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Bench]:
    ids = SeededIds()
    store = await open_store("sqlite", data=data, ids=ids)
    try:
        yield Bench(store, ids)
    finally:
        await store.close()


async def live(bench: Bench) -> None:
    """Leave tasks in every state, with sizes that can be told apart."""
    await bench.turn(*[Submit(bench.new(payload=b"%d" % 10**n, name=f"n{n}", key=f"k{n}")) for n in range(8)])
    first, second, third, _ = await bench.claim(shared=4)
    await bench.turn(bench.settle(first.task, OK), bench.settle(second.task, FAILED))
    bench.pass_time(1)
    await bench.turn(bench.settle(third.task, FAILED, state=State.FAILED, event="failed", reason="exhausted"))
    await bench.turn(RequestCancel(5, bench.now), Hold(6, bench.now), Submit(bench.new(queue="q", delay_s=60)))


def make_first_version(source: Path, target: Path) -> None:
    """Make a file by the first step alone, with the rows of `source`."""
    step = schema.load_migrations(schema.PACKAGE)[0]
    with closing(open_writer(target)) as connection:
        with transaction(connection):
            connection.execute(sql.CREATE_MIGRATIONS)
            connection.execute(step.sql)
            connection.execute(sql.RECORD_MIGRATION, (step.version, step.name, step.checksum))
        connection.execute("ATTACH ?1 AS later", (str(source),))
        with transaction(connection):
            for table, columns in FIRST_COLUMNS.items():
                connection.execute(f"INSERT INTO main.{table} SELECT {columns} FROM later.{table}")


@pytest.fixture
async def first_version(tmp_path: Path, anyio_backend: str) -> tuple[Path, dict[str, Any], list[Count]]:
    """Give a directory with a file of the first version, and what is in it."""
    async with opened(tmp_path / "later") as bench:
        await live(bench)
        dump, counts = await bench.dump(), list(await bench.store.tasks.counts())
    (tmp_path / "first").mkdir()
    make_first_version(tmp_path / "later" / DATABASE_FILE, tmp_path / "first" / DATABASE_FILE)
    return tmp_path / "first", dump, counts


async def test_an_upgraded_file_holds_what_it_held_and_counts_it(
    first_version: tuple[Path, dict[str, Any], list[Count]],
) -> None:
    data, dump, counts = first_version
    async with opened(data) as bench:
        assert await bench.dump() == dump
        assert await bench.store.tasks.counts() == counts
        error = len(encode_json(ERROR))
        assert counts == [
            Count("default", "work", State.CANCELLED, 1, 5),
            Count("default", "work", State.FAILED, 1, 3 + error),
            Count("default", "work", State.QUEUED, 4, 2 + error + 6 + 7 + 8),
            Count("default", "work", State.RUNNING, 1, 4),
            Count("default", "work", State.SUCCEEDED, 1, 1 + 11),
            Count("q", "work", State.QUEUED, 1, 7),
        ]


async def test_an_upgraded_file_can_be_lived_in(first_version: tuple[Path, dict[str, Any], list[Count]]) -> None:
    data, _, _ = first_version
    async with opened(data) as bench:
        page = await bench.store.tasks.page(TaskQuery(q="n", order=Order.OLDEST))
        assert [task.number for task in page.tasks] == list(range(1, 9))
        await bench.turn(Prune(tuple(ENDED), None, 2, bench.now))
        await bench.turn(bench.settle(await bench.task(4)))
        assert {(count.state, count.tasks) for count in await bench.store.tasks.counts()} == {
            (State.CANCELLED, 1),
            (State.QUEUED, 4),
            (State.SUCCEEDED, 1),
            (State.QUEUED, 1),
        }
        assert (await bench.submit()).number == 10


async def test_tasks_of_dialects_get_their_numbers_in_an_upgraded_file(tmp_path: Path, anyio_backend: str) -> None:
    origins = ("b", None, "a", "b", "b")
    async with opened(tmp_path / "later") as bench:
        await bench.turn(*[Submit(bench.new(origin=origin)) for origin in origins])
        dump = await bench.dump()
    (tmp_path / "first").mkdir()
    make_first_version(tmp_path / "later" / DATABASE_FILE, tmp_path / "first" / DATABASE_FILE)
    async with opened(tmp_path / "first") as bench:
        bench.ids = SeededIds(9)
        assert await bench.dump() == dump
        assert [(await bench.submit(origin=origin)).origin_number for origin in ("b", "a", "c")] == [4, 2, 1]


async def test_an_upgrade_killed_at_any_statement_leaves_the_file_before_the_step_or_after_it(
    first_version: tuple[Path, dict[str, Any], list[Count]],
) -> None:
    data, dump, counts = first_version
    seen: list[int] = []
    for at in count(1):
        left = killed_upgrading(data, at)
        if left is None:
            break
        with closing(apsw.Connection(str(left / DATABASE_FILE))) as connection:
            ((version,),) = connection.execute("SELECT max(version) FROM migrations").fetchall()
            tables = {name for (name,) in connection.execute(sql.TABLES)}
        assert ("counters" in tables) == ("replays" in tables) == (version >= 2)
        assert ("queues" in tables) == ("origins" in tables) == (version == 3)
        seen.append(version)
        if at % 6 == 0:
            async with opened(left) as bench:
                assert (await bench.dump(), await bench.store.tasks.counts()) == (dump, counts)
    assert len(seen) > 20
    assert set(seen) == {1, 2}


def killed_upgrading(data: Path, at: int) -> Path | None:
    """Upgrade a copy of the file in `data` until a statement, and give what a process killed there leaves of it.

    None when the upgrade has fewer statements.
    """
    living, left = data.with_name(f"living-{at}"), data.with_name(f"left-{at}")
    shutil.copytree(data, living)
    step = 0

    def trace(cursor: Any, text: str, values: Any) -> bool:
        nonlocal step
        step += 1
        if step == at:
            # The index of the log stays behind: a new process makes it anew.
            shutil.copytree(living, left, ignore=shutil.ignore_patterns("*-shm"))
        return True

    with closing(open_writer(living / DATABASE_FILE)) as connection:
        cast(Any, connection).exec_trace = trace
        schema.upgrade(connection)
    return left if left.exists() else None
