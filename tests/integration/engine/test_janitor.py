"""What the janitor removes and what it leaves, how much at a time, and what a crash in between leaves to the next."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clean import assert_clean
from engine_room import IDS, until
from inner import engine_in
from stores import DURABLE, STORES, fresh_store

from windlass.config.schema import Retention
from windlass.contracts.registry import ServerRow
from windlass.contracts.store import Store
from windlass.contracts.tasks import Forget, Hold, Prune, Replay, RequestCancel, Settle, Submit, Turn, Wanted, Write
from windlass.core.decide import decide
from windlass.core.limits import ORPHAN_KEEP_S, PRUNE_ROWS, PRUNE_SLICE_S, TOMBSTONE_KEEP_S
from windlass.core.outcome import Errored, Succeeded
from windlass.core.query import Order, TaskQuery
from windlass.core.state import State
from windlass.core.task import Error, NewTask, Task
from windlass.engine import janitor as module
from windlass.engine.bus import Bus
from windlass.engine.janitor import Janitor
from windlass.engine.orphans import remove_orphans
from windlass.engine.remains import Remains
from windlass.engine.settler import Settler
from windlass.errors import NotFoundError, StoreUnavailable
from windlass.store.open import open_store

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
ANY = Wanted(slots={"p": 1_000}, pools={"work": ("p", "p")})


class MovedClock:
    """A clock that stands where it is put; a write takes as long as `write_s` says."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)
        self.write_s = 0.0
        self._reading = 0.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        self._reading += self.write_s
        return self._reading


