"""Attempts as a state machine: what the link, the settler and the clock call, in every order that can come about."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest
from engine_room import CLOCK, IDS, WANTED, Gate, TurningTasks, new_task, raising, until

from windlass.contracts.link import Gone, Hear
from windlass.contracts.tasks import Claimed, KeepFile, Report, RequestCancel, Save, Settle, Submit
from windlass.core.ids import Token
from windlass.core.outcome import Errored, Succeeded
from windlass.core.state import Reason, State
from windlass.core.stop import StopReason, StopTimes
from windlass.core.task import Error, FileRow, Progress, Task
from windlass.engine.attempts import Attempts
from windlass.engine.bus import Bus
from windlass.engine.runner import Runner, RunnerTools
from windlass.engine.settler import Ears, Settler
from windlass.errors import StoreCorrupt, StoreFull, WorkerError
from windlass.wire import frames
from windlass.wire.frames import Accepted, Assign, Ended

pytestmark = pytest.mark.anyio

STOPPED = Errored(Error(type="Stopped", message="told"))


class HeldSeat:
    """A seat whose words are a test's; keeps what is asked of it."""

    def __init__(self, token: Token, hear: Hear) -> None:
        self.token, self.say = token, hear
        self.asked: list[str] = []
        self.breaks = ""

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what.startswith(self.breaks or "\0"):
            raise ZeroDivisionError("a mistake of ours")

    def assign(self, frame: Assign) -> None:
        if frame.payload == b'{"huge":1}':
            raise WorkerError("a frame is over the size allowed", code="frame_too_large")
        self._ask("assign")

    def tell(self, reason: StopReason) -> None:
        self._ask(f"tell {reason}")

    def terminate(self) -> None:
        self._ask("terminate")

    def kill(self) -> None:
        self._ask("kill")

    def answer(self, *, serial: int, accepted: bool) -> None:
        self._ask(f"answer {serial} {accepted}")

    def leave(self) -> None:
        self._ask("leave")


class Room(Ears):
    """Attempts on a memory store, in seats that a test holds."""

    def __init__(self) -> None:
        self.tasks = TurningTasks()
        self.failures: list[BaseException] = []
        self.seats: list[HeldSeat] = []
        self.settler = Settler(self.tasks, Bus(), CLOCK, on_failure=self.failures.append)
        self.settler.tell(self)
        times = StopTimes(kill_after_s=0.05, stop_s=0.2, hurry_s=0.1)
        tools = RunnerTools(self.settler, self, CLOCK, IDS, times, lambda task: f"/files/{task.id}")  # type: ignore[arg-type]  # seats alone
        self.attempts = Attempts(tools, on_failure=self.failures.append)

    def take(self, _pool: str, token: Token, hear: Hear) -> HeldSeat:
        self.seats.append(HeldSeat(token, hear))
        return self.seats[-1]

    def cancelling(self, task: Task, grace_s: float | None) -> None:
        self.attempts.cancel(task.number, grace_s=grace_s)

    async def claim(self, **fields: object) -> Claimed:
        turn = await self.tasks.real.turn([Submit(new_task(**fields))], WANTED, now=CLOCK.now())
        [claimed] = turn.claimed
        return claimed

    async def begin(self, **fields: object) -> tuple[Task, HeldSeat]:
        """Begin an attempt, which says that it has begun."""
        claimed = await self.claim(**fields)
        self.attempts.begin(claimed)
        self.seats[-1].say(Accepted(self.seats[-1].token))
        return claimed.task, self.seats[-1]

    async def until_over(self, task: Task) -> Task:
        """Wait until nothing runs any more, and read the task."""
        async with asyncio.timeout(10):
            await self.attempts.wait()
        now = await self.tasks.get(task.number)
        assert now is not None
        return now


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    room.settler.start()
    yield room
    async with asyncio.timeout(10):
        await room.settler.stop()


