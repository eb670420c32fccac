"""Lanes: so many at once, in turns between owners, and none lost to a cancel."""

from __future__ import annotations

import asyncio
import threading

import pytest

from windlass.handlers.download.lanes import Lanes, lanes_of_this_loop

pytestmark = pytest.mark.anyio


class Queue:
    """Owners that wait for a lane, and the order in which they got one."""

    def __init__(self, size: int) -> None:
        self.lanes = Lanes(size)
        self.order: list[str] = []
        self.leave = asyncio.Event()

    def join(self, owner: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._hold(owner))

    async def _hold(self, owner: str) -> None:
        async with self.lanes.lane(owner):
            self.order.append(owner)
            await self.leave.wait()


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_owners_take_turns_however_many_places_one_of_them_wants() -> None:
    queue = Queue(1)
    tasks = [queue.join(owner) for owner in ("a", "a", "a", "a", "b", "c", "b")]
    await _settle()
    assert queue.order == ["a"]
    queue.leave.set()
    await asyncio.gather(*tasks)
    assert queue.order == ["a", "a", "b", "c", "a", "b", "a"]


async def test_who_waits_and_is_cancelled_is_passed_over() -> None:
    queue = Queue(1)
    first, second, third = (queue.join(owner) for owner in ("a", "b", "c"))
    await _settle()
    second.cancel()
    queue.leave.set()
    await asyncio.gather(first, third)
    assert queue.order == ["a", "c"]


async def test_a_place_given_in_the_moment_of_a_cancel_is_not_lost() -> None:
    lanes = Lanes(1)
    holder = lanes.lane("a")
    await holder.__aenter__()
    waiter = asyncio.create_task(lanes.lane("b").__aenter__())
    await _settle()
    await holder.__aexit__(None, None, None)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    async with asyncio.timeout(1), lanes.lane("c"):
        pass


async def test_a_cancel_waits_for_the_thread_however_often_it_comes() -> None:
    lanes, stop, ended = Lanes(1), threading.Event(), threading.Event()

    def work() -> None:
        stop.wait(5)
        threading.Event().wait(0.05)
        ended.set()

    running = asyncio.create_task(lanes.run(work, stop.set))
    await asyncio.sleep(0.01)
    for _ in range(3):
        running.cancel()
        await _settle()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


async def test_a_failure_in_the_thread_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        await Lanes(1).run(lambda: 1 / 0, lambda: None)


async def test_one_loop_has_one_set_of_lanes() -> None:
    assert lanes_of_this_loop(3) is lanes_of_this_loop(3)
