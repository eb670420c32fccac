"""What a database needs now and then, whichever of its servers does it: days ahead, folded counters, old rows gone.

Nothing waits for it and nothing depends on when it happens: a failure is logged, and it is tried again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from windlass.errors import StoreError
from windlass.store.postgres.database import Database
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.partitions import days_ahead, drop_day, empty_days, make_days
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_FOLD_EVERY_S: Final = 3.0
_TIDY_EVERY_S: Final = 300.0
_FIRST_S: Final = 1.0
_DAYS_AHEAD: Final = 3
_KEPT_DAYS: Final = 2
"""Days before today whose partitions stay even when they are empty: clocks differ."""
_FOLD_ROWS: Final = 20_000
_FOLD_FROM: Final = 200
"""Fewer rows than this are no burden on who sums them."""

_NOW: Final = """-- The database's clock.
SELECT clock_timestamp()"""

_COUNT: Final = """-- How many rows the counters have, or enough to know that there is something to fold.
SELECT count(*) FROM (SELECT FROM windlass.counts LIMIT $1) AS first"""

_FOLD: Final = """-- Put one row in the place of many of a lane and state. Rows another one folds are left to it.
WITH taken AS (
    DELETE FROM windlass.counts WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM windlass.counts LIMIT $1 FOR UPDATE SKIP LOCKED
    )) RETURNING lane, state, tasks, size_bytes
)
INSERT INTO windlass.counts (lane, state, tasks, size_bytes)
SELECT lane, state, sum(tasks), sum(size_bytes) FROM taken GROUP BY lane, state
HAVING sum(tasks) <> 0 OR sum(size_bytes) <> 0"""

_FORGET_TURNS: Final = """-- Forget stores that have written nothing for a day.
DELETE FROM windlass.turns WHERE writer = ANY (ARRAY(
    SELECT writer FROM windlass.turns WHERE at < clock_timestamp() - interval '1 day' FOR UPDATE SKIP LOCKED
))"""

_FORGET_SERVERS: Final = """-- Forget leases that ended a day ago, once nothing runs under them any more.
DELETE FROM windlass.servers WHERE id = ANY (ARRAY(
    SELECT id FROM windlass.servers WHERE ended_at < clock_timestamp() - interval '1 day'
    AND NOT EXISTS (SELECT FROM windlass.tasks WHERE state = 'running' AND server = servers.id)
    FOR UPDATE SKIP LOCKED
))"""

_PINNING: Final = """-- The oldest transaction that keeps dead rows from being removed, if it is old.
SELECT pid, application_name, state, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS age_s
FROM pg_stat_activity
WHERE backend_xmin IS NOT NULL AND datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend' AND xact_start < clock_timestamp() - interval '5 minutes'
ORDER BY age(backend_xmin) DESC LIMIT 1"""


class Upkeep:
    """The loop of one open store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Stop. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        await asyncio.sleep(_spread(_FIRST_S))
        tidied_at = -_TIDY_EVERY_S
        while True:
            if time.monotonic() - tidied_at >= _TIDY_EVERY_S:
                tidied_at = time.monotonic()
                await self._attempt("tidy", partial(tidy, self._database))
            await self._attempt("fold", partial(fold, self._database))
            await asyncio.sleep(_spread(_FOLD_EVERY_S))

    async def _attempt(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        try:
            await work()
        except StoreError as error:
            _log.warning(words.STORE_UPKEEP_FAILED, what=what, error=error.detail)
        except Exception as error:  # noqa: BLE001 nobody would see the loop end
            _log.error(words.STORE_UPKEEP_FAILED, what=what, error=repr(error), exc_info=error)


async def fold(database: Database) -> int:
    """Fold the rows of the counters, if they are many; give how many are left out afterwards."""
    there = await database.read(_count)
    return await database.write(_fold) if there >= _FOLD_FROM else 0


async def tidy(database: Database) -> None:
    """Make days ahead, forget what is of no use, warn of old transactions, and drop old days that are empty."""
    now = await database.read(_now)
    await database.write(partial(make_days, days=days_ahead(now, _DAYS_AHEAD)))
    await database.write(_forget)
    await database.read(_warn)
    await _drop_days(database, now)


async def _drop_days(database: Database, now: datetime) -> None:
    before = (now - timedelta(days=_KEPT_DAYS)).date()
    for name in await database.read(partial(empty_days, before=before)):
        await database.write(partial(drop_day, name=name))


async def _now(connection: Connection) -> datetime:
    return await connection.fetchval(_NOW)


async def _count(connection: Connection) -> int:
    return await connection.fetchval(_COUNT, _FOLD_FROM)


async def _fold(connection: Connection) -> int:
    return int((await connection.execute(_FOLD, _FOLD_ROWS)).rpartition(" ")[2])


async def _forget(connection: Connection) -> None:
    await connection.execute(_FORGET_TURNS)
    await connection.execute(_FORGET_SERVERS)


async def _warn(connection: Connection) -> None:
    row = await connection.fetchrow(_PINNING)
    if row is not None:
        pid, name, state, age_s = row
        _log.warning(words.STORE_PINNED, process=pid, application=name, state=state, age_s=round(age_s))


def _spread(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 no secret
