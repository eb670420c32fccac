"""What a transaction begins with, and one that is nobody's turn. Nothing here outlives its transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from windlass.config.schema import Postgres
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.failures import meaning_of

BEGIN_WRITE: Final = "BEGIN ISOLATION LEVEL READ COMMITTED;"
BEGIN_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"

_LIMITS: Final = """-- Limits of this transaction alone, and times spelled alike whatever the database says.
-- One that stands still is ended when those that wait for its locks would give up.
SET LOCAL statement_timeout = {statement_ms};
SET LOCAL lock_timeout = {lock_ms};
SET LOCAL idle_in_transaction_session_timeout = {lock_ms};
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD';"""


def limits_of(settings: Postgres) -> str:
    """Write the statements that limit a transaction; sent in one go with its BEGIN, they cost no time of their own."""
    return _LIMITS.format(statement_ms=round(settings.statement_s * 1000), lock_ms=round(settings.lock_s * 1000))


@asynccontextmanager
async def transaction(connection: Connection, limits: str) -> AsyncGenerator[None, None]:
    """Run the block in one transaction, durable once the block is left; any exception undoes it."""
    await connection.execute(BEGIN_WRITE + limits)
    try:
        yield
        await connection.execute("COMMIT")
    except BaseException:
        await roll_back(connection)
        raise


async def roll_back(connection: Connection) -> Exception | None:
    """Undo a transaction; where that fails, the connection's end undoes it: gives what went wrong."""
    try:
        await connection.execute("ROLLBACK")
    except Exception as error:
        if meaning_of(error) is None:
            raise
        return error
    return None
