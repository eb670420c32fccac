"""The alarm: it rings once, not early, at the instant it was set to last, and after what has arrived before it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest
from engine_room import CLOCK, PATIENCE_S

from windlass.engine.alarm import Alarm

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run on both loops: whether timers or arrivals come first is the loop's affair."""
    return "asyncio", {"use_uvloop": request.param}


class Bell:
    """An alarm, and when it rang."""

    def __init__(self) -> None:
        self.rings: list[float] = []
        self.rang = asyncio.Event()
        self.alarm = Alarm(CLOCK, self.ring)

    def ring(self) -> None:
        self.rings.append(CLOCK.monotonic())
        self.rang.set()

    async def wait(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.rang.wait()
        self.rang.clear()


async def test_it_rings_once_and_can_be_set_again():
    bell = Bell()
    for _ in range(3):
        due_at = CLOCK.monotonic() + 0.01
        bell.alarm.set(due_at)
        await bell.wait()
        assert bell.rings[-1] >= due_at - 0.002
        assert bell.alarm.at is None
    await asyncio.sleep(0.03)
    assert len(bell.rings) == 3


async def test_the_last_instant_set_counts_and_set_by_only_ever_brings_it_forward():
    bell = Bell()
    now = CLOCK.monotonic()
    bell.alarm.set(now + 600)
    bell.alarm.set_by(now + 0.02)
    bell.alarm.set_by(now + 300)
    assert bell.alarm.at == now + 0.02
    await bell.wait()
    bell.alarm.set(CLOCK.monotonic() + 0.01)
    bell.alarm.set(CLOCK.monotonic() + 600)
    await asyncio.sleep(0.03)
    assert len(bell.rings) == 1
    bell.alarm.clear()


async def test_one_that_is_cleared_does_not_ring_even_in_its_last_moment():
    bell = Bell()
    bell.alarm.set(CLOCK.monotonic())
    time.sleep(0.01)  # noqa: ASYNC251 its time comes while the loop stands still
    asyncio.get_running_loop().call_later(0, bell.alarm.clear)
    await asyncio.sleep(0.02)
    assert not bell.rings


async def test_what_arrived_while_the_loop_stood_still_is_heard_before_it_rings():
    bell, heard = Bell(), asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        (ours, theirs), (stop, stopper) = pairs = socket.socketpair(), socket.socketpair()
        for each in (*pairs[0], *pairs[1]):
            stack.enter_context(each)
            stack.callback(loop.remove_reader, each)
        rung_before: list[int] = []

        def hear() -> None:
            ours.recv(1)
            rung_before.append(len(bell.rings))
            heard.set()

        def stand_still() -> None:
            stop.recv(1)
            theirs.send(b"x")
            time.sleep(0.05)

        loop.add_reader(ours, hear)
        # From a reader: a loop that looks at its timers first does so before it reads again.
        loop.add_reader(stop, stand_still)
        bell.alarm.set(CLOCK.monotonic() + 0.02)
        stopper.send(b"x")
        await bell.wait()
        await heard.wait()
    assert rung_before == [0]
