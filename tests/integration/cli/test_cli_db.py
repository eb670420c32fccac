"""`windlass check` and `windlass db`: the store of a data directory from the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import msgspec
import pytest
from clean import assert_clean
from command_runs import Ended

from windlass.contracts.tasks import RequestCancel, Submit, Wanted
from windlass.core.task import NewTask
from windlass.engine.clock import SystemIds
from windlass.store.open import open_store
from windlass.store.sqlite.store import DATABASE_FILE

Run = Callable[..., Ended]
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a data directory with three tasks, one of them cancelled, whose server has stopped."""
    monkeypatch.chdir(tmp_path)
    asyncio.run(_fill(tmp_path / "data"))
    return tmp_path / "data"


async def _fill(data: Path) -> None:
    ids = SystemIds()
    store = await open_store("sqlite", data=data, ids=ids)
    tasks = [
        NewTask(id=ids.task_id(), kind="k", queue="q", payload=b"{}", created_at=NOW, run_at=NOW) for _ in range(3)
    ]
    await store.tasks.turn([*map(Submit, tasks), RequestCancel(2, NOW)], Wanted(), now=NOW)
    await store.close()


def meddle(data: Path, statement: str) -> None:
    with closing(apsw.Connection(str(data / DATABASE_FILE))) as connection:
        connection.execute(statement)


def lines(text: str) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in text.splitlines()]


# ── check ──────────────────────────────────────────────────────────


def test_a_clean_store_is_said_to_be_clean(run: Run, data: Path) -> None:
    assert run("check") == Ended(0, "clean: 3 tasks with 4 events in data\n", "")
    assert lines(run("check", "--json").out) == [{"violations": 0, "tasks": 3, "events": 4}]


def test_each_violation_is_told_with_its_task_and_what_to_do(run: Run, data: Path) -> None:
    meddle(data, "UPDATE tasks SET attempt = 1 WHERE number = 3")
    code, out, _ = run("check", "--data", str(data))
    first, advice, last = out.splitlines()
    assert code == 1
    assert first.startswith("attempts: task ")
    assert first.endswith("(number 3): the task counts 1 attempts, its events 0")
    assert advice.startswith("  what to do: ")
    assert last == f"1 violation: 3 tasks with 4 events in {data}"
    told, sums = lines(run("check", "--data", str(data), "--json").out)
    assert (told["rule"], told["number"], sums["violations"]) == ("attempts", 3, 1)


def test_a_store_that_cannot_be_read_has_a_code_of_its_own(run: Run, data: Path) -> None:
    (data / DATABASE_FILE).write_bytes(b"no database at all" * 1_000)
    code, out, err = run("check")
    assert (code, out) == (74, "")
    assert "put a backup in its place" in err


def test_a_directory_without_a_store_is_not_found(run: Run, data: Path) -> None:
    code, _, err = run("check", "--data", str(data / "nowhere"))
    assert code == 5
    assert "there is no store in" in err


# ── status ─────────────────────────────────────────────────────────


def test_status_tells_sizes_schema_and_tasks(run: Run, data: Path) -> None:
    rows = dict(line.split("\t") for line in run("db", "status").out.splitlines())
    assert (rows["queued"], rows["cancelled"], rows["running"]) == ("2", "1", "0")
    assert rows["oldest_ended_at"] == "2026-11-20T12:00:00Z"
    assert rows["place"] == "data/windlass.db"
    (facts,) = lines(run("db", "status", "--json").out)
    assert facts["size_bytes"] == (data / DATABASE_FILE).stat().st_size
    assert facts["reserve_bytes"] == (data / "windlass.reserve").stat().st_size > 0
    assert facts["library"] == apsw.sqlite_lib_version()


# ── backup ─────────────────────────────────────────────────────────


def test_a_backup_is_a_store_that_a_server_can_be_started_on(run: Run, data: Path, tmp_path: Path) -> None:
    copy = tmp_path / "restored"
    copy.mkdir()
    ended = run("db", "backup", str(copy / DATABASE_FILE))
    assert (ended.code, ended.out) == (0, f"{copy / DATABASE_FILE}\t{(data / DATABASE_FILE).stat().st_size}\n")
    assert [file.name for file in copy.iterdir()] == [DATABASE_FILE]
    assert_clean(copy)


def test_a_backup_takes_the_place_of_nothing(run: Run, data: Path, tmp_path: Path) -> None:
    taken = tmp_path / "old.db"
    taken.write_bytes(b"precious")
    code, _, err = run("db", "backup", str(taken))
    assert (code, taken.read_bytes()) == (1, b"precious")
    assert "is there already and was not touched" in err
    assert run("db", "backup", str(tmp_path / "no" / "such" / "x.db")).code == 2


def test_no_backup_is_left_of_a_store_that_is_damaged(run: Run, data: Path, tmp_path: Path) -> None:
    with closing(apsw.Connection(str(data / DATABASE_FILE))) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("INSERT INTO checkpoints (number, checkpoint) VALUES (999, x'00')")
    code, _, err = run("db", "backup", str(tmp_path / "x.db"))
    assert code == 74
    assert "no backup was made" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data"]


# ── migrate ────────────────────────────────────────────────────────


def test_migrate_names_the_steps_and_takes_them_only_when_told_to(run: Run, data: Path) -> None:
    assert run("db", "migrate") == Ended(0, "", "the schema is up to date\n")
    path = data / DATABASE_FILE
    path.unlink()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode = wal")
    dry = run("db", "migrate", "--dry-run")
    assert dry.out.splitlines()[0] == "1\ttasks"
    assert dry.err == f"steps to take: {len(dry.out.splitlines())}\n"
    assert path.stat().st_size < 10_000
    assert run("db", "migrate").out == dry.out
    assert run("check").code == 0


def test_migrate_leaves_the_store_of_a_running_server_alone(run: Run, data: Path) -> None:
    async def beside() -> Ended:
        store = await open_store("sqlite", data=data, ids=SystemIds())
        try:
            return await asyncio.to_thread(run, "db", "migrate")
        finally:
            await store.close()

    ended = asyncio.run(beside())
    assert ended.code == 1
    assert "which is running: stop that one" in ended.err
