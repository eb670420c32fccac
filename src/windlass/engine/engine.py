"""The engine: implements `contracts.engine_api`, starts and stops the loops. Holds no rules."""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from windlass.config.schema import Settings
from windlass.contracts.clock import Clock, Ids
from windlass.contracts.engine_api import Health, Stats
from windlass.contracts.link import Workers
from windlass.contracts.registry import ServerRow
from windlass.contracts.store import Store
from windlass.contracts.tasks import Turn
from windlass.core.ids import ServerId
from windlass.core.kind import Kind
from windlass.core.state import State
from windlass.core.stop import StopReason
from windlass.core.task import Task
from windlass.engine.attempts import Attempts
from windlass.engine.bus import Bus
from windlass.engine.catalog import Catalog
from windlass.engine.feeder import Feeder
from windlass.engine.follower import Follower, FollowerTools
from windlass.engine.intake import Intake
from windlass.engine.janitor import Janitor
from windlass.engine.membership import Membership, MembershipDuties, MembershipTools
from windlass.engine.pace import Pace
from windlass.engine.queues import QueueBoard
from windlass.engine.reaper import Patrol, Reaper
from windlass.engine.remains import Remains
from windlass.engine.respite import Respite
from windlass.engine.runner import RunnerTools
from windlass.engine.settler import Ears, Settler
from windlass.engine.writes import Writes, WriteTools
from windlass.errors import StoreError, StoreFull, StoreUnavailable, StoreUncertain
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_KEEP_AGAIN_S = 1.0
_LEAVE_S = 1.0
"""How long a lease may take to be given up after all else had to be over."""
_ORPHANS_EVERY_S = 6 * 3_600.0
"""Of a shared store: another server may have deleted tasks whose files are on this one."""


async def _nothing() -> None:
    """Have no keys to read again."""


class EngineParts(msgspec.Struct, frozen=True):
    """What an engine is put together from. `files` is the directory of all tasks' directories, `home` what no other
    server can hold at the same time (see `contracts.registry`; empty when there is nothing such), `on_news` is called
    when keys may have changed.
    """

    store: Store
    workers: Workers
    clock: Clock
    ids: Ids
    server: ServerId
    files: str
    home: str = ""
    on_news: Callable[[], Awaitable[None]] = _nothing


