"""Learns what other servers of a shared store have done, as far as anybody here must know.

Wakes are hints that save time; what it finds when it looks is the truth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from windlass.contracts.clock import Clock, Ids
from windlass.contracts.store import Store
from windlass.contracts.wakes import Wake
from windlass.core.ids import ServerId
from windlass.engine.attempts import Attempts
from windlass.engine.bus import Bus
from windlass.engine.catalog import Catalog
from windlass.engine.feeder import Feeder
from windlass.engine.queues import QueueBoard
from windlass.engine.reaper import Reaper
from windlass.engine.service import OnFailure, Service
from windlass.errors import WindlassError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_LOOK_EVERY_S = 1.0
_NEWS_EVERY_S = 5.0
_APART_S = 0.1
"""LIMIT: looks are at least so far apart, however many wakes come."""

Refresh = Callable[[], Awaitable[None]]


class FollowerTools(msgspec.Struct, frozen=True):
    """What a follower keeps up to date, and what it needs for that. `server` names the present enrolment, `access`
    reads the keys again, `ttl_s` is how long a lease lasts without a beat.
    """

    store: Store
    bus: Bus
    attempts: Attempts
    catalog: Catalog
    queues: QueueBoard
    reaper: Reaper
    feeder: Feeder
    server: Callable[[], ServerId]
    access: Refresh
    clock: Clock
    ids: Ids
    ttl_s: float


class Follower:
    """The loop that follows the other servers of a store. `has_wakes`: they say when there is work.

    Concurrency: of one event loop. After any error of the store it goes on.
    """

    def __init__(self, tools: FollowerTools, *, has_wakes: bool, on_failure: OnFailure) -> None:
        self._tools = tools
        self._has_wakes = has_wakes
        self._woken = asyncio.Event()
        self._news_at = 0.0
        self._unsure_until = 0.0
        self._sure_at = 0.0
        self._service = Service("follower", self._run, on_failure)

    async def start(self) -> None:
        """Begin, with all news read.

        Raises:
            StoreError: the store cannot be read.
        """
        await self._read_news()
        await self._tools.store.wakes.listen(self.hear)
        self._service.start()

    async def stop(self) -> None:
        """End. Idempotent."""
        await self._service.stop()

    def hear(self, wake: Wake) -> None:
        """Take in what another server has written."""
        if wake.numbers is None:
            self._woken.set()
        for number in wake.numbers or ():
            self._tools.bus.touch(number)
            if self._tools.attempts.runs(number):
                self._woken.set()
        if wake.has_work:
            self._tools.feeder.on_work()
        if wake.has_news:
            self._news_at = 0.0
            self._woken.set()

    def unsure(self) -> None:
        """Take in that a turn may have claimed what nobody has been told of, or may do so yet: a database can finish a
        commit long after its answer was given up.
        """
        self._unsure_until = self._tools.clock.monotonic() + self._tools.ttl_s
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self.look()
            except WindlassError as error:
                _log.warning(words.FOLLOWING_DELAYED, error=error.detail)
                self._woken.clear()
            await asyncio.sleep(_APART_S)
            await self._pause()

    async def look(self) -> None:
        """Look at all that may have changed.

        Raises:
            WindlassError: not now; the next look makes up for it.
        """
        tools = self._tools
        tools.attempts.heed(await tools.store.tasks.cancelling())
        if waited := tools.bus.waited():
            tools.bus.compare(waited, await tools.store.tasks.versions(waited))
        if not self._has_wakes:
            tools.feeder.on_work()
        now = tools.clock.monotonic()
        if now < self._unsure_until or now >= self._sure_at or tools.reaper.has_suspects:
            await self._make_sure()
        if tools.clock.monotonic() >= self._news_at:
            await self._read_news()

    async def _make_sure(self) -> None:
        """Give back what a turn has claimed whose answer was lost."""
        tools = self._tools
        taken_back = await tools.reaper.take_back(tools.attempts.knows)
        self._sure_at = tools.clock.monotonic() + tools.ttl_s
        if tools.reaper.has_suspects:
            self._woken.set()
        if taken_back:
            _log.warning(words.RECOVERED, tasks=taken_back, workers=0)

    async def _read_news(self) -> None:
        """Read what changes seldom: kinds and who serves them, queues, keys."""
        tools = self._tools
        self._news_at = tools.clock.monotonic() + _NEWS_EVERY_S * self._jitter()
        registry = tools.store.registry
        served = [
            kind
            for lease in await registry.servers()
            if lease.is_live and lease.server.id != tools.server()
            for kind in lease.kinds
        ]
        tools.catalog.follow(await registry.kinds(), elsewhere=served)
        await tools.queues.refresh()
        await tools.access()

    async def _pause(self) -> None:
        """Wait until it is time again, or a wake comes."""
        try:
            async with asyncio.timeout(_LOOK_EVERY_S * self._jitter()):
                await self._woken.wait()
        except TimeoutError:
            return

    def _jitter(self) -> float:
        return 0.5 + self._tools.ids.roll()
