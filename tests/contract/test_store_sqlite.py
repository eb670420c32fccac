"""What only a store in a file can promise: that it is still there, is nobody else's, and as safe as SQLite can be."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import apsw
import pytest
from store_cases import Bench, database_of
from store_ids import SeededIds

from windlass.contracts.tasks import Hold, Refusal, Refused, RequestCancel, Submit
from windlass.core.ids import Token
from windlass.core.kind import Isolation, Kind
from windlass.core.query import Order, TaskQuery
from windlass.core.state import State
from windlass.errors import ConfigError, SchemaMismatch, StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from windlass.store.open import open_store
from windlass.store.sqlite import connections, reserve, schema
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import check_library, open_reader, open_writer, transaction, translated
from windlass.store.sqlite.store import DATABASE_FILE, SqliteStore, open_sqlite

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


async def reopened(bench: Bench, data: Path) -> Bench:
    return Bench(await open_store("sqlite", data=data, ids=bench.ids), bench.ids)


@pytest.fixture
def bench(sqlite_bench: Bench) -> Bench:
    return sqlite_bench


async def fill(bench: Bench) -> None:
    """Leave a task in every state."""
    await bench.turn(*[Submit(bench.new(key=f"k{n}", tags={"n": str(n)})) for n in range(6)])
    claimed = await bench.claim(shared=2)
    await bench.turn(
        bench.settle(claimed[0].task), RequestCancel(3, bench.now), Hold(4, bench.now), Submit(bench.new(delay_s=60))
    )


# ── durability ─────────────────────────────────────────────────────


async def test_everything_is_there_after_a_close(bench: Bench, tmp_path: Path) -> None:
    await fill(bench)
    before = await bench.dump()
    await bench.store.close()
    assert not (tmp_path / f"{DATABASE_FILE}-wal").exists()
    again = await reopened(bench, tmp_path)
    try:
        assert await again.dump() == before
        assert (await again.submit()).number == len(before["tasks"]) + 1
    finally:
        await again.store.close()


async def test_everything_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    program = Path(__file__).with_name("store_victim.py")
    async with await anyio.open_process([sys.executable, str(program), str(tmp_path)], stderr=None) as victim:
        assert victim.stdout is not None
        said = b""
        while said.count(b"\n") < 20:
            said += await victim.stdout.receive()
        victim.kill()
    acknowledged = int(said.splitlines()[19])
    ids = SeededIds(9)
    bench = Bench(await open_store("sqlite", data=tmp_path, ids=ids), ids)
    try:
        log = await bench.store.events.log()
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert len(log) >= acknowledged
        tasks = (await bench.store.tasks.page(TaskQuery(order=Order.OLDEST, limit=500))).tasks
        assert [task.state for task in tasks] == [(await bench.history(task.number))[-1].state for task in tasks]
        assert len(await bench.store.tasks.running(after=0, limit=500)) == sum(e.name == "started" for e in log)
    finally:
        await bench.store.close()


async def test_an_undone_turn_leaves_nothing_and_the_next_one_works(bench: Bench) -> None:
    await bench.submit()
    before = await bench.dump()
    with pytest.raises(StoreError):
        await bench.turn(Submit(bench.new(queue="new")), Submit(bench.new(payload="a text")))
    assert await bench.dump() == before
    assert (await bench.submit(queue="new")).number == 2
    assert [event.seq for event in await bench.store.events.log()] == [1, 2]


async def test_a_caller_that_leaves_does_not_stop_its_turn(bench: Bench) -> None:
    began, go_on = threading.Event(), threading.Event()
    new = bench.new()

    class SlowIds(SeededIds):
        def token(self) -> Token:
            began.set()
            go_on.wait(10)
            return super().token()

    assert isinstance(bench.store, SqliteStore)
    bench.store.tasks._ids = SlowIds()
    turn = asyncio.ensure_future(bench.turn(Submit(new), slots={"shared": 1}))
    await anyio.to_thread.run_sync(began.wait)
    turn.cancel()
    go_on.set()
    await bench.turn()
    assert (await bench.task(1)).state is State.RUNNING
    assert turn.cancelled()


async def test_close_finishes_the_turns_under_way(bench: Bench, tmp_path: Path) -> None:
    turns = [asyncio.ensure_future(bench.turn(Submit(bench.new()))) for _ in range(5)]
    reads = [asyncio.ensure_future(bench.store.tasks.get(1)) for _ in range(5)]
    await asyncio.sleep(0)
    await bench.store.close()
    await asyncio.gather(*turns, *reads)
    again = await reopened(bench, tmp_path)
    try:
        assert len((await again.dump())["tasks"]) == 5
    finally:
        await again.store.close()


async def test_close_waits_for_a_read_under_way_and_leaves_nothing_open(bench: Bench, tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def wait(_: Any) -> None:
        began.set()
        go_on.wait(10)

    reading = asyncio.ensure_future(database_of(bench).read(wait))
    await anyio.to_thread.run_sync(began.wait)
    closing_store = asyncio.ensure_future(bench.store.close())
    finished, _ = await asyncio.wait([closing_store], timeout=0.1)
    assert not finished
    go_on.set()
    await asyncio.gather(reading, closing_store)
    assert not (tmp_path / f"{DATABASE_FILE}-shm").exists()


async def test_close_does_not_wait_for_another_program_that_reads_the_file(bench: Bench, tmp_path: Path) -> None:
    await bench.submit()
    await database_of(bench).write(lambda connection: connection.set_busy_timeout(10))
    with closing(apsw.Connection(str(tmp_path / DATABASE_FILE))) as other:
        other.execute("BEGIN; SELECT count(*) FROM tasks")
        await bench.submit()
        await bench.store.close()
        other.execute("COMMIT")
    again = await reopened(bench, tmp_path)
    try:
        assert len((await again.dump())["tasks"]) == 2
    finally:
        await again.store.close()


async def test_a_kind_that_has_not_changed_costs_no_write(bench: Bench) -> None:
    kinds = [Kind(name=name, app="a", version="1", schema=b"{}", isolation=Isolation.SOLO) for name in "ab"]
    await bench.store.registry.keep_kinds(kinds)

    def count(connection: Any) -> int:
        return connection.total_changes()

    before = await database_of(bench).write(count)
    await bench.store.registry.keep_kinds(kinds)
    assert await database_of(bench).write(count) == before


async def test_reads_go_on_while_a_write_takes_long(bench: Bench) -> None:
    task = await bench.submit()
    leave = threading.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(database_of(bench).write, lambda _: leave.wait(10))
        assert await asyncio.gather(*[bench.store.tasks.get(1) for _ in range(20)]) == [task] * 20
        leave.set()


async def test_nothing_of_sqlite_runs_on_the_event_loop(bench: Bench) -> None:
    def here(_: Any) -> str:
        return threading.current_thread().name

    writers = {await database_of(bench).write(here) for _ in range(5)}
    readers = {await database_of(bench).read(here) for _ in range(5)}
    assert len(writers) == 1
    assert {name.rpartition("_")[0] for name in writers | readers} == {"store-writer", "store-reader"}


# ── ownership ──────────────────────────────────────────────────────


async def test_a_second_opener_is_told_which_process_owns_the_directory(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=rf"process {os.getpid()}\b.*another data directory"):
        await open_sqlite(tmp_path, ids=bench.ids)
    assert (await bench.submit()).number == 1


async def test_a_closed_store_leaves_the_directory_to_the_next(bench: Bench, tmp_path: Path) -> None:
    await bench.store.close()
    again = await reopened(bench, tmp_path)
    await again.store.close()


async def test_a_directory_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"data: .*/file cannot be used"):
        await open_sqlite(tmp_path / "file", ids=SeededIds())


async def test_a_store_that_did_not_open_lets_go_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"this is no database" * 100)
    for _ in range(2):
        with pytest.raises(StoreCorrupt):
            await open_sqlite(tmp_path, ids=SeededIds())


# ── schema ─────────────────────────────────────────────────────────


def digest(data: Path) -> str:
    return hashlib.sha256((data / DATABASE_FILE).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("INSERT INTO migrations VALUES (99, 'later', 'x', 0)", "has schema version 99; this program knows up to 3"),
        ("UPDATE migrations SET checksum = 'x'", r"step 1 \(tasks\) is not the one this program knows"),
        ("DROP TABLE migrations", "tables, but none of windlass"),
    ],
)
async def test_a_schema_we_do_not_know_is_refused_untouched(
    bench: Bench, tmp_path: Path, change: str, message: str
) -> None:
    await fill(bench)
    await bench.store.close()
    with closing(apsw.Connection(str(tmp_path / DATABASE_FILE))) as connection:
        connection.execute(change)
    before = digest(tmp_path)
    with pytest.raises(SchemaMismatch, match=message):
        await reopened(bench, tmp_path)
    assert digest(tmp_path) == before


async def test_not_even_the_log_of_a_newer_store_is_touched(bench: Bench, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    with closing(apsw.Connection(str(tmp_path / DATABASE_FILE))) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, 'later', 'x', 0)")
        for name in (DATABASE_FILE, f"{DATABASE_FILE}-wal"):
            (copy / name).write_bytes((tmp_path / name).read_bytes())
    before = digest(copy), (copy / f"{DATABASE_FILE}-wal").read_bytes()
    with pytest.raises(SchemaMismatch, match="version 99"):
        await open_sqlite(copy, ids=SeededIds())
    assert (digest(copy), (copy / f"{DATABASE_FILE}-wal").read_bytes()) == before


async def test_a_file_of_somebody_else_is_refused_untouched(tmp_path: Path) -> None:
    with closing(apsw.Connection(str(tmp_path / DATABASE_FILE))) as connection:
        connection.execute("CREATE TABLE notes (text)")
    before = digest(tmp_path)
    with pytest.raises(SchemaMismatch, match="none of windlass"):
        await open_sqlite(tmp_path, ids=SeededIds())
    assert digest(tmp_path) == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = schema.load_migrations(schema.PACKAGE)
    bad = "CREATE TABLE x (a); SELECT nonsense"
    broken = type(known[0])(version=len(known) + 1, name="broken", sql=bad, checksum="x")
    with closing(open_writer(tmp_path / DATABASE_FILE)) as connection:
        monkeypatch.setattr(schema, "load_migrations", lambda _: [*known, broken])
        with pytest.raises(apsw.SQLError):
            schema.upgrade(connection)
        tables = {name for (name,) in connection.execute(sql.TABLES)}
        assert "tasks" in tables
        assert "x" not in tables
        monkeypatch.undo()
        schema.upgrade(connection)
        assert len(connection.execute(sql.MIGRATIONS).fetchall()) == len(known)


# ── settings ───────────────────────────────────────────────────────


async def test_every_commit_is_synced_and_nothing_is_mapped(bench: Bench) -> None:
    def look(connection: Any) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "mmap_size")
        return [connection.pragma(name) for name in names] + [connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1)]

    assert await database_of(bench).write(look) == ["wal", 2, 0, 0, 1]


def test_a_database_that_will_not_sync_every_commit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_set", lambda connection, name, value: 1)
    with pytest.raises(StoreError, match=r"synchronous at 1 .* without 2"):
        open_writer(tmp_path / "x.db")


async def test_readers_cannot_write_and_never_checkpoint(bench: Bench, tmp_path: Path) -> None:
    with closing(open_reader(tmp_path / DATABASE_FILE)) as connection:
        assert connection.pragma("wal_autocheckpoint") == 0
        with pytest.raises(apsw.ReadOnlyError):
            connection.execute("DELETE FROM tasks")


def test_a_sqlite_that_can_corrupt_its_file_is_refused() -> None:
    check_library("3.51.3")
    check_library("3.60.0")
    with pytest.raises(ConfigError, match=r"SQLite 3\.51\.2.*3\.51\.3 or newer"):
        check_library("3.51.2")


# ── errors ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (apsw.SQLITE_FULL, StoreFull),
        (apsw.SQLITE_IOERR_WRITE, StoreCorrupt),
        (apsw.SQLITE_CORRUPT, StoreCorrupt),
        (apsw.SQLITE_NOTADB, StoreCorrupt),
        (apsw.SQLITE_BUSY_SNAPSHOT, StoreUnavailable),
        (apsw.SQLITE_LOCKED, StoreUnavailable),
        (apsw.SQLITE_CONSTRAINT_UNIQUE, StoreError),
    ],
)
def test_each_error_of_the_driver_means_one_of_ours(code: int, meaning: type[StoreError]) -> None:
    assert type(translated(apsw.exception_for(code))) is meaning
    assert type(translated(apsw.ThreadingViolationError("no result code"))) is StoreError


async def test_nothing_is_acknowledged_after_the_first_sign_of_damage(bench: Bench) -> None:
    def fail(_: Any) -> None:
        raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)

    with pytest.raises(StoreCorrupt):
        await database_of(bench).write(fail)
    with pytest.raises(StoreCorrupt):
        await bench.turn(Submit(bench.new()))
    with pytest.raises(StoreCorrupt):
        await bench.store.tasks.get(1)


async def test_a_file_that_may_not_grow_is_full_and_works_again_when_it_may(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bound(pages: int) -> Any:
        return lambda connection: connection.pragma("max_page_count", pages)

    await bench.submit()
    await database_of(bench).write(bound(1))
    turn = await bench.turn(*[Submit(bench.new(payload=b"x" * 10_000)) for _ in range(5)])
    assert turn.results == [Refused(Refusal.FULL)] * 5
    assert not (await bench.store.status()).has_room
    monkeypatch.setattr(reserve, "RESERVE_PROBE_S", 0.0)
    await database_of(bench).write(bound(100_000))
    assert (await bench.submit()).number == 2


async def test_a_lock_that_another_program_keeps_makes_the_store_unavailable(bench: Bench, tmp_path: Path) -> None:
    await database_of(bench).write(lambda connection: connection.set_busy_timeout(10))
    with closing(apsw.Connection(str(tmp_path / DATABASE_FILE))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await bench.submit()
    assert (await bench.submit()).number == 1


def test_a_transaction_that_sqlite_has_undone_itself_is_not_undone_again(tmp_path: Path) -> None:
    with closing(open_writer(tmp_path / "x.db")) as connection:
        with pytest.raises(apsw.SQLError, match="nonsense"), transaction(connection):
            connection.execute("ROLLBACK; SELECT nonsense")
        assert not connection.in_transaction
