"""Writes of one sort go to SQLite in groups: nobody can tell, neither by the rows nor by the answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from store_cases import ERROR, FAILED, NOBODY, OK, Bench, database_of, file
from store_ids import SeededIds

from windlass.contracts.tasks import Claimed, KeepFile, Report, RequestCancel, Save, Settle, Submit, Write, WriteResult
from windlass.core.outcome import Interrupted, Lost, Outcome, Snoozed
from windlass.core.task import Progress
from windlass.errors import StoreError
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import STATEMENTS
from windlass.store.sqlite.groups import GROUPS, change_each
from windlass.store.sqlite.store import open_sqlite

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

OUTCOMES: Sequence[Outcome] = [OK, OK, OK, FAILED, Snoozed(60.0), OK, Interrupted(ERROR), Lost(ERROR)]
SIZES = [1, 3, 4, 17, 85, 170]
"""Of which all sizes of groups come out, alone and together."""


async def write(bench: Bench, writes: Sequence[Write], *, together: bool) -> list[WriteResult]:
    """Have `writes` applied in one turn, or each in a turn of its own."""
    if together:
        return list((await bench.turn(*writes)).results)
    return [await bench.write(each) for each in writes]


def settle(bench: Bench, place: int, claimed: Claimed, outcome: Outcome) -> Settle:
    """Settle by the rules, but now and then under a wrong token or as if a cancel request stood otherwise."""
    decided = bench.settle(claimed.task, outcome)
    if place % 13 == 5:
        return Settle(decided.number, NOBODY, decided.settlement, decided.ran_s)
    if place % 11 == 7:
        return bench.settle(claimed.task, outcome, cancel_seen=True)
    return decided


async def live(bench: Bench, count: int, *, together: bool) -> tuple[list[WriteResult], dict[str, Any]]:
    """Take `count` tasks through all that attempts write; say what was answered, and what is stored then."""
    tasks = [bench.new(kind=kind, priority=n % 3) for n, kind in enumerate(islice(cycle(("work", "other")), count))]
    results = await write(bench, [Submit(new) for new in tasks], together=together)
    claimed = await bench.claim()
    assert len(claimed) == count
    tokens = [(start.task.number, start.task.token or NOBODY) for start in claimed]
    for writes in (
        [Report(number, token, Progress(done=number)) for number, token in tokens],
        [Save(number, token, b"[%d]" % number) for number, token in tokens[::2]],
        [KeepFile(number, token, file(0)) for number, token in tokens[::3]],
        [RequestCancel(number, bench.now) for number, _ in tokens[::9]],
        [settle(bench, *entry) for entry in zip(range(count), claimed, cycle(OUTCOMES), strict=False)],
    ):
        results += await write(bench, writes, together=together)
    stored = await bench.dump()
    stored["counts"] = sorted(await bench.store.tasks.counts(), key=repr)
    return results, stored


@pytest.mark.parametrize("count", SIZES)
async def test_a_group_leaves_what_its_writes_leave_one_by_one(tmp_path: Path, count: int) -> None:
    lives: list[tuple[list[WriteResult], dict[str, Any]]] = []
    for together in (True, False):
        ids = SeededIds()
        store = await open_sqlite(tmp_path / str(together), ids=ids)
        lives.append(await live(Bench(store, ids), count, together=together))
        await store.close()
    assert lives[0] == lives[1]


@pytest.mark.parametrize("count", [sum(GROUPS), 1])
async def test_a_group_in_which_one_guard_fails_is_undone(sqlite_bench: Bench, count: int) -> None:
    await sqlite_bench.turn(*[Submit(sqlite_bench.new()) for _ in range(count)])
    before = await sqlite_bench.dump()

    def meddle(connection: Any) -> None:
        rows = [(number + 1, bytes(16)) for number in range(1, count + 1)]  # the last one is no task's
        connection.execute("BEGIN")
        try:
            change_each(connection, sql.START, rows, (0,))
        finally:
            connection.execute("ROLLBACK")

    with pytest.raises(StoreError, match=f"{count} guarded updates changed {count - 1} rows"):
        await database_of(sqlite_bench).write(meddle)
    assert await sqlite_bench.dump() == before


async def test_a_turn_prepares_no_statement_that_the_last_one_has_run(sqlite_bench: Bench) -> None:
    async def turn(claimed: Sequence[Claimed]) -> tuple[Sequence[Claimed], int]:
        settled = [sqlite_bench.settle(start.task) for start in claimed]
        submitted = [Submit(sqlite_bench.new()) for _ in range(STATEMENTS - 1)]
        done = await sqlite_bench.turn(*settled, *submitted, slots={"shared": STATEMENTS - 1})
        stats = await database_of(sqlite_bench).write(lambda connection: connection.cache_stats())
        return done.claimed, stats["misses"]

    claimed, _ = await turn([])
    claimed, misses = await turn(claimed)
    for _ in range(3):
        claimed, then = await turn(claimed)
        assert (len(claimed), then) == (STATEMENTS - 1, misses)
