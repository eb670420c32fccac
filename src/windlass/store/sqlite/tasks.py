"""The Tasks port on SQLite: what runs on which thread, in which transaction. The work is in `turn` and `claim`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

from windlass.contracts.clock import Ids
from windlass.contracts.queues import Count, QueueRow
from windlass.contracts.tasks import TaskRef, Tombstone, Turn, Wanted, Write
from windlass.core.query import Page, TaskQuery
from windlass.core.task import FileRow, Task
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.claim import Claimer, promote
from windlass.store.sqlite.connections import transaction
from windlass.store.sqlite.counters import read_counts
from windlass.store.sqlite.database import DatabaseAccess
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.ledger import Known, Ledger
from windlass.store.sqlite.lists import read_page
from windlass.store.sqlite.queues import read_queues
from windlass.store.sqlite.removal import read_tombstone, read_unswept
from windlass.store.sqlite.reserve import ration
from windlass.store.sqlite.rows import file_of, id_blob, task_of
from windlass.store.sqlite.turn import TurnWriter
from windlass.store.tenure import Tenure
from windlass.wire.codec import encode_view


class SqliteTasks:
    """The Tasks port. `_known` and `_served` are touched on the writing thread only."""

    def __init__(self, database: DatabaseAccess, ids: Ids, tenure: Tenure) -> None:
        self._database = database
        self._ids = ids
        self._known = Known()
        self._served: str | None = None
        self._tenure = tenure

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Apply `writes`, promote what is due, claim: one transaction."""
        return await self._database.write(partial(self._turn, writes, wanted, now))

    async def get(self, ref: TaskRef) -> Task | None:
        """Read one task."""
        row = await self._database.read(partial(_first, *_find(ref)))
        return None if row is None else task_of(row)

    async def find_of_origin(self, origin: str, origin_number: int) -> Task | None:
        """Read the task that came through `origin` under a number of its own."""
        row = await self._database.read(partial(_first, sql.TASK_OF_ORIGIN, (origin, origin_number)))
        return None if row is None else task_of(row)

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks."""
        return await self._database.read(partial(read_page, query))

    async def running(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks."""
        return [task_of(row) for row in await self._database.read(partial(_all, sql.RUNNING, (after, limit)))]

    async def orphans(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read what ran when the only server enrolled, until its first claim."""
        return [] if self._tenure.has_claimed else await self.running(after=after, limit=limit)

    async def leased(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read the running tasks once the only server has claimed: nobody else's run then."""
        return await self.running(after=after, limit=limit) if self._tenure.has_claimed else []

    async def cancelling(self) -> Sequence[Task]:
        """Read the running tasks that are to be cancelled."""
        return [task_of(row) for row in await self._database.read(partial(_all, sql.CANCELLING, ()))]

    async def versions(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Read the versions of tasks."""
        asked = encode_view(list(numbers)).decode()
        return dict(await self._database.read(partial(_all, sql.VERSIONS, (asked,))))

    async def payload(self, number: int) -> bytes | None:
        """Read a task's payload."""
        return await self._blob(sql.PAYLOAD, number)

    async def result(self, number: int) -> bytes | None:
        """Read a task's result."""
        return await self._blob(sql.RESULT, number)

    async def files(self, number: int) -> Sequence[FileRow]:
        """Read a task's files."""
        return [file_of(row) for row in await self._database.read(partial(_all, sql.FILES, (number,)))]

    async def tombstone(self, ref: TaskRef) -> Tombstone | None:
        """Read what is left of a deleted task."""
        return await self._database.read(partial(read_tombstone, ref))

    async def unswept(self, *, limit: int) -> Sequence[Tombstone]:
        """Read tombstones of tasks whose files may still be there."""
        return await self._database.read(partial(read_unswept, limit))

    async def counts(self) -> Sequence[Count]:
        """Read the counters."""
        return await self._database.read(read_counts)

    async def queues(self) -> Sequence[QueueRow]:
        """Read the queues and what is in them."""
        return await self._database.read(read_queues)

    async def _blob(self, statement: str, number: int) -> bytes | None:
        row = await self._database.read(partial(_first, statement, (number,)))
        return None if row is None else row[0]

    def _turn(self, writes: Sequence[Write], wanted: Wanted, now: datetime, connection: Connection) -> Turn:
        if self._database.has_room:
            return self._whole_turn(writes, wanted, now, connection)
        return ration(lambda kept, nothing: self._whole_turn(kept, nothing, now, connection), writes)

    def _whole_turn(self, writes: Sequence[Write], wanted: Wanted, now: datetime, connection: Connection) -> Turn:
        try:
            with transaction(connection):
                ledger = Ledger(connection, self._known, now=now)
                results = TurnWriter(ledger).apply(writes)
                next_due_at = promote(connection, now=now)
                claimed, served = Claimer(ledger, ids=self._ids).claim(wanted, now=now, served=self._served)
                ledger.close()
        except BaseException:
            self._known.forget()
            raise
        self._served = served
        self._tenure.take(len(claimed))
        return Turn(results=results, claimed=claimed, events=ledger.events, next_due_at=next_due_at)


def _find(ref: TaskRef) -> tuple[str, Row]:
    """Say which statement finds a task, and with what."""
    return (sql.TASK_BY_NUMBER, (ref,)) if isinstance(ref, int) else (sql.TASK_BY_ID, (id_blob(ref),))


def _first(statement: str, values: Row, connection: Connection) -> Row | None:
    return connection.execute(statement, values).fetchone()


def _all(statement: str, values: Row, connection: Connection) -> Sequence[Row]:
    return connection.execute(statement, values).fetchall()
