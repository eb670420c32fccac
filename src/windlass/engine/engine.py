"""The engine: implements `contracts.engine_api`, starts and stops the loops. Holds no rules."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence

import msgspec

from windlass.config.schema import Settings
from windlass.contracts.clock import Clock, Ids
from windlass.contracts.engine_api import Health, Submission
from windlass.contracts.link import Workers
from windlass.contracts.registry import ServerRow
from windlass.contracts.store import Store
from windlass.contracts.tasks import (
    Applied,
    Hold,
    Refusal,
    Release,
    RequestCancel,
    Retry,
    Submit,
    TaskRef,
    WriteResult,
)
from windlass.core.ids import ServerId
from windlass.core.kind import Kind
from windlass.core.state import State
from windlass.core.stop import StopReason
from windlass.core.task import Task
from windlass.engine.attempts import Attempts
from windlass.engine.bus import Bus
from windlass.engine.catalog import Catalog
from windlass.engine.feeder import Feeder
from windlass.engine.intake import make_task
from windlass.engine.keeper import Keeper
from windlass.engine.reads import Reads
from windlass.engine.reaper import Reaper
from windlass.engine.runner import RunnerTools
from windlass.engine.settler import Ears, Settler
from windlass.errors import ConflictError, KeyConflict, NotFoundError, StoreError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()


class EngineParts(msgspec.Struct, frozen=True):
    """What an engine is put together from. `files` is the directory of all tasks' directories."""

    store: Store
    workers: Workers
    clock: Clock
    ids: Ids
    server: ServerId
    files: str


class Engine(Reads):
    """One server's engine.

    Concurrency: of one event loop.
    """

    def __init__(self, settings: Settings, parts: EngineParts, *, version: str) -> None:
        bus, catalog, tasks = Bus(), Catalog(), parts.store.tasks
        super().__init__(parts.store, bus, catalog, clock=parts.clock, files=parts.files)
        self._version = version
        self._store = parts.store
        self._workers = parts.workers
        self._ids, self._server = parts.ids, parts.server
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._settler = Settler(tasks, bus, parts.clock, on_failure=self._fail)
        self._reaper = Reaper(tasks, self._settler, clock=parts.clock, ids=parts.ids)
        tools = RunnerTools(self._settler, parts.workers, parts.clock, parts.ids, settings.stop_times, self._directory)
        self._attempts = Attempts(tools, on_failure=self._fail)
        self._feeder = Feeder(
            self._settler,
            parts.workers,
            run=self._attempts.begin,
            clock=parts.clock,
            ids=parts.ids,
            on_failure=self._fail,
        )
        self._keeper = Keeper(
            parts.store.registry,
            parts.server,
            clock=parts.clock,
            times=settings.stop_times,
            on_failure=self._fail,
        )
        self._settler.tell(_Ears(self._feeder, self._attempts))
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
            )
        )
        self._catalog.load(await registry.kinds())
        left = await registry.workers()
        await self._workers.start(on_room=self._feeder.on_room, on_kinds=self._announce)
        await self._workers.clear(left)
        for worker in left:
            await registry.forget_worker(worker)
        self._settler.start()
        self._keeper.start()
        recovered = await self._reaper.recover()
        if left or recovered:
            _log.info(words.RECOVERED, tasks=recovered, workers=len(left))
        self._phase = "running"
        self._feeder.open()

    async def drain(self) -> None:
        """Claim nothing more, let attempts end, take those that do not down the ladder, and see them all settled."""
        self._phase = "stopping"
        await self._feeder.close()
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
        self._settler.close()
        await self._feeder.close()
        await self._settler.turned()
        self._attempts.stop_all(StopReason.HURRY)
        await self._workers.stop()
        await self._attempts.wait()
        if self._announcing:
            await asyncio.wait(self._announcing)
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
        try:
            await self._store.registry.keep_kinds(kinds)
        except StoreError as error:
            self._fail(error)

    def health(self) -> Health:
        """Say how the server stands."""
        problems = list(self._workers.problems())
        if self._phase != "running":
            problems.insert(0, f"the server is {self._phase}")
        if self._settler.trouble is not None:
            problems.insert(0, f"the last write failed: {self._settler.trouble}")
        if self.failed.done():
            problems.insert(0, f"the server has failed: {self.failed.result()}")
        return Health(is_ready=not problems, problems=problems)

    # EngineApi: writes ───────────────────────────────────────────

    async def submit(self, submission: Submission) -> tuple[Task, bool]:
        """Store a task; false when its key met the same task again."""
        kind = self._catalog.find(submission.kind, all_have_said_hello=not self._workers.problems())
        self._catalog.check(kind.name, submission.payload)
        new = make_task(submission, kind, id=self._ids.task_id(), now=self._clock.now())
        result = await self._settler.write(Submit(new))
        if isinstance(result, Applied):
            assert result.task is not None
            return result.task, result.created
        shown = (submission.key or "")[:64]
        raise KeyConflict(
            f"the key '{shown}' belongs to a task of kind {kind.name} with other content", task=result.task
        )

    async def cancel(self, ref: TaskRef, *, reason: str | None = None, grace_s: float | None = None) -> Task:
        """Cancel a queued task, or have a running one stopped."""
        result = await self._settler.write(RequestCancel(ref, self._clock.now(), reason, grace_s))
        return _applied(result, ref, "cannot be cancelled any more")

    async def retry(self, ref: TaskRef) -> Task:
        """Queue an ended task again."""
        result = await self._settler.write(Retry(ref, self._clock.now()))
        return _applied(result, ref, "has not ended, so there is nothing to retry")

    async def hold(self, ref: TaskRef) -> Task:
        """Keep a queued task from starting."""
        result = await self._settler.write(Hold(ref, self._clock.now()))
        return _applied(result, ref, "is not queued, so it cannot be held")

    async def release(self, ref: TaskRef) -> Task:
        """Let a held task start."""
        result = await self._settler.write(Release(ref, self._clock.now()))
        return _applied(result, ref, "is not held")


class _Ears(Ears):
    """Passes what a turn brings to those it concerns."""

    def __init__(self, feeder: Feeder, attempts: Attempts) -> None:
        self.wanted = feeder.wanted
        self.placed = feeder.placed
        self._attempts = attempts

    def cancelling(self, task: Task, grace_s: float | None) -> None:
        """Begin to stop the attempt of a task that runs."""
        if task.state is State.RUNNING:
            self._attempts.cancel(task.number, grace_s=grace_s)


def _applied(result: WriteResult, ref: TaskRef, otherwise: str) -> Task:
    if isinstance(result, Applied):
        assert result.task is not None
        return result.task
    if result.why is Refusal.MISSING or result.task is None:
        raise NotFoundError(f"there is no task {ref}", code="task_not_found")
    raise ConflictError(f"task {ref} is {result.task.state}: it {otherwise}", code="task_state", task=result.task)
