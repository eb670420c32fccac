"""Takes back what servers that are gone left running: of an only server's store once, of a shared one for ever.

Engine code, not a task: nothing can keep it from running. Judges nobody by a task's age.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from windlass.contracts.clock import Clock, Ids
from windlass.contracts.registry import Registry
from windlass.contracts.tasks import Applied, Refusal, Settle, Tasks
from windlass.core.decide import decide
from windlass.core.ids import Token
from windlass.core.outcome import Interrupted
from windlass.core.task import Error, Task
from windlass.engine.service import OnFailure, Service
from windlass.engine.settler import Settler
from windlass.errors import IllegalTransition, WindlassError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_PAGE = 500
_REAP_EVERY_S = 2.0
_SERVER_GONE = Error(type="ServerGone", message="its server ended while the attempt ran")
_NEVER_BEGUN = Error(type="ServerGone", message="the store's answer was lost, so the attempt did not begin")


class _Read(Protocol):
    def __call__(self, *, after: int, limit: int) -> Awaitable[Sequence[Task]]: ...


class Reaper:
    """Settles attempts that nobody runs any more, as interrupted.

    Concurrency: of one event loop, beside those of other servers: each settlement names the token it ends.
    """

    def __init__(self, tasks: Tasks, settler: Settler, *, clock: Clock, ids: Ids) -> None:
        self._tasks = tasks
        self._settler = settler
        self._clock = clock
        self._ids = ids
        self._suspects: frozenset[Token] = frozenset()

    @property
    def has_suspects(self) -> bool:
        """Whether the last `take_back` has left to the next what it did not know."""
        return bool(self._suspects)

    async def recover(self) -> int:
        """Settle every running task whose lease has ended; give how many. Idempotent.

        Raises:
            StoreError: not now; what was settled until then stays so.

        Concurrency: after the workers of the earlier server of this home are gone.
        """
        recovered = 0
        async for page in _pages(self._tasks.orphans):
            recovered += await self._settle_all(page, _SERVER_GONE)
        return recovered

    async def take_back(self, is_known: Callable[[Task], bool]) -> int:
        """Settle every task that runs under this server's lease and was not known here the last time either; give how
        many. Idempotent.

        Such were claimed by a turn whose answer was lost.

        Raises:
            StoreError: not now; what was settled until then stays so.
        """
        leased = [task async for page in _pages(self._tasks.leased) for task in page]
        # RACE: what a turn had claimed when this was read is known once that turn is over.
        await self._settler.turned()
        # RACE: an attempt that ended since the reading is not known either; the next reading does not show it.
        unknown = [task for task in leased if not is_known(task)]
        lost = [task for task in unknown if task.token in self._suspects]
        self._suspects = frozenset(task.token for task in unknown if task.token is not None)
        taken_back = await self._settle_all(lost, _NEVER_BEGUN)
        self._suspects = self._suspects.difference(task.token for task in lost if task.token is not None)
        return taken_back

    async def _settle_all(self, tasks: Sequence[Task], error: Error) -> int:
        """Settle `tasks` in as few turns as that takes; one that cannot be settled keeps none of the others from it."""
        results = await asyncio.gather(*(self._settle(task, error) for task in tasks), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results.count(True)

    async def _settle(self, task: Task, error: Error) -> bool:
        current: Task | None = task
        while current is not None and current.token is not None:
            try:
                settlement = decide(current, Interrupted(error), now=self._clock.now(), roll=self._ids.roll())
            except IllegalTransition as illegal:  # the store gave what it must not: the others are still to be settled
                _log.error(words.REAPING_DELAYED, error=illegal.detail, task_id=current.id)
                return False
            settle = Settle(current.number, current.token, settlement, 0.0)
            result = await self._settler.write(settle, by_attempt=False)  # several servers may settle it at once
            if isinstance(result, Applied):
                return True
            current = result.task if result.why is Refusal.CHANGED else None
        return False


class Patrol:
    """The loop by which each server of a shared store ends the leases that have run out, and recovers their tasks."""

    def __init__(self, registry: Registry, reaper: Reaper, *, ids: Ids, ttl_s: float, on_failure: OnFailure) -> None:
        self._registry = registry
        self._reaper = reaper
        self._ids = ids
        self._pause_s = min(_REAP_EVERY_S, ttl_s / 4)
        self._service = Service("patrol", self._run, on_failure)

    def start(self) -> None:
        """Begin, with a round at once."""
        self._service.start()

    async def stop(self) -> None:
        """End, wherever it is: every step leaves the store in order. Idempotent."""
        await self._service.stop()

    async def _run(self) -> None:
        while True:
            try:
                await self.go_round()
            except WindlassError as error:
                _log.warning(words.REAPING_DELAYED, error=error.detail)
            await asyncio.sleep(self._pause_s * (1.0 - self._ids.roll() / 2))

    async def go_round(self) -> None:
        """End leases that have run out, and take back what ran under any that has ended.

        Raises:
            WindlassError: not now; the next round goes on.
        """
        for server in await self._registry.expire():
            _log.warning(words.SERVER_EXPIRED, server=server.id, host=server.host, pid=server.pid)
        if recovered := await self._reaper.recover():
            _log.info(words.RECOVERED, tasks=recovered, workers=0)


async def _pages(read: _Read) -> AsyncIterator[Sequence[Task]]:
    """Give page after page of tasks, rising by number."""
    after = 0
    while page := await read(after=after, limit=_PAGE):
        yield page
        after = page[-1].number
