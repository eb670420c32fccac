"""The Events port on PostgreSQL: reads the log that turns append to. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from windlass.core.task import Event
from windlass.store.postgres import read_statements as sql
from windlass.store.postgres.database import DatabaseAccess
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.rows import event_of

_LAST: Final = 2**63 - 1
"""LIMIT: of the seqs that can be given out."""


class Horizon(Protocol):
    """How far the log can be read in order."""

    async def look(self, database: DatabaseAccess) -> int:
        """Give a seq up to which nothing more will be appended, or nothing that a reader would see."""
        ...


class Endless:
    """The horizon of a log that does not move: what is not there at its moment is not expected any more."""

    async def look(self, database: DatabaseAccess) -> int:
        """Give a seq behind all others."""
        del database
        return _LAST


class Decided:
    """The horizon of a log that servers append to while it is read.

    RACE: a seq is taken before it is committed, so one that was taken earlier may be committed later. Whoever takes one
    holds a lock on their sequence until its transaction ends, and lets go of it only when others can see what it did.
    So the last seq is read first, and then who holds such a lock; once none of these does any more, all up to that seq
    is decided, for good. Looks may cross: whom one waits for is taken from before it asks who is left.
    """

    def __init__(self) -> None:
        self._decided = 0
        self._awaited: tuple[int, frozenset[str]] = (0, frozenset())
        """The seq that is decided next, and those that held a lock when it was read."""

    async def look(self, database: DatabaseAccess) -> int:
        """Give the last seq that is known to be decided."""
        awaited, by = self._awaited
        last, holders = await database.read(_last_and_holders)
        if not holders:
            self._decided = max(self._decided, last)
        elif not by & holders:
            self._decided = max(self._decided, awaited)
            self._awaited = last, holders
        return self._decided


class PostgresEvents:
    """The Events port."""

    def __init__(self, database: DatabaseAccess, horizon: Horizon | None = None) -> None:
        self._database = database
        self._horizon = horizon or Decided()

    async def history(self, number: int, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of one task."""
        return await self._events(sql.HISTORY, number, after, limit)

    async def log(self, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of all tasks that none can come before any more."""
        return await self._events(sql.LOG, after, await self._horizon.look(self._database), limit)

    async def _events(self, statement: str, *values: int) -> Sequence[Event]:
        async def fetch(connection: Connection) -> Sequence[Event]:
            return [event_of(row) for row in await connection.fetch(statement, *values)]

        return await self._database.read(fetch)


async def _last_and_holders(connection: Connection) -> tuple[int, frozenset[str]]:
    last = await connection.fetchval(sql.LAST_SEQ)
    return last, frozenset(holder for (holder,) in await connection.fetch(sql.HOLDERS))
