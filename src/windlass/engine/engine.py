"""The engine: implements `contracts.engine_api`, starts and stops the loops. Holds no rules."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

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
from windlass.core.limits import LEASE_TTL_S
from windlass.core.state import State
from windlass.core.stop import StopReason
from windlass.core.task import Task
from windlass.engine.attempts import Attempts
from windlass.engine.bus import Bus
from windlass.engine.catalog import Catalog
from windlass.engine.feeder import Feeder
from windlass.engine.intake import Intake
from windlass.engine.janitor import Janitor
from windlass.engine.keeper import Keeper
from windlass.engine.pace import Pace
from windlass.engine.queues import QueueBoard
from windlass.engine.reaper import Reaper
from windlass.engine.remains import Remains
from windlass.engine.runner import RunnerTools
from windlass.engine.settler import Ears, Settler
from windlass.engine.writes import Writes, WriteTools
from windlass.errors import StoreError, StoreFull, StoreUnavailable
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_KEEP_AGAIN_S = 1.0


class EngineParts(msgspec.Struct, frozen=True):
    """What an engine is put together from. `files` is the directory of all tasks' directories."""

    store: Store
    workers: Workers
    clock: Clock
    ids: Ids
    server: ServerId
    files: str


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
        self._server = parts.server
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
        self._keeper = Keeper(
            parts.store.registry,
            parts.server,
            clock=parts.clock,
            times=settings.stop_times,
            on_failure=self._fail,
        )
        self._janitor = Janitor(
            tasks,
            settler,
            keep=settings.retention,
            remains=tools.remains,
            clock=parts.clock,
            ids=parts.ids,
            on_failure=self._fail,
        )
        self._settler.tell(_Ears(self._feeder, self._attempts, queues, self._pace, clock=parts.clock))
        self._announcing: set[asyncio.Task[None]] = set()
        self._phase = "starting"

    # life ────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Take the store over: see the earlier server's workers gone, take its tasks back, begin to claim.

        Raises:
            WorkerError: a worker of the earlier server does not go away.
            StoreError: the store cannot be used.
        """
        registry = self._store.registry
        await registry.enroll(
            ServerRow(
                id=self._server,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=self._version,
                started_at=self._clock.now(),
            ),
            ttl_s=LEASE_TTL_S,
        )
        self._catalog.load(await registry.kinds())
        left = await registry.workers()
        await self._workers.start(on_room=self._feeder.on_room, on_kinds=self._announce)
        await self._workers.clear(left)
        for worker in left:
            await registry.forget_worker(worker)
        self._settler.start()
        self._keeper.start()
        await self._queues.declare(self._queue_defaults)
        recovered = await self._reaper.recover()
        if left or recovered:
            _log.info(words.RECOVERED, tasks=recovered, workers=len(left))
        self._phase = "running"
        self._feeder.open()
        self._janitor.start()

    async def drain(self) -> None:
        """Claim nothing more, let attempts end, take those that do not down the ladder, and see them all settled."""
        self._phase = "stopping"
        await self._janitor.stop()
        self._feeder.close()
        await self._settler.turned()
        self._attempts.stop_all(StopReason.DRAIN)
        await self._attempts.wait()

    def hurry(self) -> None:
        """Cut a drain short."""
        self._attempts.stop_all(StopReason.HURRY)

    async def stop(self) -> None:
        """End everything; after `drain`, nothing is running any more. Idempotent."""
        self._phase = "stopping"
        self._bus.close()
        await self._janitor.stop()
        self._settler.close()
        self._feeder.close()
        await self._settler.turned()
        self._attempts.stop_all(StopReason.HURRY)
        await self._workers.stop()
        await self._attempts.wait()
        if self._announcing:
            await asyncio.wait(self._announcing)
        await self._remains.wait()
        await self._settler.stop()
        await self._keeper.stop()

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)

    def _announce(self, app: str, kinds: Sequence[Kind]) -> None:
        self._catalog.announce(app, kinds)
        _log.info(words.KINDS_ANNOUNCED, app=app, kinds=[kind.name for kind in kinds])
        keeping = asyncio.create_task(self._keep_kinds(kinds))
        self._announcing.add(keeping)
        keeping.add_done_callback(self._announcing.discard)

    async def _keep_kinds(self, kinds: Sequence[Kind]) -> None:
        while self._phase != "stopping":
            try:
                await self._store.registry.keep_kinds(kinds)
            except (StoreFull, StoreUnavailable):
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

    def __init__(self, feeder: Feeder, attempts: Attempts, queues: QueueBoard, pace: Pace, *, clock: Clock) -> None:
        self.wanted = feeder.wanted
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
