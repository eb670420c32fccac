"""Writes about many tasks: how they take their place in the line, and what they leave behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from engine_room import CLOCK, Gate, TurningTasks, new_task, running_tasks, stored

from windlass.contracts.engine_api import BulkOrder
from windlass.contracts.tasks import Applied, Delete, RequestCancel, Submit, SubmitBatch
from windlass.core.bulk import BulkAction
from windlass.core.query import TaskQuery
from windlass.core.task import Task
from windlass.engine.bulk import Bulk
from windlass.engine.bus import Bus
from windlass.engine.remains import Remains
from windlass.engine.settler import Settler
from windlass.errors import NotReadyError, SaturatedError, StoreFull, StoreUnavailable

pytestmark = pytest.mark.anyio


class Room:
    """A settler on a memory store, and what works through it."""

    def __init__(self, files: Path) -> None:
        self.files = files
        self.tasks = TurningTasks()
        self.settler = Settler(self.tasks, Bus(), CLOCK, on_failure=lambda _: None)
        self.remains = Remains(self.settler, files=str(files))
        self.bulk = Bulk(self.tasks.real, self.settler, CLOCK, self.remains)

    async def store(self, count: int) -> list[Task]:
        """Store tasks that stay queued."""
        later = CLOCK.now() + timedelta(hours=1)
        return [stored(await self.settler.write(Submit(new_task(delay_to=later)))) for _ in range(count)]

    async def delete(self, task: Task) -> None:
        """Have a task deleted, its files left where they are."""
        await self.settler.write(RequestCancel(task.number, CLOCK.now()))
        await self.settler.write(Delete(task.number, CLOCK.now()))

    def leave_files(self, task: Task) -> Path:
        directory = self.files / task.id
        directory.mkdir()
        (directory / "result.bin").write_bytes(b"x")
        return directory

    async def states(self, tasks: Sequence[Task]) -> list[str]:
        found = [await self.tasks.get(task.number) for task in tasks]
        return [task.state.value for task in found if task is not None]

    async def unswept(self) -> list[int]:
        return [tombstone.number for tombstone in await self.tasks.real.unswept(limit=100)]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    room.settler.start()
    yield room
    async with asyncio.timeout(10):
        await room.remains.wait()
        await room.settler.stop()


def order(action: BulkAction = BulkAction.CANCEL, **fields: object) -> BulkOrder:
    return BulkOrder(**{"action": action, "query": TaskQuery(), "limit": 10_000, **fields})


# ── a batch in the line ────────────────────────────────────────────


async def test_a_batch_counts_as_its_tasks_in_the_line(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.line.LINE_WRITES", 10)
    gate = Gate()
    room.tasks.mishaps = [gate]
    under_way = asyncio.create_task(room.settler.write(Submit(new_task())))
    await gate.reached.wait()
    batch = SubmitBatch(tuple(new_task() for _ in range(8)))
    waiting = [asyncio.create_task(room.settler.write(write)) for write in (batch, Submit(new_task()))]
    await asyncio.sleep(0)
    with pytest.raises(SaturatedError, match="9 writes wait"):
        await room.settler.write(SubmitBatch((new_task(), new_task())))
    gate.open.set()
    await asyncio.gather(under_way, *waiting)


async def test_an_empty_line_takes_a_batch_of_any_size(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.line.LINE_WRITES", 10)
    result = await room.settler.write(SubmitBatch(tuple(new_task() for _ in range(50))))
    assert isinstance(result, Applied)
    assert len(result.placed) == 50


async def test_submits_are_refused_for_the_bytes_that_wait_and_others_are_not(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.engine.line.LINE_BYTES", 1_000)
    [task] = await room.store(1)
    gate = Gate()
    room.tasks.mishaps = [gate]
    writes = [Submit(new_task()), Submit(new_task(payload=b"x" * 900)), RequestCancel(task.number, CLOCK.now())]
    waiting = [asyncio.create_task(room.settler.write(writes[0]))]
    await gate.reached.wait()
    waiting += [asyncio.create_task(room.settler.write(write)) for write in writes[1:]]
    await asyncio.sleep(0)
    for refused in (Submit(new_task(payload=b"x" * 200)), SubmitBatch((new_task(payload=b"x" * 200),))):
        with pytest.raises(SaturatedError):
            await room.settler.write(refused)
    gate.open.set()
    await asyncio.gather(*waiting)


async def test_a_settler_that_closes_takes_no_batch(room: Room):
    room.settler.close()
    with pytest.raises(NotReadyError):
        await room.settler.write(SubmitBatch((new_task(),)))


# ── bulk ───────────────────────────────────────────────────────────


async def test_a_bulk_goes_in_slices_that_leave_room_for_others(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.bulk.BULK_SLICE", 10)
    await room.store(45)
    room.tasks.turns.clear()
    outcome = await room.bulk.run(order())
    assert (outcome.matched, outcome.changed, outcome.after) == (45, 45, None)
    assert [len(writes) for writes in room.tasks.turns] == [10, 10, 10, 10, 5]


async def test_a_bulk_whose_time_is_up_says_where_to_go_on(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.bulk.BULK_S", 0.0)
    monkeypatch.setattr("windlass.engine.bulk.PAGE_MAX", 10)
    await room.store(25)
    outcomes = [await room.bulk.run(order())]
    while (after := outcomes[-1].after) is not None:
        outcomes.append(await room.bulk.run(order(after=after)))
    assert [outcome.changed for outcome in outcomes] == [10, 10, 5]


async def test_tasks_of_several_states_are_met_once_each_and_by_their_numbers(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.engine.bulk.PAGE_MAX", 10)
    await room.store(12)
    await running_tasks(room.tasks, 5)
    await room.store(12)
    outcome = await room.bulk.run(order())
    assert (outcome.matched, outcome.changed, outcome.unchanged, outcome.after) == (29, 29, 0, None)
    met = [write.ref for writes in room.tasks.turns for write in writes if isinstance(write, RequestCancel)]
    assert met == list(range(1, 30))


async def test_a_limit_holds_over_all_states_together(room: Room):
    await room.store(5)
    await running_tasks(room.tasks, 5)
    first = await room.bulk.run(order(limit=7))
    assert (first.matched, first.changed, first.after) == (7, 7, 7)
    second = await room.bulk.run(order(limit=7, after=first.after))
    assert (second.matched, second.changed, second.after) == (3, 3, None)


async def test_what_a_bulk_has_done_before_a_failure_stays_done(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.bulk.BULK_SLICE", 10)
    tasks = await room.store(30)
    gate = Gate(StoreUnavailable("away"))
    gate.open.set()
    room.tasks.mishaps = [None, gate]
    with pytest.raises(StoreUnavailable):
        await room.bulk.run(order())
    assert await room.states(tasks) == ["cancelled"] * 10 + ["queued"] * 20
    assert (await room.bulk.run(order())).changed == 20


async def test_a_bulk_that_is_left_finishes_the_slice_it_has_begun(room: Room):
    tasks = await room.store(30)
    gate = Gate()
    room.tasks.mishaps = [gate]
    leaving = asyncio.create_task(room.bulk.run(order()))
    await gate.reached.wait()
    leaving.cancel()
    await asyncio.wait([leaving])
    gate.open.set()
    await room.settler.write(Submit(new_task()))
    assert set(await room.states(tasks)) == {"cancelled"}


# ── what deleted tasks leave ───────────────────────────────────────


async def test_what_a_deleted_task_has_left_is_removed_and_struck_from_the_list(room: Room):
    tasks = await room.store(3)
    directories = [room.leave_files(task) for task in tasks[:2]]
    for task in tasks:
        await room.delete(task)
    assert await room.unswept() == [task.number for task in tasks]
    await room.remains.remove([(task.number, task.id) for task in tasks])
    assert not any(directory.exists() for directory in directories)
    assert await room.unswept() == []


async def test_what_cannot_be_removed_stays_on_the_list(room: Room):
    first, second = await room.store(2)
    outside = room.files / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (room.files / first.id).symlink_to(outside, target_is_directory=True)
    removed = room.leave_files(second)
    for task in (first, second):
        await room.delete(task)
    await room.remains.remove([(first.number, first.id), (second.number, second.id)])
    assert (outside / "kept").exists()
    assert not removed.exists()
    assert await room.unswept() == [first.number]


async def test_a_store_that_cannot_be_written_leaves_the_list_as_it_is(room: Room):
    [task] = await room.store(1)
    directory = room.leave_files(task)
    await room.delete(task)
    gate = Gate(StoreFull("full"))
    gate.open.set()
    room.tasks.mishaps = [gate]
    await room.remains.remove([(task.number, task.id)])
    assert not directory.exists()
    assert await room.unswept() == [task.number]


async def test_one_that_leaves_does_not_stop_the_removal(room: Room):
    [task] = await room.store(1)
    directory = room.leave_files(task)
    await room.delete(task)
    leaving = asyncio.create_task(room.remains.remove([(task.number, task.id)]))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    await room.remains.wait()
    assert not directory.exists()
    assert await room.unswept() == []
