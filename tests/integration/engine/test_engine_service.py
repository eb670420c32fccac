"""A loop as a service: started and stopped in any order, any number of times, and its failure told once."""

from __future__ import annotations

import asyncio
import random

import pytest
from engine_room import until

from windlass.engine.service import Service

pytestmark = pytest.mark.anyio


class Loop:
    """A loop that counts how often it runs and that there is never a second one."""

    def __init__(self) -> None:
        self.begun = self.running = self.most = 0
        self.ending: BaseException | None = None
        self.failures: list[BaseException] = []
        self.service = Service("loop", self.run, self.failures.append)

    async def run(self) -> None:
        self.begun += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            while self.ending is None:
                await asyncio.sleep(0)
            raise self.ending
        finally:
            self.running -= 1


async def test_it_runs_from_its_start_to_its_stop():
    loop = Loop()
    assert not loop.service.is_running
    loop.service.start()
    assert loop.service.is_running
    await until(lambda: loop.running)
    await loop.service.stop()
    assert (loop.service.is_running, loop.running, loop.begun) == (False, 0, 1)


async def test_starts_and_stops_in_any_order_never_run_it_twice_at_once():
    dice = random.Random(17)
    loop = Loop()
    for _ in range(500):
        match dice.randrange(4):
            case 0:
                loop.service.start()
            case 1:
                await loop.service.stop()
                assert not loop.service.is_running
            case 2:
                await asyncio.gather(loop.service.stop(), loop.service.stop())
            case _:
                await asyncio.sleep(0)
        assert loop.running <= 1
    await loop.service.stop()
    assert (loop.running, loop.most) == (0, 1)
    assert loop.begun > 20
    assert not loop.failures


async def test_a_stop_before_its_first_step_is_a_stop():
    loop = Loop()
    loop.service.start()
    await loop.service.stop()
    await asyncio.sleep(0)
    assert (loop.begun, loop.service.is_running) == (0, False)


async def test_a_stop_waits_for_what_it_cleans_up():
    cleaned = asyncio.Event()

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()

    failures: list[BaseException] = []
    service = Service("loop", run, failures.append)
    service.start()
    await asyncio.sleep(0)
    await service.stop()
    assert cleaned.is_set()
    assert not failures


async def test_its_failure_is_told_once_and_it_can_be_started_again():
    loop = Loop()
    error = ZeroDivisionError()
    loop.service.start()
    loop.ending = error
    await until(lambda: loop.failures)
    for _ in range(3):
        await asyncio.sleep(0)
        await loop.service.stop()
    assert loop.failures == [error]
    assert not loop.service.is_running
    loop.ending = None
    loop.service.start()
    await until(lambda: loop.running)
    await loop.service.stop()
    assert loop.failures == [error]


async def test_an_end_of_its_own_is_no_failure():
    failures: list[BaseException] = []

    async def run() -> None:
        return

    service = Service("loop", run, failures.append)
    service.start()
    await until(lambda: not service.is_running)
    await service.stop()
    assert not failures
