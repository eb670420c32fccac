"""The loop of turns: who is told what of a write, when a turn works, fails, or is the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from engine_room import CLOCK, IDS, WANTED, Gate, TurningTasks, new_task, raising, running_tasks, stored, until

from windlass.contracts.tasks import (
    Applied,
    Hold,
    KeepFile,
    Refusal,
    Refused,
    Report,
    RequestCancel,
    Save,
    Settle,
    Submit,
    Turn,
    Wanted,
)
from windlass.core.decide import decide
from windlass.core.ids import TaskId, Token
from windlass.core.outcome import Succeeded
from windlass.core.state import State
from windlass.core.task import FileRow, Progress, Task
from windlass.engine.bus import Bus
from windlass.engine.settler import Ears, Settler
from windlass.errors import (
    NotReadyError,
    SaturatedError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
    WindlassError,
)

pytestmark = pytest.mark.anyio


class Room:
    """A settler on a memory store, and what it has told."""

    def __init__(self) -> None:
        self.tasks = TurningTasks()
        self.bus = Bus()
        self.failures: list[BaseException] = []
        self.settler = Settler(self.tasks, self.bus, CLOCK, on_failure=self.failures.append)

    def submit(self, **fields: str) -> asyncio.Task[Task]:
        async def write() -> Task:
            return stored(await self.settler.write(Submit(new_task(**fields))))

        return asyncio.create_task(write())


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    yield room
    async with asyncio.timeout(10):
        await room.settler.stop()


@pytest.fixture
async def turning(room: Room) -> Room:
    room.settler.start()
    return room


# ── turns that work ────────────────────────────────────────────────


async def test_writes_resolve_in_their_order_and_each_with_its_own_result(turning: Room):
    order: list[int] = []

    async def write(n: int) -> Task:
        task = stored(await turning.settler.write(Submit(new_task(name=str(n)))))
        order.append(n)
        return task

    tasks = await asyncio.gather(*(write(n) for n in range(500)))
    assert order == list(range(500))
    assert [task.name for task in tasks] == [str(n) for n in range(500)]
    assert [task.number for task in tasks] == list(range(1, 501))


async def test_what_waits_together_is_written_together(turning: Room):
    gate = Gate()
    turning.tasks.mishaps = [gate]
    first = turning.submit()
    await gate.reached.wait()
    others = [turning.submit() for _ in range(50)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(first, *others)
    assert [len(writes) for writes in turning.tasks.turns] == [1, 50]


async def test_a_turn_is_bounded_by_its_writes_and_by_their_bytes(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.line.TURN_WRITES", 10)
    monkeypatch.setattr("windlass.engine.line.TURN_BYTES", 1_000)
    small = [room.submit() for _ in range(25)]
    payloads = [b"x" * size for size in (400, 400, 400, 5_000)]
    large = [asyncio.create_task(room.settler.write(Submit(new_task(payload=payload)))) for payload in payloads]
    await asyncio.sleep(0)
    room.settler.start()
    await asyncio.gather(*small, *large)
    assert [len(writes) for writes in room.tasks.turns] == [10, 10, 7, 1, 1]


async def test_nothing_turns_while_nothing_waits(turning: Room):
    await turning.submit()
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(turning.tasks.turns) == 1


async def test_a_kick_turns_once_though_nothing_waits(turning: Room):
    for _ in range(3):
        turning.settler.kick()
    await until(lambda: turning.tasks.turns)
    for _ in range(50):
        await asyncio.sleep(0)
    assert turning.tasks.turns == [[]]


async def test_one_that_leaves_while_it_waits_does_not_take_its_write_along(turning: Room):
    gate = Gate()
    turning.tasks.mishaps = [gate]
    under_way = turning.submit(name="under way")
    await gate.reached.wait()
    waiting = turning.submit(name="waiting")
    await asyncio.sleep(0)
    for each in (under_way, waiting):
        each.cancel()
    await asyncio.wait([under_way, waiting])
    assert under_way.cancelled()
    assert waiting.cancelled()
    gate.open.set()
    assert (await turning.submit(name="third")).number == 3
    found = [await turning.tasks.get(number) for number in (1, 2)]
    assert [task and task.name for task in found] == ["under way", "waiting"]


async def test_a_refused_write_fails_alone_and_a_stale_one_is_counted(turning: Room):
    [task, other] = await running_tasks(turning.tasks, 2)
    assert task.token is not None
    settlement = decide(task, Succeeded(b"1"), now=CLOCK.now(), roll=0.5)
    stranger = Token("somebody-elses")
    results = await asyncio.gather(
        turning.settler.write(Settle(task.number, stranger, settlement, 0.0)),
        turning.settler.write(Save(other.number, stranger, b"1")),
        turning.settler.write(Hold(TaskId("nobody"), CLOCK.now())),
        turning.settler.write(Settle(task.number, task.token, settlement, 0.0)),
    )
    assert [result.why if isinstance(result, Refused) else None for result in results] == [
        Refusal.STALE,
        Refusal.STALE,
        Refusal.MISSING,
        None,
    ]
    assert turning.settler.stale_writes == 2
    ended = await turning.tasks.get(task.number)
    assert ended is not None
    assert ended.state is State.SUCCEEDED


async def test_those_who_wait_for_a_task_are_woken_by_every_kind_of_change(turning: Room):
    [task] = await running_tasks(turning.tasks, 1)
    assert task.token is not None
    file = FileRow(index=0, name="a", state="running")
    for write in (
        Report(task.number, task.token, Progress(done=1)),
        KeepFile(task.number, task.token, file),
        Save(task.number, task.token, b"1"),
        RequestCancel(task.number, CLOCK.now()),
        Settle(task.number, task.token, decide(task, Succeeded(b"1"), now=CLOCK.now(), roll=0), 0.0),
    ):
        with turning.bus.listen(task.number) as changed:
            result = await turning.settler.write(write)
            if isinstance(write, Settle):
                assert isinstance(result, Refused)  # decided before the cancel request
                assert not changed.is_set()
            else:
                assert changed.is_set()


async def test_claims_are_asked_for_before_each_turn_and_placed_after_it(turning: Room):
    placings: list[Turn] = []

    class Feeding(Ears):
        def wanted(self) -> Wanted:
            return WANTED

        def placed(self, turn: Turn) -> None:
            placings.append(turn)

    turning.settler.tell(Feeding())
    task = await turning.submit()
    [placed] = placings
    assert [claimed.task.number for claimed in placed.claimed] == [task.number]


# ── the line ───────────────────────────────────────────────────────


async def test_a_full_line_refuses_a_write_and_says_when_to_come_again(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.line.LINE_WRITES", 10)
    waiting = [room.submit() for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(SaturatedError, match="10 writes wait for the store already") as refused:
        await room.settler.write(Submit(new_task()))
    assert refused.value.details["retry_after_s"] > 0
    room.settler.start()
    await asyncio.gather(*waiting)
    assert stored(await room.settler.write(Submit(new_task()))).number == 11


async def test_progress_is_dropped_when_the_line_is_half_full(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.line.LINE_WRITES", 10)
    [task] = await running_tasks(room.tasks, 1)
    assert task.token is not None
    for n in range(20):
        room.settler.note(Report(task.number, task.token, Progress(done=n)))
    room.settler.start()
    await until(lambda: room.tasks.turns)
    await room.settler.stop()
    now = await room.tasks.get(task.number)
    assert now is not None
    assert now.progress == Progress(done=4)


async def test_a_note_of_an_attempt_that_has_lost_its_task_is_counted_and_changes_nothing(turning: Room):
    [task] = await running_tasks(turning.tasks, 1)
    turning.settler.note(Report(task.number, Token("somebody-elses"), Progress(done=1)))
    await until(lambda: turning.settler.stale_writes)
    now = await turning.tasks.get(task.number)
    assert now == task


# ── turns that fail ────────────────────────────────────────────────


@pytest.mark.parametrize("error", [StoreFull("no space"), StoreUnavailable("locked")], ids=lambda error: error.code)
async def test_a_turn_that_fails_for_now_fails_its_own_writes_and_the_next_one_works(turning: Room, error: StoreError):
    gate = Gate(error)
    turning.tasks.mishaps = [gate]
    failing = [turning.submit() for _ in range(3)]
    await gate.reached.wait()
    behind = [turning.submit() for _ in range(3)]
    await asyncio.sleep(0)
    gate.open.set()
    assert await asyncio.gather(*failing, return_exceptions=True) == [error] * 3
    assert [task.number for task in await asyncio.gather(*behind)] == [1, 2, 3]
    assert not turning.failures


async def test_nothing_is_acknowledged_after_the_store_has_broken_and_its_failure_is_told_once(
    turning: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.engine.line.TURN_WRITES", 2)
    gate = Gate(StoreCorrupt("an I/O error"))
    turning.tasks.mishaps = [gate]
    failing = [turning.submit() for _ in range(2)]
    await gate.reached.wait()
    behind = [turning.submit() for _ in range(5)]
    await asyncio.sleep(0)
    gate.open.set()
    done = await asyncio.gather(*failing, *behind, return_exceptions=True)
    assert [type(each) for each in done] == [StoreCorrupt] * 7
    for _ in range(3):
        with pytest.raises(StoreCorrupt):
            await turning.settler.write(Submit(new_task()))
        turning.settler.kick()
        turning.settler.note(KeepFile(1, Token("t"), FileRow(index=0, name="a", state="running")))
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert len(turning.tasks.turns) == 1
    assert [type(failure) for failure in turning.failures] == [StoreCorrupt]
    assert await turning.tasks.get(1) is None


async def test_a_turn_that_breaks_in_an_unknown_way_leaves_nobody_waiting(
    turning: Room, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.engine.line.TURN_WRITES", 2)
    turning.tasks.mishaps = [raising(ZeroDivisionError())]
    done = await asyncio.wait_for(asyncio.gather(*(turning.submit() for _ in range(5)), return_exceptions=True), 5)
    assert all(isinstance(each, WindlassError) for each in done)
    assert [type(failure) for failure in turning.failures] == [ZeroDivisionError]
    with pytest.raises(StoreError):
        await asyncio.wait_for(turning.settler.write(Submit(new_task())), 5)


# ── the end ────────────────────────────────────────────────────────


async def test_a_stop_writes_what_waits(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.line.TURN_WRITES", 3)
    room.settler.start()
    writes = [room.submit() for _ in range(10)]
    await asyncio.sleep(0)
    await room.settler.stop()
    assert [task.number for task in await asyncio.gather(*writes)] == list(range(1, 11))


async def test_a_stop_in_the_middle_of_a_turn_lets_it_finish_and_tells_its_writers(turning: Room):
    gate = Gate()
    turning.tasks.mishaps = [gate]
    write = turning.submit()
    await gate.reached.wait()
    stopping = asyncio.create_task(turning.settler.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    gate.open.set()
    await stopping
    assert (await write).number == 1


@pytest.mark.parametrize("error", [StoreFull("no space"), StoreUnavailable("locked")], ids=lambda error: error.code)
async def test_a_stop_in_the_middle_of_a_turn_that_fails_leaves_nobody_waiting(turning: Room, error: StoreError):
    gate = Gate(error)
    turning.tasks.mishaps = [gate]
    write = turning.submit()
    await gate.reached.wait()
    stopping = asyncio.create_task(turning.settler.stop())
    await asyncio.sleep(0)
    gate.open.set()
    await stopping
    with pytest.raises(StoreError):
        await asyncio.wait_for(write, 5)
    assert not turning.failures


async def test_a_client_that_comes_after_the_stop_is_told_so_and_never_waits(turning: Room):
    await turning.settler.stop()
    for write in (Submit(new_task()), RequestCancel(1, CLOCK.now()), Hold(1, CLOCK.now())):
        with pytest.raises(NotReadyError) as refused:
            await asyncio.wait_for(turning.settler.write(write), 5)
        assert refused.value.code == "stopping"


async def test_an_attempt_settles_between_the_closing_and_the_stop(turning: Room):
    [task] = await running_tasks(turning.tasks, 1)
    assert task.token is not None
    turning.settler.close()
    settlement = decide(task, Succeeded(b"1"), now=CLOCK.now(), roll=IDS.roll())
    assert await turning.settler.write(Settle(task.number, task.token, settlement, 0.1)) == Applied()


async def test_a_stop_before_the_start_and_a_second_one_are_no_error(room: Room):
    await room.settler.stop()
    await room.settler.stop()
