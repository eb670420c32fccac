"""The Events port on SQLite: reads the log that turns append to. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from windlass.core.task import Event
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.database import DatabaseAccess
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.rows import event_of


class SqliteEvents:
    """The Events port."""

    def __init__(self, database: DatabaseAccess) -> None:
        self._database = database

    async def history(self, number: int, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of one task."""
        return await self._database.read(partial(_events, sql.HISTORY, (number, after, limit)))

    async def log(self, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of all tasks."""
        return await self._database.read(partial(_events, sql.LOG, (after, limit)))


def _events(statement: str, values: Row, connection: Connection) -> Sequence[Event]:
    return [event_of(row) for row in connection.execute(statement, values)]
