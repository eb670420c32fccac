"""The store that servers share: a PostgreSQL database. Ties its ports together, no more."""

from __future__ import annotations

from typing import Final

from windlass.config.schema import Postgres
from windlass.contracts.clock import Ids
from windlass.contracts.store import StoreStatus
from windlass.store.postgres import schema
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.database import Database
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.events import Decided, PostgresEvents
from windlass.store.postgres.heart import Heart
from windlass.store.postgres.keys import PostgresKeys
from windlass.store.postgres.registry import PostgresRegistry
from windlass.store.postgres.tasks import PostgresTasks
from windlass.store.postgres.upkeep import Upkeep
from windlass.store.postgres.wakes import PostgresWakes

_SIZE: Final = """-- How large the database is, and what serves it.
SELECT pg_database_size(current_database()), current_setting('server_version')"""


class PostgresStore:
    """A store in a database, open; see `open_postgres`."""

    def __init__(self, database: Database, connector: Connector, settings: Postgres, ids: Ids) -> None:
        self._database = database
        self._heart = Heart(connector, settings)
        self._upkeep = Upkeep(database)
        self.wakes = PostgresWakes(connector, settings, database.writer)
        self.tasks = PostgresTasks(database, ids, self.wakes)
        self.events = PostgresEvents(database, Decided())
        self.registry = PostgresRegistry(database, self._heart, self.wakes, settings)
        self.keys = PostgresKeys(database, self.wakes)

    def keep_up(self) -> None:
        """Begin to look after the database, in the calling loop."""
        self._upkeep.start()

    async def status(self) -> StoreStatus:
        """Say how large the database is; of the room on its disk it says nothing before there is none."""
        version, size_bytes, library = await self._database.read(_status)
        return StoreStatus(
            kind="postgresql",
            place=self._database.place,
            schema=version,
            library=f"PostgreSQL {library}",
            size_bytes=size_bytes,
            log_bytes=None,
            has_room=True,
        )

    async def close(self) -> None:
        """Finish what is under way, and let go of every connection. Idempotent."""
        await self._upkeep.stop()
        await self._database.close()
        await self.wakes.close()
        await self._heart.close()


async def open_postgres(url: str, *, ids: Ids, settings: Postgres, keeps_up: bool = True) -> PostgresStore:
    """Open the store in the database at `url`, and bring its schema up to date where needed.

    Waits for a database that cannot be reached. With `keeps_up` the store looks after the database while it is open.

    Raises:
        ConfigError: the url or the database cannot be used.
        StoreUnavailable: the database could not be reached in time.
        SchemaMismatch: another version of windlass wrote it. It was not touched.
        StoreError: it cannot be used.
    """
    connector = Connector(url, settings)
    database = Database(connector, settings)
    try:
        await database.open()
    except BaseException:
        await database.close()
        raise
    store = PostgresStore(database, connector, settings, ids)
    if keeps_up:
        store.keep_up()
    return store


async def _status(connection: Connection) -> tuple[int, int, str]:
    row = await connection.fetchrow(_SIZE)
    assert row is not None
    return await schema.version_of(connection), row[0], row[1]
