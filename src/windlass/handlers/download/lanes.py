"""The places that all downloads of a worker share: so many transfers at once, handed round from task to task.

Knows nothing of what runs in them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from weakref import WeakKeyDictionary

Result = TypeVar("Result")


class Lanes:
    """A bounded number of places, each with a thread; owners that wait take turns, so that a task with a thousand
    files does not keep out one with a single file.

    Concurrency: used from one event loop.
    """

    def __init__(self, size: int) -> None:
        # Places are free only while nobody waits.
        self._free = size
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="windlass-download")

    @asynccontextmanager
    async def lane(self, owner: str) -> AsyncGenerator[None, None]:
        """Hold a place; wait for it in the line of `owner`."""
        await self._enter(owner)
        try:
            yield
        finally:
            self._leave()

    async def run(self, call: Callable[[], Result], stop: Callable[[], None]) -> Result:
        """Run `call` in a thread of the holder's.

        Concurrency: when it is cancelled it calls `stop` and waits for the thread to end, however often it is
        cancelled: nothing that the thread uses may be closed under it.
        """
        work = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop()
            while not work.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
            work.exception()  # seen: how it ended no longer matters
            raise

    async def _enter(self, owner: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # RACE: the place was given in the very moment of the cancel
                self._leave()
            raise

    def _leave(self) -> None:
        while self._lines:
            owner, line = self._lines.popitem(last=False)
            turn = line.popleft()
            if line:
                self._lines[owner] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, Lanes] = WeakKeyDictionary()


def lanes_of_this_loop(size: int) -> Lanes:
    """Give the lanes of the running loop, made with `size` places on first use."""
    loop = asyncio.get_running_loop()
    lanes = _lanes.get(loop)
    if lanes is None:
        lanes = _lanes[loop] = Lanes(size)
    return lanes
