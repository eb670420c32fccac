"""The embedded store: one SQLite file in a data directory that one server owns. Ties its ports together, no more."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Final

import apsw

from windlass.contracts.clock import Ids
from windlass.contracts.store import StoreStatus
from windlass.store.lock import DirectoryLock
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import check_library
from windlass.store.sqlite.database import Database
from windlass.store.sqlite.driver import Connection
from windlass.store.sqlite.events import SqliteEvents
from windlass.store.sqlite.keys import SqliteKeys
from windlass.store.sqlite.place import file_bytes, log_of, refuse_network
from windlass.store.sqlite.registry import SqliteRegistry
from windlass.store.sqlite.tasks import SqliteTasks
from windlass.store.tenure import Tenure
from windlass.store.wakes import NoWakes

DATABASE_FILE: Final = "windlass.db"


class SqliteStore:
    """A store in a file, open; see `open_sqlite`."""

    def __init__(self, database: Database, lock: DirectoryLock, ids: Ids) -> None:
        tenure = Tenure()
        self.tasks = SqliteTasks(database, ids, tenure)
        self.events = SqliteEvents(database)
        self.registry = SqliteRegistry(database, tenure)
        self.wakes = NoWakes()
        self.keys = SqliteKeys(database)
        self._database = database
        self._lock = lock

    async def status(self) -> StoreStatus:
        """Say how the file and its log stand."""
        return await self._database.read(partial(_status, self._database))

    async def close(self) -> None:
        """Finish what is under way, checkpoint, let go of the file and then of the directory. Idempotent."""
        try:
            await self._database.close()
        finally:
            self._lock.release()


async def open_sqlite(data: Path, *, ids: Ids) -> SqliteStore:
    """Open the store in the directory `data`, making either where needed.

    Raises:
        ConfigError: the directory cannot be used, or lies on a network file system, or the installed SQLite is one that
            must not be used.
        StoreUnavailable: another process owns the directory.
        SchemaMismatch: another version of windlass wrote the file. It was not touched.
        StoreError: the file cannot be opened, or not safely.
    """
    check_library(apsw.sqlite_lib_version())
    await asyncio.to_thread(refuse_network, data)
    lock = await asyncio.to_thread(DirectoryLock, data)
    database = Database(data / DATABASE_FILE)
    try:
        await database.open()
    except BaseException:
        try:
            await database.close()
        finally:
            lock.release()
        raise
    return SqliteStore(database, lock, ids)


def _status(database: Database, connection: Connection) -> StoreStatus:
    (schema,) = connection.execute(sql.SCHEMA_VERSION).fetchall()[0]
    return StoreStatus(
        kind="sqlite",
        place=str(database.path),
        schema=schema,
        library=f"SQLite {apsw.sqlite_lib_version()}",
        size_bytes=file_bytes(database.path),
        log_bytes=file_bytes(log_of(database.path)),
        has_room=database.has_room,
    )