class Engine(Writes):
    """One server's engine.

    Concurrency: of one event loop.
    """

    def __init__(self, settings: Settings, parts: EngineParts, *, version: str) -> None:
        bus, catalog, tasks = Bus(), Catalog(), parts.store.tasks
        settler = Settler(tasks, bus, parts.clock, on_failure=self._fail)
        intake = Intake(catalog, parts.clock, parts.ids, is_complete=lambda: not parts.workers.problems())
        queues = QueueBoard(tasks, settler, parts.clock, others=catalog.queues)
        tools = WriteTools(intake, settler, Remains(settler, files=parts.files), queues)
        super().__init__(parts.store, bus, catalog, clock=parts.clock, files=parts.files, tools=tools)
        self._version = version
        self._store = parts.store
        self._workers = parts.workers
        self._queue_defaults = settings.queue_defaults
        self._is_shared = parts.store.wakes.is_shared
        self._times = settings.stop_times
        self._home = parts.home or parts.server
        self.respite = Respite()
        self._begun_s = parts.clock.monotonic()
        self._pace = Pace(self._begun_s)
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._reaper = Reaper(tasks, self._settler, clock=parts.clock, ids=parts.ids)
        of_runners = RunnerTools(settler, parts.workers, parts.clock, parts.ids, settings.stop_times, self._directory)
        self._attempts = Attempts(of_runners, on_failure=self._fail)
        self._feeder = Feeder(
            self._settler,
            parts.workers,
            run=self._attempts.begin,
            clock=parts.clock,
            ids=parts.ids,
        )
        self._membership = self._make_membership(settings, parts)
        self._patrol = Patrol(
            parts.store.registry, self._reaper, ids=parts.ids, ttl_s=settings.lease.ttl_s, on_failure=self._fail
        )
        self._follower = self._make_follower(settings, parts)
        self._janitor = Janitor(
            tasks,
            settler,
            keep=settings.retention,
            remains=tools.remains,
            clock=parts.clock,
            ids=parts.ids,
            on_failure=self._fail,
        )
        ears = _Ears(self._feeder, self._attempts, queues, self._pace, unsure=self._follower.unsure, clock=parts.clock)
        self._settler.tell(ears)
        self._announcing: set[asyncio.Task[None]] = set()
        self._phase = "starting"

    def _make_membership(self, settings: Settings, parts: EngineParts) -> Membership:
        row = ServerRow(
            id=parts.server,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=self._version,
            started_at=parts.clock.now(),
            home=self._home,
        )
        tools = MembershipTools(
            parts.store.registry,
            parts.workers,
            self._attempts,
            parts.clock,
            parts.ids,
            settings.stop_times,
            self._is_shared,
        )
        duties = MembershipDuties(self._let_claim, self._queues.forget_running, self._fail)
        return Membership(row, tools, duties)

    def _make_follower(self, settings: Settings, parts: EngineParts) -> Follower:
        tools = FollowerTools(
            store=parts.store,
            bus=self._bus,
            attempts=self._attempts,
            catalog=self._catalog,
            queues=self._queues,
            reaper=self._reaper,
            feeder=self._feeder,
            server=lambda: self._membership.server,
            access=parts.on_news,
            clock=parts.clock,
            ids=parts.ids,
            ttl_s=settings.lease.ttl_s,
        )
        has_wakes = settings.postgres.notify and not settings.postgres.pooler
        return Follower(tools, has_wakes=has_wakes, on_failure=self._fail)

    # life ────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Join the store: see the workers of this home's earlier server gone, take its tasks back, begin to claim.

        Raises:
            WorkerError: a worker of the earlier server does not go away.
            StoreError: the store cannot be used.
        """
        registry = self._store.registry
        # RACE: once the earlier lease has ended, any server may run again what these workers run.
        left = await registry.workers(self._home)
        await self._workers.clear(left)
        await self._membership.begin()
        for worker in left:
            await registry.forget_worker(worker)
        self._catalog.load(await registry.kinds())
        await self._workers.start(on_room=self._feeder.on_room, on_kinds=self._announce)
        self._settler.start()
        await self._queues.declare(self._queue_defaults)
        recovered = await self._reaper.recover()
        if left or recovered:
            _log.info(words.RECOVERED, tasks=recovered, workers=len(left))
        if self._is_shared:
            await self._follower.start()
            self._patrol.start()
        self._phase = "running"
        self._let_claim(True)
        self._janitor.start(orphans_every_s=_ORPHANS_EVERY_S if self._is_shared else math.inf)

    async def drain(self) -> None:
        """Claim nothing more, let attempts end, take those that do not down the ladder, and see them all settled.

        What a shared store that says nothing has not settled by the end of `stop_s` is left to be taken back.
        """
        self._phase = "stopping"
        self._limit(self._times.stop_s)
        self._feeder.close()
        self._attempts.stop_all(StopReason.DRAIN)
        await self._janitor.stop()
        await self._patrol.stop()
        await self.respite.spend(self._settler.turned())
        await self.respite.spend(self._attempts.wait())

    def hurry(self) -> None:
        """Cut a drain short."""
        self._limit(self._times.hurry_s + _LEAVE_S)
        self._attempts.stop_all(StopReason.HURRY)

    def _limit(self, within_s: float) -> None:
        if self._is_shared:  # else its store is local, and answers
            self.respite.begin(within_s)

    async def stop(self) -> None:
        """End everything; after `drain`, nothing is running any more. Idempotent."""
        self._phase = "stopping"
        self._limit(self._times.stop_s)
        spend = self.respite.spend
        self._bus.close()
        await self._janitor.stop()
        await self._patrol.stop()
        await self._follower.stop()
        self._settler.close()
        self._feeder.close()
        self._attempts.stop_all(StopReason.HURRY)
        await spend(self._settler.turned())
        if not await spend(self._workers.stop(), beyond_s=_LEAVE_S):  # what waits there is a store that strikes them
            self._workers.kill_all()
        await spend(self._attempts.wait())
        await spend(self._announced())
        await spend(self._remains.wait())
        await spend(self._settler.stop())
        if not await spend(self._membership.leave(), beyond_s=_LEAVE_S):
            _log.warning(words.LEASE_KEPT, error="the store has not answered")  # it runs out by itself

    def _let_claim(self, may: bool) -> None:
        if may and self._phase == "running" and self._membership.problem is None:
            self._feeder.open()
        elif not may:
            self._feeder.close()

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    def _announce(self, app: str, kinds: Sequence[Kind]) -> None:
        self._catalog.announce(app, kinds)
        _log.info(words.KINDS_ANNOUNCED, app=app, kinds=[kind.name for kind in kinds])
        keeping = asyncio.create_task(self._keep_kinds(kinds))
        self._announcing.add(keeping)
        keeping.add_done_callback(self._announcing.discard)

    async def _announced(self) -> None:
        if self._announcing:
            await asyncio.wait(self._announcing)

    async def _keep_kinds(self, kinds: Sequence[Kind]) -> None:
        while self._phase != "stopping":
            try:
                await self._store.registry.keep_kinds(kinds)
                await self._membership.serve(self._catalog.ours())
            except (StoreFull, StoreUnavailable, StoreUncertain):
                await asyncio.sleep(_KEEP_AGAIN_S)  # nothing is amiss meanwhile: the kinds are known in here
                continue
            except StoreError as error:
                self._fail(error)
            return

    def health(self) -> Health:
        """Say how the server stands."""
        problems = list(self._workers.problems())
        if self._phase != "running":
            problems.insert(0, f"the server is {self._phase}")
        if self._membership.problem is not None:
            problems.insert(0, self._membership.problem)
        if self._settler.trouble is not None:
            problems.insert(0, self._settler.trouble)
        if self.failed.done():
            problems.insert(0, f"the server has failed: {self.failed.result()}")
        return Health(is_ready=not problems, problems=problems)

    async def stats(self) -> Stats:
        """Count tasks, and say what has happened lately."""
        now_s = self._clock.monotonic()
        return Stats(
            version=self._version,
            uptime_s=now_s - self._begun_s,
            counts=await self._store.tasks.counts(),
            rates=self._pace.rates(now_s=now_s),
            store=await self._store.status(),
        )


class _Ears(Ears):
    """Passes what a turn brings to those it concerns."""

    def __init__(
        self,
        feeder: Feeder,
        attempts: Attempts,
        queues: QueueBoard,
        pace: Pace,
        *,
        unsure: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.wanted = feeder.wanted
        self.unsure = unsure
        self._feeder = feeder
        self._attempts = attempts
        self._queues = queues
        self._pace = pace
        self._clock = clock

    def placed(self, turn: Turn) -> None:
        """Start what the turn has claimed, and count what has happened in it."""
        self._feeder.placed(turn)
        self._queues.take(turn)
        self._pace.take(turn.events, now_s=self._clock.monotonic())

    def cancelling(self, task: Task, grace_s: float | None) -> None:
        """Begin to stop the attempt of a task that runs."""
        if task.state is State.RUNNING:
            self._attempts.cancel(task.number, grace_s=grace_s)
