"""What `windlass check` finds in a SQLite store: nothing where all is well, and each rule that somebody has broken."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from clean import assert_clean, violations_in
from store_cases import FAILED, Bench

from windlass.contracts.registry import ServerRow
from windlass.contracts.tasks import Delete, Hold, RequestCancel, Retry, Submit, Sweep
from windlass.core.ids import TaskId
from windlass.core.invariants import Rule
from windlass.errors import NotFoundError, SchemaMismatch, StoreCorrupt
from windlass.store.sqlite.store import DATABASE_FILE

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

DELETED = 7


@pytest.fixture
async def bench(sqlite_bench: Bench) -> Bench:
    """Give a store with a task in every state, one that ran twice, one that was led out of its end, and one deleted."""
    bench = sqlite_bench
    server = ServerRow(id=bench.ids.server_id(), host="here", pid=1, version="1", started_at=bench.now)
    await bench.store.registry.enroll(server, ttl_s=30.0)
    await bench.turn(*[Submit(bench.new(key=f"k{n}", payload=b'{"n":%d}' % n)) for n in range(DELETED)])
    claimed = await bench.claim(shared=4)
    await bench.turn(
        bench.settle(claimed[0].task),
        bench.settle(claimed[1].task, FAILED, run_at=bench.now),
        bench.settle(claimed[2].task),
        RequestCancel(5, bench.now),
        Hold(6, bench.now),
        RequestCancel(DELETED, bench.now),
        Delete(DELETED, bench.now),
        Retry(3, bench.now),
    )
    (again,) = await bench.claim(shared=1)
    assert again.task.number == 2
    await bench.end(again.task)
    return bench


def meddle(data: Path, statement: str) -> None:
    """Do what the store's own code and its triggers never would."""
    with closing(apsw.Connection(str(data / DATABASE_FILE))) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement)
        assert connection.total_changes() > 0


async def test_a_store_that_all_has_happened_to_is_clean_while_it_is_open_and_once_it_is_closed(
    bench: Bench, tmp_path: Path
) -> None:
    assert_clean(tmp_path)
    await bench.store.close()
    assert_clean(tmp_path)


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        (Rule.HISTORY, "DELETE FROM events WHERE number = 2 AND ordinal = 2"),
        (Rule.HISTORY, "DELETE FROM events WHERE number = 6"),
        (Rule.STATE, "DELETE FROM events WHERE number = 5 AND ordinal = 2"),
        (Rule.MOVES, "UPDATE events SET name = 'released' WHERE number = 1 AND name = 'started'"),
        (Rule.STATE, "UPDATE tasks SET held = 0 WHERE number = 6"),
        (Rule.STATE, "UPDATE tasks SET state = 'failed' WHERE number = 1"),
        (Rule.ATTEMPTS, "UPDATE tasks SET attempt = 3 WHERE number = 2"),
        (Rule.BUDGET, "UPDATE tasks SET charged = 1 WHERE number = 2"),
        (Rule.BUDGET, "UPDATE specs SET max_attempts = 1 WHERE number = 2"),
        (Rule.ENDS, "UPDATE events SET name = 'started', state = 'running' WHERE number = 3 AND name = 'retried'"),
        (Rule.TOKENS, "UPDATE events SET token = zeroblob(16) WHERE number = 2 AND name = 'retrying'"),
        (Rule.TOKENS, "UPDATE events SET token = zeroblob(16) WHERE number = 2 AND name IN ('started', 'succeeded')"),
        (Rule.LEASE, "UPDATE tasks SET token = zeroblob(16) WHERE state = 'running'"),
        (Rule.LEASE, "DELETE FROM owner"),
        (Rule.COUNTERS, "UPDATE counters SET tasks = tasks + 1 WHERE state = 'queued'"),
        (Rule.COUNTERS, "UPDATE counters SET size_bytes = size_bytes - 1 WHERE state = 'succeeded'"),
        (Rule.COUNTERS, "DELETE FROM counters"),
        (Rule.TOMBSTONES, "INSERT INTO tombstones (number, id, deleted_at) SELECT number, id, 0 FROM tasks LIMIT 1"),
        (Rule.DATABASE, "INSERT INTO checkpoints (number, checkpoint) VALUES (999, x'00')"),
    ],
)
async def test_a_broken_rule_is_found(bench: Bench, tmp_path: Path, rule: Rule, statement: str) -> None:
    await bench.store.close()
    meddle(tmp_path, statement)
    assert rule in {violation.rule for violation in violations_in(tmp_path)}


async def test_a_directory_is_an_orphan_once_nobody_is_left_to_remove_it(bench: Bench, tmp_path: Path) -> None:
    files = tmp_path / "files"
    task = await bench.task(1)
    tombstone = await bench.store.tasks.tombstone(DELETED)
    assert tombstone is not None
    for name in (task.id, tombstone.id, "lost+found"):
        (files / name).mkdir(parents=True)
    assert_clean(tmp_path)
    await bench.turn(Sweep((DELETED,)))
    stranger = bench.ids.task_id()
    (files / stranger).mkdir()
    assert {(v.rule, v.task_id) for v in violations_in(tmp_path)} == {
        (Rule.FILES, tombstone.id),
        (Rule.FILES, TaskId(stranger)),
    }


async def test_a_check_beside_an_open_store_sees_one_moment_and_holds_nobody_up(bench: Bench, tmp_path: Path) -> None:
    for _ in range(5):
        await bench.turn(*[Submit(bench.new()) for _ in range(20)], slots={"shared": 30})
        assert_clean(tmp_path)
    before = (tmp_path / DATABASE_FILE).read_bytes()
    assert_clean(tmp_path)
    assert (tmp_path / DATABASE_FILE).read_bytes() == before


async def test_a_store_that_is_not_there_or_not_of_this_version_is_refused(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no store in"):
        violations_in(tmp_path / "elsewhere")
    await bench.store.close()
    meddle(tmp_path, "DELETE FROM migrations WHERE version > 1")
    with pytest.raises(SchemaMismatch, match="lacks steps of its schema, from 2"):
        violations_in(tmp_path)


async def test_a_damaged_page_is_found_or_said_to_be_unreadable(bench: Bench, tmp_path: Path) -> None:
    await bench.turn(*[Submit(bench.new(payload=b'"%s"' % (b"x" * 3_000))) for _ in range(50)])
    await bench.store.close()
    path = tmp_path / DATABASE_FILE
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 4096] = b"\xff" * 4096
    path.write_bytes(raw)
    try:
        rules = {violation.rule for violation in violations_in(tmp_path)}
    except StoreCorrupt:
        return
    assert Rule.DATABASE in rules
