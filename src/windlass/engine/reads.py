"""The reading half of `contracts.engine_api`: the store as it stands, and waiting for it to change."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence

from windlass.contracts.clock import Clock
from windlass.contracts.engine_api import KindStatus, QueueStatus
from windlass.contracts.store import Store
from windlass.contracts.tasks import TaskRef
from windlass.core.history import Attempt, attempts_of
from windlass.core.limits import ATTEMPTS_SHOWN
from windlass.core.query import Page, TaskQuery
from windlass.core.state import EventName
from windlass.core.task import Event, FileRow, Task
from windlass.core.waiting import Waiting, waiting_for
from windlass.engine.bus import Bus
from windlass.engine.catalog import Catalog
from windlass.engine.queues import QueueBoard
from windlass.errors import NotFoundError


class Reads:
    """Reads of one server's engine. `files` is the directory of all tasks' directories.

    Concurrency: of one event loop.
    """

    def __init__(
        self, store: Store, bus: Bus, catalog: Catalog, *, clock: Clock, files: str, queues: QueueBoard
    ) -> None:
        self._tasks = store.tasks
        self._events = store.events
        self._bus = bus
        self._catalog = catalog
        self._clock = clock
        self._files = files
        self._queues = queues

    async def get(self, ref: TaskRef) -> Task:
        """Read a task."""
        task = await self._tasks.get(ref)
        if task is None:
            raise await self._missing(ref)
        return task

    async def find_of_origin(self, origin: str, number: int) -> Task:
        """Read a task by the dialect it came through and its number there."""
        task = await self._tasks.find_of_origin(origin, number)
        if task is None:
            raise NotFoundError(f"there is no task {number} of {origin}", code="task_not_found")
        return task

    async def payload(self, task: Task) -> bytes:
        """Read the payload of `task`."""
        payload = await self._tasks.payload(task.number)
        if payload is None:
            raise await self._missing(task.id)
        return payload

    async def result(self, task: Task) -> bytes | None:
        """Read the result of `task`."""
        return await self._tasks.result(task.number)

    async def files(self, task: Task) -> Sequence[FileRow]:
        """Read the files of `task`."""
        return await self._tasks.files(task.number)

    async def attempts(self, task: Task) -> Sequence[Attempt]:
        """Read the attempts of `task`."""
        attempts: deque[Attempt] = deque(maxlen=ATTEMPTS_SHOWN)
        left: list[Event] = []
        after = 0
        while page := await self._events.history(task.number, after=after):
            # A page may end between the start of an attempt and its end: keep the start for the next.
            begun = left + list(page)
            last = max((n for n, event in enumerate(begun) if event.name is EventName.STARTED), default=0)
            attempts.extend(attempts_of(begun[:last]))
            left, after = begun[last:], page[-1].ordinal
        attempts.extend(attempts_of(left))
        return list(attempts)

    def file_path(self, task: Task, file: FileRow) -> str:
        """Say where a completed file lies."""
        return os.path.join(self._directory(task), file.name)  # noqa: PTH118 a string crosses the port

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks."""
        return await self._tasks.page(query)

    async def wait_for_change(self, ref: TaskRef, *, version: int | None, timeout_s: float) -> Task:
        """Wait until the task has changed or ended, or time is up."""
        task = await self.get(ref)
        seen = task.version if version is None else version
        return await self._wait(task, lambda now: now.version > seen or now.state.has_ended, timeout_s)

    async def wait_for_end(self, ref: TaskRef, *, timeout_s: float) -> Task:
        """Wait until the task has ended, or time is up."""
        return await self._wait(await self.get(ref), lambda now: now.state.has_ended, timeout_s)

    async def _wait(self, task: Task, is_enough: Callable[[Task], bool], timeout_s: float) -> Task:
        if is_enough(task):
            return task
        with self._bus.listen(task.number, version=task.version) as changed:
            try:
                async with asyncio.timeout(timeout_s):
                    while not is_enough(task := await self.get(task.number)) and not self._bus.is_closed:
                        await changed.wait()
                        changed.clear()
            except TimeoutError:
                return await self.get(task.number)
        return task

    def waiting(self, task: Task) -> Waiting | None:
        """Say what a queued task waits for."""
        queue, running = self._queues.find(task.queue)
        is_kind_live = self._catalog.is_live(task.kind)
        return waiting_for(task, now=self._clock.now(), is_kind_live=is_kind_live, queue=queue, running=running)

    async def queues(self) -> Sequence[QueueStatus]:
        """Describe all queues."""
        return await self._queues.statuses()

    async def queue(self, name: str) -> QueueStatus:
        """Describe one queue."""
        return await self._queues.status(name)

    async def kinds(self) -> Sequence[KindStatus]:
        """Say which kinds are known."""
        return self._catalog.statuses()

    async def _missing(self, ref: TaskRef) -> NotFoundError:
        """Say of a task that is not there whether it ever was."""
        if await self._tasks.tombstone(ref) is not None:
            return NotFoundError(f"task {ref} was deleted", code="task_deleted")
        return NotFoundError(f"there is no task {ref}", code="task_not_found")

    def _directory(self, task: Task) -> str:
        return f"{self._files}{os.sep}{task.id}"
