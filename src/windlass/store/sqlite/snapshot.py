"""The file as somebody reads it who does not own it: at one moment, beside a server that may be running.

Takes no lock of ours and writes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import apsw

from windlass.contracts.clock import Ids
from windlass.contracts.store import StoreFacts
from windlass.errors import SchemaMismatch, StoreUnavailable
from windlass.store.instants import from_micros
from windlass.store.sqlite import schema
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import border, open_reader
from windlass.store.sqlite.driver import Connection
from windlass.store.sqlite.events import SqliteEvents
from windlass.store.sqlite.place import file_bytes, log_of
from windlass.store.sqlite.registry import SqliteRegistry
from windlass.store.sqlite.reserve import RESERVE_FILE
from windlass.store.sqlite.tasks import SqliteTasks
from windlass.store.sqlite.upkeep import find_database
from windlass.store.tenure import Tenure

T = TypeVar("T")


class View:
    """One connection that only reads, used by one caller at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def has_room(self) -> bool:
        """Claim nothing about the disk: nobody writes here."""
        return True

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run `job` here: whoever takes a snapshot has no loop to keep turning."""
        with border():
            return job(self._connection)

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Refuse."""
        del job
        raise StoreUnavailable("a snapshot cannot be written to: open the store itself")

    async def check_file(self) -> None:
        """Refuse, like `write`: this is no server."""
        raise StoreUnavailable("a snapshot has no server: open the store itself")


class SqliteSnapshot:
    """The ports of a store on one moment of its file; `refresh` moves on to the present one."""

    def __init__(self, connection: Connection, path: Path, ids: Ids) -> None:
        view = View(connection)
        self._path = path
        self.tasks = SqliteTasks(view, ids, Tenure())
        self.events = SqliteEvents(view)
        self.registry = SqliteRegistry(view, Tenure())
        self._connection = connection
        self._see()

    async def refresh(self) -> None:
        """See the file as it stands now."""
        self._see()

    def _see(self) -> None:
        with border():
            if self._connection.in_transaction:
                self._connection.execute(sql.ROLLBACK)
            self._connection.execute(sql.BEGIN_READING)
            self._connection.execute(sql.SPAN).fetchall()  # the moment is that of the first read

    async def facts(self) -> StoreFacts:
        """Say what the store is made of."""
        with border():
            (schema_version,) = self._connection.execute(sql.SCHEMA_VERSION).fetchall()[0]
            (ended_at,) = self._connection.execute(sql.OLDEST_END).fetchall()[0]
        return StoreFacts(
            place=str(self._path),
            schema=schema_version,
            library=apsw.sqlite_lib_version(),
            size_bytes=file_bytes(self._path),
            log_bytes=file_bytes(log_of(self._path)),
            reserve_bytes=file_bytes(self._path.with_name(RESERVE_FILE)),
            oldest_ended_at=None if ended_at is None else from_micros(ended_at),
        )

    async def faults(self) -> AsyncIterator[str]:
        """Have SQLite check its file, and say what it finds: damage, broken constraints, references to nothing."""
        with border():
            for (fault,) in self._connection.execute(sql.CHECK_FILE):
                if fault != "ok":
                    yield fault
            for table, row, parent, _ in self._connection.execute(sql.CHECK_REFERENCES):
                yield f"row {row} of {table} refers to a row of {parent} that is not there"

    async def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def open_snapshot(data: Path, *, ids: Ids) -> SqliteSnapshot:
    """Open the store in the directory `data` for reading, as it stands now.

    Raises:
        NotFoundError: there is none.
        SchemaMismatch: another version of windlass wrote it.
        StoreError: it cannot be read.
    """
    path = find_database(data)
    if lacking := schema.check(path):
        raise SchemaMismatch(
            f"{path} lacks steps of its schema, from {lacking[0].version} ({lacking[0].name}) on: take "
            "them with `windlass db migrate`, or by starting the server"
        )
    with border():
        connection = open_reader(path)
        try:
            return SqliteSnapshot(connection, path, ids)
        except BaseException:
            connection.close()
            raise