class WatchedTasks:
    """The tasks of a store; keeps what the janitor asks for, and may fail first."""

    def __init__(self, store: Store) -> None:
        self._real = store.tasks
        self.asked: list[Prune | Forget] = []
        self.errors: list[Exception] = []

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        if writes and self.errors:
            raise self.errors.pop(0)
        self.asked += [write for write in writes if isinstance(write, Prune | Forget)]
        return await self._real.turn(writes, wanted, now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Room:
    """A janitor on a real store."""

    def __init__(self, store: Store, data: Path, database: str) -> None:
        self.clock = MovedClock()
        self.data = data
        self.database = database
        self.files = data / "files"
        self.tasks = WatchedTasks(store)
        self.failures: list[BaseException] = []
        self.settler = Settler(self.tasks, Bus(), self.clock, on_failure=self.failures.append)
        self.remains = Remains(self.settler, files=str(self.files))

    def check(self) -> None:
        """See that the store breaks no rule; one in memory only its own process could read."""
        if self.database != "memory":
            assert_clean(self.data, database=self.database)

    def janitor(self, **keep: Any) -> Janitor:
        nothing: dict[str, Any] = {"succeeded_s": None, "cancelled_s": None, "failed_s": None}
        return Janitor(
            self.tasks,
            self.settler,
            keep=Retention(**nothing | keep),
            remains=self.remains,
            clock=self.clock,
            ids=IDS,
            on_failure=self.failures.append,
        )

    async def end(self, state: State, *, ago: timedelta, count: int = 1, payload: bytes = b"{}") -> list[int]:
        """Store tasks that ended so in the past, each with a file; give their numbers."""
        at = self.clock.at - ago
        writes = [Submit(a_task(at, payload=payload)) for _ in range(count)]
        turn = await self.tasks.turn(writes, ANY if state is not State.CANCELLED else Wanted(), now=at)
        ended = [result.task for result in turn.results]
        if state is State.CANCELLED:
            await self.tasks.turn([RequestCancel(task.number, at) for task in ended], Wanted(), now=at)
        else:
            outcome = Succeeded(b"1") if state is State.SUCCEEDED else Errored(Error(type="E", message=""), False)
            await self.tasks.turn([settling(start.task, outcome, at) for start in turn.claimed], Wanted(), now=at)
        for task in ended:
            (self.files / task.id).mkdir(parents=True)
            (self.files / task.id / "out.bin").write_bytes(b"x")
        return [task.number for task in ended]

    async def left(self) -> list[int]:
        return [task.number for task in (await self.tasks.page(TaskQuery(order=Order.OLDEST, limit=500))).tasks]

    def directories(self) -> int:
        return len(list(self.files.iterdir()))


def a_task(at: datetime, **fields: Any) -> NewTask:
    made: dict[str, Any] = {"payload": b"{}", "created_at": at, "run_at": at} | fields
    return NewTask(id=IDS.task_id(), kind="work", queue="default", **made)


def settling(task: Task, outcome: Any, at: datetime) -> Settle:
    assert task.token is not None
    return Settle(task.number, task.token, decide(task, outcome, now=at, roll=0.5), 1.0)


@pytest.fixture(params=STORES)
async def room(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Room]:
    with fresh_store(request.param) as database:
        async with room_on(database, tmp_path) as room:
            yield room
        room.check()


@contextlib.asynccontextmanager
async def room_on(database: str, tmp_path: Path) -> AsyncIterator[Room]:
    store = await open_store(database, data=tmp_path, ids=IDS)
    room = Room(store, tmp_path, database)
    server = ServerRow(id=IDS.server_id(), host="here", pid=1, version="1", started_at=room.clock.at)
    await store.registry.enroll(server, ttl_s=30.0)
    room.settler.start()
    yield room
    async with asyncio.timeout(10):
        await room.settler.stop()
    await store.close()
    assert not room.failures


# ── ages ───────────────────────────────────────────────────────────


async def test_each_state_is_kept_as_long_as_its_setting_says_and_its_files_go_with_it(room: Room) -> None:
    old = [(await room.end(state, ago=10 * DAY))[0] for state in (State.SUCCEEDED, State.CANCELLED, State.FAILED)]
    young = [(await room.end(state, ago=3 * DAY))[0] for state in (State.SUCCEEDED, State.CANCELLED, State.FAILED)]
    await room.janitor(succeeded_s=7 * 86_400.0, cancelled_s=2 * 86_400.0, failed_s=30 * 86_400.0).tidy()
    assert await room.left() == [old[2], young[0], young[2]]
    assert room.directories() == 3
    assert await room.tasks.unswept(limit=10) == []


@pytest.mark.parametrize("for_ever", [0.0, None])
async def test_what_is_kept_for_ever_stays(room: Room, for_ever: float | None) -> None:
    numbers = await room.end(State.SUCCEEDED, ago=3_000 * DAY)
    await room.janitor(succeeded_s=for_ever).tidy()
    assert await room.left() == numbers


async def test_no_age_and_no_cap_touches_what_has_not_ended(room: Room) -> None:
    at = room.clock.at - 400 * DAY
    await room.tasks.turn([Submit(a_task(at)), Submit(a_task(at))], Wanted(slots={"p": 1}, pools=ANY.pools), now=at)
    await room.tasks.turn([Submit(a_task(at)), Hold(3, at)], Wanted(), now=at)
    await room.janitor(succeeded_s=1.0, cancelled_s=1.0, failed_s=1.0, max_bytes=1).tidy()
    assert await room.left() == [1, 2, 3]


# ── bytes ──────────────────────────────────────────────────────────


async def test_beyond_the_cap_those_that_ended_first_go_and_no_more_than_needed(room: Room) -> None:
    numbers = [
        (await room.end(state, ago=days * DAY, payload=b'"%s"' % (b"x" * 998)))[0]
        for days, state in [(1, State.SUCCEEDED), (5, State.CANCELLED), (3, State.FAILED), (4, State.SUCCEEDED)]
    ]
    await room.janitor(max_bytes=2_100).tidy()
    assert await room.left() == [numbers[0], numbers[2]]
    await room.janitor(max_bytes=2_100).tidy()
    assert len(await room.left()) == 2


async def test_two_servers_remove_at_most_a_slice_more_than_one_would(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_ROWS", 5)
    room.clock.write_s = PRUNE_SLICE_S / 2
    await room.end(State.SUCCEEDED, ago=DAY, count=40, payload=b'"%s"' % (b"x" * 998))
    await asyncio.gather(*(room.janitor(max_bytes=21_000).tidy() for _ in range(2)))
    assert 15 < len(await room.left()) <= 20


# ── slices ─────────────────────────────────────────────────────────


async def test_slices_shrink_while_they_take_too_long_and_grow_while_they_are_quick(room: Room) -> None:
    await room.end(State.SUCCEEDED, ago=10 * DAY, count=100)
    janitor = room.janitor(succeeded_s=1.0)
    room.clock.write_s = 1.01 * PRUNE_SLICE_S
    await janitor.tidy()
    limits = [write.limit for write in room.tasks.asked if isinstance(write, Prune)]
    assert limits[:5] == [50, 25, 12, 6, 3]
    assert min(limits) == 1
    assert await room.left() == []
    room.clock.write_s = 0.0
    room.tasks.asked.clear()
    await room.end(State.SUCCEEDED, ago=10 * DAY, count=300)
    await janitor.tidy()
    limits = [write.limit for write in room.tasks.asked if isinstance(write, Prune)]
    assert limits[:4] == [1, 2, 4, 8]
    assert max(limits) <= PRUNE_ROWS


async def test_a_slice_that_takes_as_long_as_it_may_leaves_the_size_as_it_is(room: Room) -> None:
    await room.end(State.SUCCEEDED, ago=10 * DAY, count=120)
    room.clock.write_s = 0.9 * PRUNE_SLICE_S
    await room.janitor(succeeded_s=1.0).tidy()
    assert [write.limit for write in room.tasks.asked if isinstance(write, Prune)] == [50, 50, 50]


async def test_a_slice_that_the_store_gives_up_is_asked_for_again_half_as_large(room: Room) -> None:
    await room.end(State.SUCCEEDED, ago=10 * DAY)
    room.tasks.errors += [StoreUnavailable("it takes too long")] * 7
    janitor = room.janitor(succeeded_s=1.0)
    for _ in range(7):
        with pytest.raises(StoreUnavailable):
            await janitor.tidy()
    await janitor.tidy()
    assert ([write.limit for write in room.tasks.asked][:2], await room.left()) == ([1, 2], [])


async def test_submits_and_claims_go_on_between_slices(room: Room) -> None:
    await room.end(State.SUCCEEDED, ago=10 * DAY, count=100)
    janitor = room.janitor(succeeded_s=1.0)
    room.clock.write_s = 1.01 * PRUNE_SLICE_S
    tidying = asyncio.ensure_future(janitor.tidy())
    await until(lambda: room.tasks.asked)
    await room.settler.write(Submit(a_task(room.clock.at)))
    assert not tidying.done()
    await tidying


# ── crashes ────────────────────────────────────────────────────────


async def test_files_left_by_a_crash_after_the_rows_have_gone_are_removed_by_the_next_round(room: Room) -> None:
    await room.end(State.SUCCEEDED, ago=10 * DAY, count=3)
    await room.settler.write(Prune((State.SUCCEEDED,), None, 10, room.clock.at))
    assert (await room.left(), room.directories()) == ([], 3)
    room.check()
    await room.janitor().tidy()
    assert room.directories() == 0
    assert await room.tasks.unswept(limit=10) == []


async def test_files_already_gone_when_their_sweep_was_lost_do_not_hold_the_next_round_up(room: Room) -> None:
    (number,) = await room.end(State.SUCCEEDED, ago=10 * DAY)
    await room.settler.write(Prune((State.SUCCEEDED,), None, 10, room.clock.at))
    for directory in room.files.iterdir():
        (directory / "out.bin").unlink()
        directory.rmdir()
    await room.janitor().tidy()
    tombstone = await room.tasks.tombstone(number)
    assert tombstone is not None
    assert tombstone.is_swept


async def test_a_directory_that_cannot_be_removed_keeps_no_other_from_going(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.end(State.SUCCEEDED, ago=10 * DAY, count=5)
    stuck = min(room.files.iterdir())
    outside = room.data / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (stuck / "out.bin").unlink()
    stuck.rmdir()
    stuck.symlink_to(outside)
    monkeypatch.setattr(module, "_DIRECTORIES", 2)
    await room.janitor(succeeded_s=1.0).tidy()
    assert (outside / "precious").exists()
    assert list(room.files.iterdir()) == [stuck]
    assert [tombstone.id for tombstone in await room.tasks.unswept(limit=10)] == [stuck.name]


# ── what is left of the deleted ────────────────────────────────────


async def test_tombstones_and_replays_are_forgotten_once_nobody_can_ask_for_them(room: Room) -> None:
    (old,) = await room.end(State.SUCCEEDED, ago=10 * DAY)
    await room.janitor(succeeded_s=1.0).tidy()
    replay = Replay("s", "key", b"f", room.clock.at + DAY)
    await room.tasks.turn([Submit(a_task(room.clock.at), replay)], Wanted(), now=room.clock.at)
    room.clock.at += timedelta(seconds=TOMBSTONE_KEEP_S) - DAY
    await room.janitor().tidy()
    assert await room.tasks.tombstone(old) is not None
    room.clock.at += 2 * DAY
    await room.janitor().tidy()
    assert await room.tasks.tombstone(old) is None
    again = await room.tasks.turn([Submit(a_task(room.clock.at), replay)], Wanted(), now=room.clock.at)
    assert not again.results[0].replayed


async def test_only_old_directories_that_no_task_knows_are_removed(room: Room) -> None:
    await room.end(State.SUCCEEDED, ago=DAY)
    (known,) = room.files.iterdir()
    old, young, foreign = (room.files / name for name in (IDS.task_id(), IDS.task_id(), "lost+found"))
    for directory in (old, young, foreign):
        directory.mkdir()
    now = room.clock.at.timestamp()
    for directory, age_s in ((known, 1.0), (old, 1.0), (foreign, 1.0), (young, -60.0)):
        os.utime(directory, (now - ORPHAN_KEEP_S - age_s,) * 2)
    await remove_orphans(room.tasks, room.files, now=room.clock.at)
    assert set(room.files.iterdir()) == {known, young, foreign}
    young.rmdir()


# ── the loop ───────────────────────────────────────────────────────


async def test_a_round_that_finds_the_store_busy_is_tried_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIDY_EVERY_S", 0.01)
    await room.end(State.SUCCEEDED, ago=10 * DAY)
    room.tasks.errors.append(StoreUnavailable("busy"))
    janitor = room.janitor(succeeded_s=1.0)
    janitor.start()
    await until(lambda: not list(room.files.iterdir()))
    await janitor.stop()
    assert room.tasks.errors == []


@pytest.mark.parametrize("sort", DURABLE)
async def test_a_started_engine_removes_what_is_past_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    with fresh_store(sort) as database:
        start = partial(engine_in, tmp_path, database=database, monkeypatch=monkeypatch)
        await _remove_what_is_past_its_time(start)
        assert_clean(tmp_path, database=database)


async def _remove_what_is_past_its_time(start: Any) -> None:
    async with start() as inner:
        task = await inner.until(await inner.submit("hello", {"name": "x"}))
        assert task.state is State.SUCCEEDED
    async with start(retention=Retention(succeeded_s=0.001)) as inner:
        async with asyncio.timeout(10):
            while True:
                try:
                    await inner.engine.get(task.number)
                except NotFoundError:
                    break
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(("every_s", "least", "most"), [(0.0, 3, 1_000), (math.inf, 1, 1)])
async def test_orphans_are_looked_for_at_the_start_and_again_where_others_delete_too(
    room: Room, monkeypatch: pytest.MonkeyPatch, every_s: float, least: int, most: int
) -> None:
    looks: list[Path] = []
    rounds = 0

    async def look(_tasks: object, files: Path, *, now: datetime) -> None:
        looks.append(files)

    async def tidy() -> None:
        nonlocal rounds
        rounds += 1

    monkeypatch.setattr(module, "remove_orphans", look)
    monkeypatch.setattr(module, "TIDY_EVERY_S", 0.001)
    janitor = room.janitor()
    monkeypatch.setattr(janitor, "tidy", tidy)
    janitor.start(orphans_every_s=every_s)
    await until(lambda: rounds >= 5)
    await janitor.stop()
    assert least <= len(looks) <= most
