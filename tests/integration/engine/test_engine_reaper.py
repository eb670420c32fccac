"""Taking back what an earlier server left running: all of it, once, whatever comes in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from engine_room import CLOCK, IDS, WANTED, Gate, TurningTasks, new_task, running_tasks
from msgspec.structs import replace

from windlass.contracts.registry import ServerRow
from windlass.contracts.tasks import RequestCancel, Settle, Submit, Turn, Wanted, Write
from windlass.core.state import Reason, Recovery, State
from windlass.core.task import Task
from windlass.engine.bus import Bus
from windlass.engine.reaper import Reaper
from windlass.engine.settler import Ears, Settler
from windlass.errors import StoreFull

pytestmark = pytest.mark.anyio


class Room:
    """A reaper on a memory store."""

    def __init__(self) -> None:
        self.tasks = TurningTasks()
        self.failures: list[BaseException] = []
        self.settler = Settler(self.tasks, Bus(), CLOCK, on_failure=self.failures.append)
        self.reaper = Reaper(self.tasks, self.settler, clock=CLOCK, ids=IDS)


async def left_running(tasks: TurningTasks, count: int, **fields: Any) -> list[Task]:
    """Store tasks and start them under a lease that ends then, as another server enrolls."""
    started = await running_tasks(tasks, count, **fields)
    row = ServerRow(id=IDS.server_id(), host="h", pid=1, version="0", started_at=CLOCK.now())
    await tasks.store.registry.enroll(row, ttl_s=30.0)
    return started


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    room.settler.start()
    yield room
    async with asyncio.timeout(10):
        await room.settler.stop()
    assert not room.failures


async def test_it_pages_to_the_end(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.reaper._PAGE", 3)
    tasks = await left_running(room.tasks, 20)
    assert await room.reaper.recover() == 20
    for task in tasks:
        now = await room.tasks.get(task.number)
        assert now is not None
        assert (now.state, now.reason, now.charged, now.interrupted) == (State.QUEUED, Reason.INTERRUPTED, 0, 1)
        assert now.token is None
        assert now.error is not None
        assert now.error.type == "ServerGone"
    assert await room.reaper.recover() == 0


async def test_with_nothing_running_there_is_nothing_to_do(room: Room):
    assert await room.reaper.recover() == 0
    assert not room.tasks.turns


async def test_a_cancel_that_came_before_ends_the_task_as_cancelled(room: Room):
    [task] = await left_running(room.tasks, 1)
    await room.settler.write(RequestCancel(task.number, CLOCK.now(), "too slow"))
    assert await room.reaper.recover() == 1
    now = await room.tasks.get(task.number)
    assert now is not None
    assert (now.state, now.cancel_outcome) == (State.CANCELLED, "stopped")


async def test_a_cancel_that_lands_between_the_reading_and_the_settling_is_respected(room: Room):
    tasks = await left_running(room.tasks, 2)

    async def cancel_first(writes: Sequence[Write]) -> None:
        assert isinstance(writes[0], Settle)
        await room.tasks.real.turn([RequestCancel(writes[0].number, CLOCK.now())], Wanted(), now=CLOCK.now())

    room.tasks.mishaps = [cancel_first]
    assert await room.reaper.recover() == 2
    states = [task and task.state for task in [await room.tasks.get(task.number) for task in tasks]]
    assert states == [State.CANCELLED, State.QUEUED]


async def test_what_somebody_else_has_settled_meanwhile_is_left_alone(room: Room):
    tasks = await left_running(room.tasks, 2)

    async def settle_first(writes: Sequence[Write]) -> None:
        await room.tasks.real.turn(writes[:1], Wanted(), now=CLOCK.now())

    room.tasks.mishaps = [settle_first]
    assert await room.reaper.recover() == 1
    first = await room.tasks.get(tasks[0].number)
    assert first is not None
    assert (first.interrupted, first.charged) == (1, 0)
    assert room.settler.stale_writes == 0  # no attempt has lost its task


async def test_a_store_that_cannot_be_written_stops_the_recovery_with_its_reason(room: Room):
    async def full(_: Sequence[Write]) -> None:
        raise StoreFull("no space")

    await left_running(room.tasks, 1)
    room.tasks.mishaps = [full]
    with pytest.raises(StoreFull):
        await room.reaper.recover()
    assert await room.reaper.recover() == 1


@pytest.mark.parametrize(
    ("recovery", "state", "held"),
    [
        (Recovery.RETRY, State.QUEUED, False),
        (Recovery.FAIL, State.FAILED, False),
        (Recovery.HOLD, State.QUEUED, True),
    ],
)
async def test_each_task_is_recovered_as_it_wishes(room: Room, recovery: Recovery, state: State, held: bool):
    [task] = await left_running(room.tasks, 1, recovery=recovery)
    await room.reaper.recover()
    now = await room.tasks.get(task.number)
    assert now is not None
    assert (now.state, now.held) == (state, held)


async def test_one_that_cannot_be_settled_hides_none_of_the_others(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.reaper._PAGE", 2)
    tasks = await left_running(room.tasks, 6)
    real = room.tasks.real.orphans

    async def odd(*, after: int, limit: int) -> Sequence[Task]:
        page = await real(after=after, limit=limit)
        return [replace(task, state=State.QUEUED) if task.number == tasks[0].number else task for task in page]

    monkeypatch.setattr(room.tasks.real, "orphans", odd)
    assert await room.reaper.recover() == 5


async def test_what_is_leased_and_known_to_nobody_is_given_back_and_the_rest_is_left_alone(room: Room):
    tasks = await running_tasks(room.tasks, 4)
    known = {task.token for task in tasks[:2]}
    assert await room.reaper.take_back(lambda task: task.token in known) == 0
    assert room.reaper.has_suspects
    assert await room.reaper.take_back(lambda task: task.token in known) == 2
    assert not room.reaper.has_suspects
    states = [task and task.state for task in [await room.tasks.get(task.number) for task in tasks]]
    assert states == [State.RUNNING, State.RUNNING, State.QUEUED, State.QUEUED]


async def test_what_has_been_unknown_once_and_is_known_the_next_time_is_left_alone(room: Room):
    [task] = await running_tasks(room.tasks, 1)
    answers = [False, True, False]
    for _ in range(3):
        assert await room.reaper.take_back(lambda _: answers.pop(0)) == 0
    assert await room.tasks.get(task.number) == task
    assert await room.reaper.take_back(lambda _: False) == 1


async def test_what_a_turn_under_way_has_claimed_is_told_before_it_is_missed(room: Room):
    gate = Gate()
    placed: set[int] = set()

    class Placing(Ears):
        def wanted(self) -> Wanted:
            return WANTED

        def placed(self, turn: Turn) -> None:
            placed.update(claimed.task.number for claimed in turn.claimed)

    room.settler.tell(Placing())

    async def claim_and_wait(writes: Sequence[Write]) -> None:
        room.tasks.held = await room.tasks.real.turn(writes, WANTED, now=CLOCK.now())
        await gate(writes)

    room.tasks.mishaps = [claim_and_wait]
    submitting = asyncio.create_task(room.settler.write(Submit(new_task())))
    await gate.reached.wait()
    taking = asyncio.create_task(room.reaper.take_back(lambda task: task.number in placed))
    while not taking.done() and not room.settler._idle._waiters:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    gate.open.set()
    assert await taking == 0
    assert not room.reaper.has_suspects
    await submitting
