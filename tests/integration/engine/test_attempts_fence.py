"""Attempts behind a fence: those that run end, those that come do not begin; and cancels of elsewhere, heeded once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from engine_room import CLOCK
from msgspec.structs import replace
from test_engine_runner import STOPPED, Room

from windlass.contracts.link import Gone
from windlass.contracts.tasks import RequestCancel, Wanted
from windlass.core.limits import LEASE_TTL_S
from windlass.core.state import Reason, State
from windlass.core.stop import StopReason
from windlass.core.task import Error
from windlass.engine.runner import Runner
from windlass.wire.frames import Accepted, Ended

pytestmark = pytest.mark.anyio

KILLED = Gone(Error(type="WorkerGone", message="SIGKILL", exit="SIGKILL"), alone=True)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    room.settler.start()
    yield room
    async with asyncio.timeout(10):
        await room.settler.stop()
    assert not room.failures


async def test_an_attempt_claimed_behind_the_fence_is_given_back_without_having_begun(room: Room) -> None:
    claimed = await room.claim()
    room.attempts.fence(CLOCK.monotonic())
    room.attempts.begin(claimed)
    now = await room.until_over(claimed.task)
    assert (now.state, now.reason, now.charged) == (State.QUEUED, Reason.INTERRUPTED, 0)
    assert not room.seats


async def test_a_fence_put_up_late_takes_the_furthest_step_at_once(room: Room) -> None:
    task, seat = await room.begin()
    room.attempts.fence(CLOCK.monotonic() - LEASE_TTL_S)
    async with asyncio.timeout(5):
        while "kill" not in seat.asked:
            await asyncio.sleep(0.001)
    assert seat.asked == ["assign", "kill"]
    seat.say(KILLED)
    now = await room.until_over(task)
    assert (now.state, now.reason, now.charged, now.lost) == (State.QUEUED, Reason.INTERRUPTED, 0, 0)


async def test_a_worker_killed_before_its_attempt_was_told_of_the_fence_convicts_nobody(room: Room) -> None:
    task, seat = await room.begin()
    room.attempts.fence(CLOCK.monotonic() - LEASE_TTL_S)
    seat.say(KILLED)
    now = await room.until_over(task)
    assert (now.state, now.lost, now.solo) == (State.QUEUED, 0, False)


async def test_a_fence_that_is_still_to_come_leaves_attempts_their_time(room: Room) -> None:
    task, seat = await room.begin()
    room.attempts.fence(CLOCK.monotonic())
    await asyncio.sleep(0.02)
    assert seat.asked == ["assign"]
    seat.say(Ended(seat.token, STOPPED, stopped=True))
    assert (await room.until_over(task)).reason is Reason.INTERRUPTED


async def test_attempts_begin_again_once_the_fence_is_lifted(room: Room) -> None:
    room.attempts.fence(CLOCK.monotonic())
    room.attempts.lift_fence()
    claimed = await room.claim()
    room.attempts.begin(claimed)
    [seat] = room.seats
    assert room.attempts.runs(claimed.task.number)
    assert room.attempts.knows(claimed.task)
    seat.say(Accepted(seat.token))
    seat.say(Ended(seat.token, STOPPED))
    await room.until_over(claimed.task)
    assert not room.attempts.knows(claimed.task)


async def test_a_cancel_taken_elsewhere_is_heeded_once_and_for_its_attempt_alone(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[StopReason] = []
    stop = Runner.stop

    def noted(self: Runner, reason: StopReason, **options: float | None) -> None:
        reasons.append(reason)
        stop(self, reason, **options)

    monkeypatch.setattr(Runner, "stop", noted)
    task, seat = await room.begin()
    await room.tasks.real.turn([RequestCancel(task.number, CLOCK.now(), grace_s=60.0)], Wanted(), now=CLOCK.now())
    [cancelling] = await room.tasks.cancelling()
    room.attempts.heed([replace(cancelling, token=None)])
    await asyncio.sleep(0.01)
    assert seat.asked == ["assign"]
    for _ in range(3):
        room.attempts.heed([cancelling])
        await asyncio.sleep(0.01)
    assert seat.asked == ["assign", "tell cancel"]
    assert reasons == [StopReason.CANCEL]
    seat.say(Ended(seat.token, STOPPED, stopped=True))
    assert (await room.until_over(task)).state is State.CANCELLED
