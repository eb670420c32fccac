"""What the feeder claims and when it looks again: at once when it can, at the right moment, and never in a spin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from engine_room import CLOCK, IDS, Slots, TurningTasks, new_task, raising, stored, until

from windlass.contracts.tasks import Claimed, Submit, Wanted
from windlass.core.task import Task
from windlass.engine.bus import Bus
from windlass.engine.feeder import Feeder
from windlass.engine.settler import Ears, Settler
from windlass.errors import StoreUnavailable

pytestmark = pytest.mark.anyio


class Room:
    """A feeder on a memory store, with slots that a test hands out."""

    def __init__(self) -> None:
        self.tasks = TurningTasks()
        self.slots = Slots()
        self.failures: list[BaseException] = []
        self.claimed: list[Task] = []
        self.settler = Settler(self.tasks, Bus(), CLOCK, on_failure=self.failures.append)
        self.feeder = Feeder(
            self.settler,
            self.slots,  # type: ignore[arg-type]  # it asks for figures alone
            run=self.run,
            clock=CLOCK,
            ids=IDS,
        )
        ears = Ears()
        ears.wanted, ears.placed = self.feeder.wanted, self.feeder.placed  # type: ignore[method-assign]
        self.settler.tell(ears)

    def run(self, claimed: Claimed) -> None:
        self.slots.free -= 1
        assert self.slots.free >= 0
        self.claimed.append(claimed.task)

    async def submit(self, *, in_s: float = 0.0) -> Task:
        run_at = CLOCK.now() + timedelta(seconds=in_s) if in_s else None
        return stored(await self.settler.write(Submit(new_task(delay_to=run_at))))

    def give(self, free: int) -> None:
        self.slots.free += free
        self.feeder.on_room()


@pytest.fixture(autouse=True)
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the poll from doing what a wake should have done."""
    monkeypatch.setattr("windlass.engine.feeder._POLL_S", 600.0)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    room.settler.start()
    yield room
    async with asyncio.timeout(10):
        room.feeder.close()
        await room.settler.stop()
    assert not room.failures


async def test_nothing_is_claimed_before_it_opens_and_after_it_closes(room: Room):
    room.slots.free = 10
    await room.submit()
    room.feeder.on_room()
    await room.submit()
    assert not room.claimed
    room.feeder.open()
    await until(lambda: len(room.claimed) == 2)
    room.feeder.close()
    await room.submit()
    room.give(1)
    await asyncio.sleep(0.01)
    assert len(room.claimed) == 2


async def test_no_more_is_claimed_than_there_is_room_for_and_more_when_room_comes(room: Room):
    room.feeder.open()
    for _ in range(5):
        await room.submit()
    assert not room.claimed
    room.give(2)
    await until(lambda: len(room.claimed) == 2)
    await asyncio.sleep(0.01)
    assert len(room.claimed) == 2
    room.give(1)
    await until(lambda: len(room.claimed) == 3)
    room.give(9)
    await until(lambda: len(room.claimed) == 5)
    assert [task.number for task in room.claimed] == [1, 2, 3, 4, 5]


async def test_a_task_is_claimed_in_the_turn_that_stores_it(room: Room):
    room.feeder.open()
    room.give(1)
    await until(lambda: room.tasks.turns)
    turns = len(room.tasks.turns)
    task = await room.submit()
    assert [claimed.number for claimed in room.claimed] == [task.number]
    assert len(room.tasks.turns) == turns + 1


async def test_it_wakes_when_the_next_task_is_due_without_looking_in_between(room: Room):
    room.feeder.open()
    room.give(10)
    later = await room.submit(in_s=0.3)
    soon = await room.submit(in_s=0.1)
    turns = len(room.tasks.turns)
    await until(lambda: len(room.claimed) == 2)
    assert [task.number for task in room.claimed] == [soon.number, later.number]
    for task, asked in zip(room.claimed, (soon, later), strict=True):
        assert task.started_at is not None
        assert timedelta(0) <= task.started_at - asked.run_at < timedelta(seconds=2)
    assert len(room.tasks.turns) - turns <= 6  # two, and a few where a timer was early by a hair


async def test_a_task_due_earlier_than_the_one_it_waits_for_is_not_missed(room: Room):
    room.feeder.open()
    room.give(10)
    await room.submit(in_s=600)
    await asyncio.sleep(0.01)
    soon = await room.submit(in_s=0.1)
    await until(lambda: [task.number for task in room.claimed] == [soon.number])


async def test_with_nothing_to_wait_for_it_looks_now_and_then(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.feeder._POLL_S", 0.05)
    room.feeder.open()
    room.slots.free = 1
    await until(lambda: len(room.tasks.turns) >= 2)
    await room.tasks.real.turn([Submit(new_task())], Wanted(), now=CLOCK.now())
    await until(lambda: room.claimed)  # written behind its back, as another server would


async def test_it_does_not_spin_while_there_is_no_room(room: Room):
    room.feeder.open()
    for _ in range(3):
        await room.submit()
    turns = len(room.tasks.turns)
    await asyncio.sleep(0.3)
    assert len(room.tasks.turns) - turns <= 1


async def test_it_does_not_spin_while_a_task_is_due_and_there_is_no_room(room: Room):
    room.feeder.open()
    await room.submit(in_s=0.01)
    await asyncio.sleep(0.1)
    turns = len(room.tasks.turns)
    await asyncio.sleep(0.3)
    assert len(room.tasks.turns) - turns <= 2


async def test_it_does_not_spin_while_turns_fail_and_goes_on_when_they_work_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.engine.feeder._POLL_S", 0.2)
    room.feeder.open()
    task = await room.submit(in_s=0.05)
    room.slots.free = 1
    failed_from = len(room.tasks.turns)
    room.tasks.mishaps = [raising(StoreUnavailable("locked"))] * 10_000
    await asyncio.sleep(0.5)
    assert 1 <= len(room.tasks.turns) - failed_from <= 6
    assert not room.claimed
    room.tasks.mishaps = []
    await until(lambda: room.claimed)
    assert [claimed.number for claimed in room.claimed] == [task.number]
