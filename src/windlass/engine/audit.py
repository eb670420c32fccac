"""Walks a whole store and has it judged, task by task, over the ports alone; see `core.invariants` for the rules.

Writes nothing, and holds one page of tasks and one task's history at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from windlass.contracts.store import Snapshot
from windlass.contracts.tasks import Tasks
from windlass.core.ids import TaskId
from windlass.core.invariants import Rule, StoreJudge, Tally, TaskJudge, Violation
from windlass.core.query import Order, TaskQuery
from windlass.core.task import Task
from windlass.engine.orphans import directories_of, is_orphan
from windlass.wire.codec import encode_json

_PAGE = 500
_NAMES = 500
"""Directories looked up against one moment of the store."""

OnProgress = Callable[[int, int], None]
"""Told after every page: tasks judged, and how many there are by the counters."""


class Audit:
    """One walk over a snapshot; `tasks` and `events` count what was judged."""

    def __init__(self, snapshot: Snapshot, *, on_progress: OnProgress) -> None:
        self._snapshot = snapshot
        self._on_progress = on_progress
        self.tasks = self.events = 0

    async def violations(self, files: Path) -> AsyncIterator[Violation]:
        """Give every rule that does not hold: first of the medium, then of each task, of the sums, and of `files`, the
        directory of all tasks' directories.

        Raises:
            StoreError: it cannot be read any further.
        """
        async for fault in self._snapshot.faults():
            yield Violation(rule=Rule.DATABASE, detail=fault)
        async for violation in self._walk():
            yield violation
        async for violation in self._orphans(files):
            yield violation

    async def _walk(self) -> AsyncIterator[Violation]:
        port = self._snapshot.tasks
        counted = [(Tally(c.queue, c.kind, c.state), c.tasks, c.size_bytes) for c in await port.counts()]
        expected = sum(tasks for _, tasks, _ in counted)
        whole = StoreJudge()
        query = TaskQuery(order=Order.OLDEST, limit=_PAGE)
        while True:
            page = await port.page(query)
            for task in page.tasks:
                whole.take(task, size_bytes=await _size(port, task))
                async for violation in self._judge(task):
                    yield violation
            self._on_progress(self.tasks, expected)
            if page.after is None:
                break
            query = TaskQuery(order=Order.OLDEST, limit=_PAGE, after=page.after)
        has_owner = any(lease.is_live for lease in await self._snapshot.registry.servers())
        for violation in whole.verdict(counted, has_owner=has_owner):
            yield violation

    async def _judge(self, task: Task) -> AsyncIterator[Violation]:
        judge = TaskJudge(task)
        after = 0
        while page := await self._snapshot.events.history(task.number, after=after):
            for event in page:
                judge.take(event)
            self.events += len(page)
            after = page[-1].ordinal
        self.tasks += 1
        for violation in judge.verdict():
            yield violation
        for ref in (task.number, task.id):
            if await self._snapshot.tasks.tombstone(ref) is not None:
                detail = "the task is there, and so is the tombstone of its deletion"
                yield Violation(rule=Rule.TOMBSTONES, detail=detail, number=task.number, task_id=task.id)
                break

    async def _orphans(self, files: Path) -> AsyncIterator[Violation]:
        # RACE: names are read before the store is, so that the task of a directory made meanwhile is seen.
        for names in _in_parts(directories_of(files)):
            await self._snapshot.refresh()
            for name in names:
                if await is_orphan(self._snapshot.tasks, name) and (files / name).is_dir():
                    detail = f"{files / name} belongs to no task"
                    yield Violation(rule=Rule.FILES, detail=detail, task_id=name)


def _in_parts(names: Iterable[TaskId]) -> Iterator[list[TaskId]]:
    rest = iter(names)
    while part := list(islice(rest, _NAMES)):
        yield part


async def _size(port: Tasks, task: Task) -> int:
    """Say how many bytes the payload, the result and the error of a task take."""
    payload, result = await port.payload(task.number), await port.result(task.number)
    error = b"" if task.error is None else encode_json(task.error)
    return len(payload or b"") + len(result or b"") + len(error)
