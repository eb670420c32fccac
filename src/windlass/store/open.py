"""From a setting to an open store. The only place that knows which stores there are."""

from __future__ import annotations

from pathlib import Path

from windlass.contracts.clock import Ids
from windlass.contracts.store import Snapshot, Store
from windlass.errors import ConfigError


async def open_store(database: str, *, data: Path, ids: Ids) -> Store:
    """Open the store that `database` names: `sqlite`, in a file in the directory `data`, or `memory`.

    Tokens of leases come from `ids`, on whatever thread the store writes.

    Raises:
        ConfigError: there is no such store, or its directory cannot be used.
        StoreError: it cannot be opened.
    """
    match database:
        case "sqlite":
            from windlass.store.sqlite.store import open_sqlite

            return await open_sqlite(data, ids=ids)
        case "memory":
            from windlass.store.memory import MemoryStore

            return MemoryStore(ids)
        case _:
            raise ConfigError(f"database: there is no store called '{database}': use 'sqlite' or 'memory'")


def take_snapshot(database: str, *, data: Path, ids: Ids) -> Snapshot:
    """Open the store that `database` names for reading, as it stands now, beside a server that may be running.

    Raises:
        ConfigError: nobody but its server can see that store.
        NotFoundError: there is none.
        StoreError: it cannot be read.
    """
    if database != "sqlite":
        raise ConfigError(f"database: a store called '{database}' is seen by its own server alone")
    from windlass.store.sqlite.snapshot import open_snapshot

    return open_snapshot(data, ids=ids)
