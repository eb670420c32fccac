"""Whether a SQLite store is as it was left: a log that is taken away, damaged or another's, a file that is older."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from clean import assert_clean
from store_cases import Bench, database_of
from store_ids import SeededIds

from windlass.contracts.tasks import Submit
from windlass.core.limits import MIB
from windlass.errors import StoreCorrupt
from windlass.store.open import open_store
from windlass.store.sqlite import backup, inspection
from windlass.store.sqlite.backup import back_up
from windlass.store.sqlite.inspection import mark_of
from windlass.store.sqlite.store import DATABASE_FILE

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


@pytest.fixture
async def left(sqlite_bench: Bench, tmp_path: Path) -> Path:
    """Give a directory as a killed server leaves it a beat after its last write: most of it still in the log."""
    for _ in range(3):
        await sqlite_bench.turn(*[Submit(sqlite_bench.new(payload=b'"%s"' % (b"x" * 2_000))) for _ in range(10)])
    await database_of(sqlite_bench).check_file()
    copy = tmp_path / "left"
    copy.mkdir()
    for file in database_files(tmp_path):
        shutil.copy(file, copy)
    return copy


async def opens(data: Path) -> int:
    """Open the store and say how many events it has."""
    store = await open_store("sqlite", data=data, ids=SeededIds())
    try:
        return len(await store.events.log())
    finally:
        await store.close()


def database_files(data: Path) -> list[Path]:
    return list(data.glob(f"{DATABASE_FILE}*"))


def remove_all_but_the_mark(data: Path) -> None:
    for file in database_files(data):
        if file != mark_of(data / DATABASE_FILE):
            file.unlink()


def log_of(data: Path) -> Path:
    return data / f"{DATABASE_FILE}-wal"


def files_of(data: Path) -> dict[str, bytes]:
    return {name: (data / name).read_bytes() for name in (DATABASE_FILE, mark_of(data / DATABASE_FILE).name)}


def flip(data: Path) -> None:
    raw = bytearray(log_of(data).read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    log_of(data).write_bytes(raw)


def shorten(data: Path) -> None:
    log_of(data).write_bytes(log_of(data).read_bytes()[:-5_000])


def take_away(data: Path) -> None:
    log_of(data).unlink()


async def test_a_store_that_was_killed_opens_with_all_that_is_in_its_log(left: Path) -> None:
    assert await opens(left) == 30
    assert_clean(left)
    assert await opens(left) == 30


@pytest.mark.parametrize("damage", [take_away, flip, shorten])
async def test_a_log_that_lacks_what_was_seen_in_it_is_refused_and_nothing_is_touched(
    left: Path, damage: Callable[[Path], None]
) -> None:
    damage(left)
    before = files_of(left)
    with pytest.raises(StoreCorrupt, match=r"but event 30 was written: its log .* was taken away"):
        await opens(left)
    assert files_of(left) == before


async def test_a_log_that_is_put_back_after_a_refusal_is_as_good_as_before(left: Path) -> None:
    log = log_of(left).read_bytes()
    take_away(left)
    with pytest.raises(StoreCorrupt):
        await opens(left)
    left.joinpath(f"{DATABASE_FILE}-shm").unlink()
    log_of(left).write_bytes(log)
    assert await opens(left) == 30


async def test_another_store_in_the_place_of_the_one_that_was_there_is_refused(left: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    await opens(other)
    remove_all_but_the_mark(left)
    shutil.copy(other / DATABASE_FILE, left)
    with pytest.raises(StoreCorrupt, match="another store than the one that was there"):
        await opens(left)


async def test_a_store_that_is_gone_is_not_quietly_begun_anew(left: Path) -> None:
    remove_all_but_the_mark(left)
    with pytest.raises(StoreCorrupt, match="is gone, but a store was there"):
        await opens(left)
    assert not (left / DATABASE_FILE).exists()
    mark_of(left / DATABASE_FILE).unlink()
    assert await opens(left) == 0


async def test_a_restored_backup_opens_once_the_mark_is_gone_with_the_rest(
    sqlite_bench: Bench, left: Path, tmp_path: Path
) -> None:
    back_up(tmp_path, tmp_path / "old.db", on_progress=lambda done, pages: None)
    await sqlite_bench.submit()
    await sqlite_bench.store.close()
    for file in database_files(tmp_path):
        file.rename(left / f"aside-{file.name}")
    shutil.copy(tmp_path / "old.db", tmp_path / DATABASE_FILE)
    assert await opens(tmp_path) == 30


async def test_a_restored_backup_beside_the_old_mark_is_refused(
    sqlite_bench: Bench, left: Path, tmp_path: Path
) -> None:
    back_up(tmp_path, tmp_path / "old.db", on_progress=lambda done, pages: None)
    await sqlite_bench.submit()
    await sqlite_bench.store.close()
    shutil.copy(tmp_path / "old.db", tmp_path / DATABASE_FILE)
    with pytest.raises(StoreCorrupt, match="ends with event 30, but event 31 was written"):
        await opens(tmp_path)


@pytest.mark.parametrize("torn", [b"", b'{"made_at":1', b"\x00" * 40])
async def test_a_mark_that_was_cut_off_says_nothing(left: Path, torn: bytes) -> None:
    mark_of(left / DATABASE_FILE).write_bytes(torn)
    assert await opens(left) == 30


async def test_a_large_file_is_opened_without_reading_all_of_it(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert inspection.CHECK_AT_START_BYTES == 64 * MIB
    await opens(left)
    path = left / DATABASE_FILE
    raw = bytearray(path.read_bytes())
    raw[-4096:] = b"\xa5" * 4096
    path.write_bytes(raw)
    with pytest.raises(StoreCorrupt, match="is damaged"):
        await opens(left)
    monkeypatch.setattr(inspection, "CHECK_AT_START_BYTES", 0)
    store = await open_store("sqlite", data=left, ids=SeededIds())
    await store.close()


async def test_commits_during_a_backup_neither_get_into_it_nor_start_it_anew(
    sqlite_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite_bench.turn(*[Submit(sqlite_bench.new()) for _ in range(10)])
    monkeypatch.setattr(backup, "_STEP_PAGES", 5)
    copied: list[int] = []

    def meanwhile(done: int, pages: int) -> None:
        copied.append(done)
        assert len(copied) <= pages, "it begins again and again"
        with closing(apsw.Connection(str(tmp_path / DATABASE_FILE))) as other:
            other.execute("INSERT INTO workers (server, pid, started, boot) VALUES (x'00', ?1, 1, 'b')", (len(copied),))

    copy = tmp_path / "copy"
    copy.mkdir()
    back_up(tmp_path, copy / DATABASE_FILE, on_progress=meanwhile)
    assert len(copied) > 3
    assert copied == sorted(copied)
    with closing(apsw.Connection(str(copy / DATABASE_FILE))) as restored:
        assert restored.execute("SELECT count(*) FROM workers").fetchall() == [(0,)]
    assert_clean(copy)
