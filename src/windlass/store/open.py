"""From a setting to an open store. The only place that knows which stores there are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from windlass.config.schema import POSTGRES_SCHEMES, Postgres
from windlass.contracts.clock import Ids
from windlass.contracts.store import Snapshot, Store
from windlass.errors import ConfigError
from windlass.store.migrate import Migration

_DEFAULT = Postgres()


async def open_store(database: str, *, data: Path, ids: Ids, postgres: Postgres = _DEFAULT) -> Store:
    """Open the store that `database` names: `sqlite`, in a file in the directory `data`, `memory`, or a PostgreSQL
    database by its url.

    Tokens of leases come from `ids`, on whatever thread the store writes.

    Raises:
        ConfigError: there is no such store, or its directory or database cannot be used.
        StoreError: it cannot be opened.
    """
    match database:
        case "sqlite":
            from windlass.store.sqlite.store import open_sqlite

            return await open_sqlite(data, ids=ids)
        case "memory":
            from windlass.store.memory import MemoryStore

            return MemoryStore(ids)
        case _ if database.startswith(POSTGRES_SCHEMES):
            from windlass.store.postgres.store import open_postgres

            return await open_postgres(database, ids=ids, settings=postgres)
        case _:
            raise ConfigError(
                f"database: there is no store called '{database}': use 'sqlite', 'memory' or a url "
                "postgresql://USER:PASSWORD@HOST/NAME"
            )


async def take_snapshot(database: str, *, data: Path, ids: Ids, postgres: Postgres = _DEFAULT) -> Snapshot:
    """Open the store that `database` names for reading, as it stands now, beside a server that may be running.

    Raises:
        ConfigError: nobody but its server can see that store.
        NotFoundError: there is none.
        StoreError: it cannot be read.
    """
    if database == "sqlite":
        from windlass.store.sqlite.snapshot import open_snapshot

        return open_snapshot(data, ids=ids)
    if database.startswith(POSTGRES_SCHEMES):
        from windlass.store.postgres.snapshot import open_postgres_snapshot

        return await open_postgres_snapshot(database, settings=postgres)
    raise ConfigError(f"database: a store called '{database}' is seen by its own server alone")


async def migrate_store(
    database: str, *, data: Path, postgres: Postgres = _DEFAULT, dry_run: bool = False
) -> Sequence[Migration]:
    """Bring the schema of the store that `database` names up to date, and name the steps; only that with `dry_run`.

    Raises:
        ConfigError: it has no schema, or must not be used.
        NotFoundError: there is none.
        SchemaMismatch: a newer version of windlass wrote it.
        StoreUnavailable: it cannot be reached, or its server is running and must not.
        StoreError: it cannot be read.
    """
    if database == "sqlite":
        from windlass.store.sqlite import upkeep

        return await asyncio.to_thread(upkeep.lacking if dry_run else upkeep.migrate, data)
    if database.startswith(POSTGRES_SCHEMES):
        from windlass.store.postgres import steps

        return await (steps.lacking if dry_run else steps.migrate)(database, postgres)
    raise ConfigError(f"database: a store called '{database}' keeps nothing: there is nothing to do for it")
