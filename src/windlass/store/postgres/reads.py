"""The reading half of the Tasks port on PostgreSQL. Writes nothing; pages are in `lists`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from windlass.contracts.queues import Count, QueueRow
from windlass.contracts.tasks import TaskRef, Tombstone
from windlass.core.query import Page, TaskQuery
from windlass.core.queue import Queue
from windlass.core.state import State
from windlass.core.task import FileRow, Task
from windlass.store.postgres import read_statements as sql
from windlass.store.postgres.database import DatabaseAccess
from windlass.store.postgres.driver import Connection, Record
from windlass.store.postgres.lists import read_page
from windlass.store.postgres.rows import file_of, queue_of, task_id, task_of


class TaskReads:
    """What the Tasks port reads. Each statement sees one moment; a page, of several statements, does too."""

    def __init__(self, database: DatabaseAccess) -> None:
        self._database = database

    async def get(self, ref: TaskRef) -> Task | None:
        """Read one task."""
        return await self._task(sql.TASK_BY_NUMBER if isinstance(ref, int) else sql.TASK_BY_ID, ref)

    async def find_of_origin(self, origin: str, origin_number: int) -> Task | None:
        """Read the task that came through `origin` under a number of its own."""
        return await self._task(sql.TASK_OF_ORIGIN, origin, origin_number)

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks."""
        return await self._database.read(partial(read_page, query), is_one_moment=True)

    async def running(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks."""
        return await self._tasks(sql.RUNNING, after, limit)

    async def orphans(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks whose server holds no lease, or which were claimed under none."""
        return await self._tasks(sql.ORPHANS, after, limit)

    async def leased(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read the tasks that run under this store's lease."""
        return await self._tasks(sql.LEASED, after, limit, self._database.server)

    async def cancelling(self) -> Sequence[Task]:
        """Read the tasks that run under this store's lease and are to be cancelled."""
        return await self._tasks(sql.CANCELLING, self._database.server)

    async def versions(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Read the versions of tasks, all at one moment."""
        return dict(map(tuple, await self._rows(sql.VERSIONS, list(numbers))))

    async def payload(self, number: int) -> bytes | None:
        """Read a task's payload."""
        return await self._value(sql.PAYLOAD, number)

    async def result(self, number: int) -> bytes | None:
        """Read a task's result."""
        return await self._value(sql.RESULT, number)

    async def files(self, number: int) -> Sequence[FileRow]:
        """Read a task's files."""
        return [file_of(row) for row in await self._rows(sql.FILES, number)]

    async def tombstone(self, ref: TaskRef) -> Tombstone | None:
        """Read what is left of a deleted task."""
        statement = sql.TOMBSTONE_BY_NUMBER if isinstance(ref, int) else sql.TOMBSTONE_BY_ID
        return next(map(_tombstone_of, await self._rows(statement, ref)), None)

    async def unswept(self, *, limit: int) -> Sequence[Tombstone]:
        """Read tombstones of tasks whose files may still be there."""
        return [_tombstone_of(row) for row in await self._rows(sql.UNSWEPT, limit)]

    async def counts(self) -> Sequence[Count]:
        """Sum up the counters."""
        rows = await self._rows(sql.COUNTS)
        return [Count(queue, kind, State(state), tasks, size) for queue, kind, state, tasks, size in rows]

    async def queues(self) -> Sequence[QueueRow]:
        """Read the queues and what is in them."""
        return await self._database.read(_read_queues, is_one_moment=True)

    async def _task(self, statement: str, *values: Any) -> Task | None:
        return next(iter(await self._tasks(statement, *values)), None)

    async def _tasks(self, statement: str, *values: Any) -> Sequence[Task]:
        return [task_of(row) for row in await self._rows(statement, *values)]

    async def _rows(self, statement: str, *values: Any) -> Sequence[Record]:
        return await self._database.read(lambda connection: connection.fetch(statement, *values))

    async def _value(self, statement: str, *values: Any) -> Any:
        return await self._database.read(lambda connection: connection.fetchval(statement, *values))


async def _read_queues(connection: Connection) -> Sequence[QueueRow]:
    kept = {queue.name: queue for queue in map(queue_of, await connection.fetch(sql.QUEUES))}
    counts: defaultdict[str, dict[str, int]] = defaultdict(dict)
    firsts: dict[str, datetime] = {}
    for name, state, tasks, since in await connection.fetch(sql.COUNTS_OF_QUEUES):
        counts[name][state] = tasks
        if since is not None:
            firsts[name] = since
    return [
        QueueRow(
            queue=kept.get(name, Queue(name=name)),
            queued=counts[name].get(State.QUEUED, 0),
            running=counts[name].get(State.RUNNING, 0),
            ready_since=firsts.get(name),
        )
        for name in sorted(kept.keys() | counts.keys())
    ]


def _tombstone_of(row: Record) -> Tombstone:
    number, uuid, deleted_at, swept = row
    return Tombstone(number, task_id(uuid), deleted_at, swept)
