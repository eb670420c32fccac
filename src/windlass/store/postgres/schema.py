"""Bringing a database's schema up to date, or refusing the database untouched. What the steps are, `migrate` knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from windlass.errors import SchemaMismatch
from windlass.store.migrate import Migration, load_migrations, pending
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.partitions import LOCK
from windlass.store.postgres.transactions import transaction

PACKAGE: Final = "windlass.store.postgres"

_HAS_SCHEMA: Final = """-- Whether there is anything in a schema of our name, and our record of it.
SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace('windlass')) AS is_used,
    to_regclass('windlass.migrations') IS NOT NULL AS is_ours"""

_RECORDED: Final = """-- The steps taken.
SELECT version, checksum FROM windlass.migrations"""

_CREATE_RECORD: Final = """-- Our record of steps.
CREATE SCHEMA IF NOT EXISTS windlass;
CREATE TABLE IF NOT EXISTS windlass.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp()
);"""

_RECORD: Final = """-- Note a step as taken, in its own transaction.
INSERT INTO windlass.migrations (version, name, checksum) VALUES ($1, $2, $3)"""

_STEP_S: Final = 86_400.0
"""LIMIT: for how long a step, or somebody else's, is waited for by the client: it has no way to say for ever."""

_NO_HURRY: Final = """-- A step may take as long as it needs, and other makers before it as well.
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = 0;"""


async def version_of(connection: Connection) -> int:
    """Read which version of the schema the database has; 0 when it has none of ours."""
    return max(await _recorded(connection), default=0)


async def lacking(connection: Connection) -> Sequence[Migration]:
    """Name the steps that the database lacks; changes nothing.

    Raises:
        SchemaMismatch: a newer version of windlass wrote it, or somebody else.
    """
    return pending(load_migrations(PACKAGE), await _recorded(connection))


async def upgrade(connection: Connection, limits: str) -> Sequence[Migration]:
    """Take the steps that the database lacks, each in a transaction of its own; give those taken here.

    Raises:
        SchemaMismatch: a newer version of windlass wrote it, or somebody else. It was not touched.

    Concurrency: several may try at once; each step is taken by one of them.
    """
    taken: list[Migration] = []
    while await lacking(connection):
        async with transaction(connection, limits + _NO_HURRY):
            await connection.execute(LOCK, timeout=_STEP_S)
            step = next(iter(await lacking(connection)), None)
            if step is not None:
                await connection.execute(_CREATE_RECORD)
                await connection.execute(step.sql, timeout=_STEP_S)
                await connection.execute(_RECORD, step.version, step.name, step.checksum)
                taken.append(step)
    return taken


async def _recorded(connection: Connection) -> dict[int, str]:
    """Read which steps the database has taken; none when it has nothing of ours."""
    found = await connection.fetchrow(_HAS_SCHEMA)
    assert found is not None
    if found["is_ours"]:
        return {row["version"]: row["checksum"] for row in await connection.fetch(_RECORDED)}
    if found["is_used"]:
        raise SchemaMismatch(
            "the database has a schema `windlass`, but none that this program made: give windlass another database. "
            "It was not touched"
        )
    return {}
