"""The Tasks port on PostgreSQL: one turn, one transaction. The work is in `turn` and `claim`, the reads in `reads`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from windlass.contracts.clock import Ids
from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import Turn, Wanted, Write
from windlass.store.postgres import statements as sql
from windlass.store.postgres.claim import Claimer
from windlass.store.postgres.database import Database
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.floors import Floors
from windlass.store.postgres.lanes import Lanes
from windlass.store.postgres.ledger import Ledger
from windlass.store.postgres.promote import promote
from windlass.store.postgres.queues import Queues
from windlass.store.postgres.reads import TaskReads
from windlass.store.postgres.ready import Rotation
from windlass.store.postgres.start import Starter
from windlass.store.postgres.turn import TurnWriter
from windlass.store.postgres.wakes import PostgresWakes


class PostgresTasks(TaskReads):
    """The Tasks port. What it remembers between turns is forgotten with every transaction that was undone."""

    def __init__(
        self, database: Database, ids: Ids, wakes: PostgresWakes, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(database)
        self._writer = database
        self._ids = ids
        self._wakes = wakes
        self._monotonic = monotonic
        self._rotation = Rotation()
        self._forget()
        database.on_rollback(self._forget)

    def _forget(self) -> None:
        self._lanes = Lanes()
        self._floors = Floors(self._monotonic)

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Apply `writes`, promote what is due, claim: one transaction. Then tell other servers what has changed."""

        async def make(connection: Connection) -> tuple[Turn, Ledger, Rotation]:
            return await self._make(connection, writes, wanted, now=now)

        has_set = any(isinstance(write, SetQueue | DeclareQueues) for write in writes)
        lock = sql.CHANGE_QUEUES if has_set else sql.GO_BY_QUEUES
        turn, ledger, self._rotation = await self._writer.write(make, first=lock)
        self._wakes.tell(
            numbers={event.number for event in turn.events} | ledger.touched,
            has_work=has_set or ledger.has_freed or bool(ledger.left_ready),
            has_news=has_set,
        )
        return turn

    async def _make(
        self, connection: Connection, writes: Sequence[Write], wanted: Wanted, *, now: datetime
    ) -> tuple[Turn, Ledger, Rotation]:
        server = self._writer.server
        opened = await connection.fetchrow(sql.OPEN, server)
        may_claim = server is None or (opened is not None and opened[0] is True)
        known = await connection.fetch(sql.KNOWN, self._lanes.last)
        self._lanes.learn(tuple(row)[:5] for row in known if row[0] is not None)
        queues = Queues(connection, [(row[1], *tuple(row)[5:]) for row in known if row[0] is None])
        ledger = Ledger(connection, self._lanes, queues, floors=self._floors, now=now)
        results = await TurnWriter(ledger).apply(writes)
        next_due_at = await promote(ledger)
        rotation = self._rotation.copy()
        claimer = Claimer(ledger, rotation, Starter(ledger, ids=self._ids, server=server))
        claimed = await claimer.claim(wanted if may_claim else Wanted())
        await ledger.close()
        return Turn(results=results, claimed=claimed, events=ledger.events, next_due_at=next_due_at), ledger, rotation