async def test_all_that_an_attempt_says_is_written_in_its_order_and_its_ending_last(room: Room):
    task, seat = await room.begin()
    seat.say(frames.Report(seat.token, Progress(done=1)))
    seat.say(frames.KeepFile(seat.token, FileRow(index=0, name="a", state="completed")))
    seat.say(frames.Save(seat.token, 7, b'"half"'))
    seat.say(Ended(seat.token, Succeeded(b"1")))
    assert (await room.until_over(task)).state is State.SUCCEEDED
    sorts = [type(write) for writes in room.tasks.turns for write in writes]
    assert sorts == [Report, KeepFile, Save, Settle]
    assert seat.asked == ["assign", "leave", "answer 7 True"]
    assert not room.failures


async def test_an_ending_waits_for_a_save_that_the_store_has_no_room_for(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.runner._SETTLE_AGAIN_S", 0.01)
    full = Gate(StoreFull("no space"))
    room.tasks.mishaps = [full]
    task, seat = await room.begin()
    seat.say(frames.Save(seat.token, 1, b"1"))
    await full.reached.wait()
    seat.say(Ended(seat.token, Succeeded(b"1")))
    full.open.set()
    assert (await room.until_over(task)).state is State.SUCCEEDED
    sorts = [type(write) for writes in room.tasks.turns for write in writes]
    assert sorts == [Save, Save, Settle]


async def test_an_ending_waits_for_a_file_that_the_store_has_no_room_for(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.runner._SETTLE_AGAIN_S", 0.01)
    full = Gate(StoreFull("no space"))
    room.tasks.mishaps = [full]
    task, seat = await room.begin()
    file = FileRow(index=0, name="a", state="completed")
    seat.say(frames.KeepFile(seat.token, file))
    await full.reached.wait()
    seat.say(Ended(seat.token, Succeeded(b"1")))
    full.open.set()
    assert (await room.until_over(task)).state is State.SUCCEEDED
    assert await room.tasks.files(task.number) == [file]


async def test_a_save_that_found_no_room_takes_the_place_of_no_newer_one(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.engine.runner._SETTLE_AGAIN_S", 0.2)
    full = Gate(StoreFull("no space"))
    room.tasks.mishaps = [full]
    task, seat = await room.begin()
    seat.say(frames.Save(seat.token, 1, b'"old"'))
    await full.reached.wait()
    full.open.set()
    await until(lambda: not room.tasks.mishaps and room.settler.trouble is not None)
    seat.say(frames.Save(seat.token, 2, b'"new"'))
    await until(lambda: {"answer 1 True", "answer 2 True"} <= set(seat.asked))
    seat.say(Ended(seat.token, Succeeded(b"1")))
    await room.until_over(task)
    saves = [write.checkpoint for writes in room.tasks.turns for write in writes if isinstance(write, Save)]
    assert saves == [b'"old"', b'"new"']


async def test_a_server_that_stops_waits_no_longer_for_room_because_a_task_was_cancelled_before(room: Room):
    task, seat = await room.begin()
    room.attempts.cancel(task.number, grace_s=600)
    room.tasks.mishaps = [raising(StoreFull("no space"))] * 10_000
    seat.say(Ended(seat.token, STOPPED, stopped=True))
    room.attempts.stop_all(StopReason.DRAIN)
    assert (await room.until_over(task)).state is State.RUNNING  # the next start takes it back
    room.tasks.mishaps = []


async def test_a_cancel_that_overtakes_the_ending_is_decided_anew(room: Room):
    gate = Gate()
    task, seat = await room.begin()
    room.tasks.mishaps = [gate]
    cancelling = asyncio.create_task(room.settler.write(RequestCancel(task.number, CLOCK.now())))
    await gate.reached.wait()
    seat.say(Ended(seat.token, Errored(Error(type="ValueError", message="no"))))
    gate.open.set()
    await cancelling
    now = await room.until_over(task)
    assert (now.state, now.reason, now.cancel_outcome) == (State.CANCELLED, Reason.CANCELLED, "stopped")


async def test_a_handler_that_does_not_listen_is_taken_down_the_whole_ladder(room: Room):
    task, seat = await room.begin(timeout_s=0.05, grace_s=0.05, max_attempts=1)
    await until(lambda: "kill" in seat.asked)
    assert seat.asked == ["assign", "tell timeout", "terminate", "kill"]
    seat.say(Gone(Error(type="WorkerGone", message="killed", exit="SIGKILL"), alone=True))
    now = await room.until_over(task)
    assert (now.state, now.reason) == (State.FAILED, Reason.TIMED_OUT)


async def test_nothing_is_done_to_an_attempt_that_has_ended(room: Room):
    task, seat = await room.begin(timeout_s=0.02, grace_s=0.02)
    seat.say(Ended(seat.token, Succeeded(b"1")))
    await room.until_over(task)
    other, its_seat = await room.begin(timeout_s=0.05, grace_s=600)
    await until(lambda: "tell timeout" in its_seat.asked)
    its_seat.say(Ended(its_seat.token, STOPPED, stopped=True))
    await room.until_over(other)
    assert seat.asked == ["assign", "leave"]


async def test_one_alarm_serves_many_attempts_each_at_its_own_time(room: Room):
    seats = [(await room.begin(timeout_s=timeout_s, grace_s=600))[1] for timeout_s in (600, 0.15, 0.05, 600, 0.1)]
    await until(lambda: all("tell timeout" in seats[n].asked for n in (1, 2, 4)))
    assert [seats[n].asked for n in (0, 3)] == [["assign"], ["assign"]]
    for seat in seats:
        seat.say(Ended(seat.token, Succeeded(b"1")))
    async with asyncio.timeout(10):
        await room.attempts.wait()


async def test_a_drain_tells_all_and_whoever_is_claimed_meanwhile(room: Room):
    _, first = await room.begin()
    late = await room.claim()
    room.attempts.stop_all(StopReason.DRAIN)
    room.attempts.begin(late)
    second = room.seats[-1]
    for seat in (first, second):
        await until(lambda seat=seat: "tell drain" in seat.asked)
        seat.say(Ended(seat.token, STOPPED, stopped=True))
    now = await room.until_over(late.task)
    assert (now.state, now.reason, now.charged) == (State.QUEUED, Reason.INTERRUPTED, 0)


async def test_an_attempt_that_cannot_be_handed_over_is_given_back(room: Room):
    claimed = await room.claim(payload=b'{"huge":1}')
    room.attempts.begin(claimed)
    now = await room.until_over(claimed.task)
    assert (now.state, now.reason, now.charged) == (State.QUEUED, Reason.INTERRUPTED, 0)
    assert room.seats[0].asked == ["leave"]
    assert not room.failures


@pytest.mark.parametrize("what", ["assign", "tell", "leave"])
async def test_a_mistake_of_ours_is_told_and_holds_nobody_up(room: Room, what: str):
    claimed = await room.claim(timeout_s=0.02, grace_s=600.0)
    real_take = room.take

    def take(pool: str, token: Token, hear: Hear) -> HeldSeat:
        seat = real_take(pool, token, hear)
        seat.breaks = what
        return seat

    room.take = take  # type: ignore[method-assign]
    room.attempts.begin(claimed)
    seat = room.seats[0]
    if what != "assign":
        seat.say(Accepted(seat.token))
    if what == "leave":
        seat.say(Ended(seat.token, Succeeded(b"1")))
    await until(lambda: room.failures)
    assert [type(failure) for failure in room.failures] == [ZeroDivisionError]
    assert (await room.until_over(claimed.task)).state is State.RUNNING  # the next start takes it back


async def test_a_store_that_has_broken_leaves_no_attempt_waiting(room: Room):
    task, seat = await room.begin()
    room.tasks.mishaps = [Gate(StoreCorrupt("an I/O error"))]
    room.tasks.mishaps[0].open.set()  # type: ignore[union-attr]
    seat.say(Ended(seat.token, Succeeded(b"1")))
    assert (await room.until_over(task)).state is State.RUNNING
    assert {type(failure) for failure in room.failures} == {StoreCorrupt}


async def test_what_an_attempt_has_held_is_freed_at_its_end(room: Room):
    gc.disable()  # as if it looked too late: thousands of attempts end between two of its looks
    try:
        task, seat = await room.begin()
        freed = asyncio.Event()
        [runner] = [held for held in gc.get_referrers(task) if isinstance(held, Runner)]
        weakref.finalize(runner, freed.set)
        del runner
        seat.say(Ended(seat.token, Succeeded(b"1")))
        await room.until_over(task)
        room.seats.clear()
        del seat
        async with asyncio.timeout(10):
            await freed.wait()
    finally:
        gc.enable()
