"""Millions of tasks laid into a PostgreSQL store by SQL, as its own turns would have left them, only sooner."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from windlass.store.postgres.partitions import make_days

_GROUP: Final = 100_000
_DAYS: Final = 5
"""Finished tasks have ended on so many days, yesterday being the last."""

_SPECS: Final = """
INSERT INTO windlass.specs (number, id, kind, created_at, max_attempts, retry, recovery, timeout_s, payload)
SELECT $1::bigint + n, uuidv7(), kind, $3::timestamptz + n * interval '1 microsecond', max_attempts, retry, recovery,
    timeout_s, payload
FROM generate_series(0, $2::integer - 1) AS n, (SELECT * FROM windlass.specs ORDER BY number LIMIT 1) AS model"""
_QUEUED: Final = """
INSERT INTO windlass.tasks (number, lane, state, ready, run_at, grace_s, size_bytes)
SELECT number, $3, 'queued', $4, created_at + $5::interval, 10, length(payload)
FROM windlass.specs WHERE number BETWEEN $1 AND $1 + $2 - 1"""
_ENDED: Final = """
INSERT INTO windlass.ended (number, lane, state, run_at, attempt, charged, lost, interrupted, retries, ordinal, version,
    started_at, finished_at, run_s, grace_s, hidden, size_bytes, ending_bytes, result)
SELECT number, $3, 'succeeded', created_at, 1, 1, 0, 0, 0, 3, 3, created_at + interval '1 s',
    created_at + interval '2 s', 1, 10, false, length(payload) + 4, 4, 'null'
FROM windlass.specs WHERE number BETWEEN $1 AND $1 + $2 - 1"""
_SUBMITTED: Final = """
INSERT INTO windlass.events (number, ordinal, at, name, state, attempt)
SELECT number, 1, created_at, 'submitted', 'queued', 0
FROM windlass.specs WHERE number BETWEEN $1 AND $1 + $2 - 1"""
_RUN: Final = """
INSERT INTO windlass.events (number, ordinal, at, name, state, attempt, token)
SELECT number, ordinal, created_at + (ordinal - 1) * interval '1 s', one.name, one.state, 1, md5(number::text)::uuid
FROM windlass.specs, (VALUES (2, 'started', 'running'), (3, 'succeeded', 'succeeded')) AS one (ordinal, name, state)
WHERE number BETWEEN $1 AND $1 + $2 - 1
ORDER BY number, ordinal"""
_COUNT: Final = """
INSERT INTO windlass.counts (lane, state, tasks, size_bytes)
SELECT $3, $4, $2::integer, $2::integer * (length(payload) + $5::integer)
FROM windlass.specs WHERE number = $1"""


class Bulk:
    """Lays tasks into a store that has run one already, of which the others are copies."""

    def __init__(self, connection: Any, lane: int) -> None:
        self._connection = connection
        self._lane = lane

    async def waiting(self, count: int) -> None:
        """Lay in tasks that are ready, and have been for longer than any that comes now."""
        for first, size, begin in await self._groups(count, datetime.now(UTC) - timedelta(hours=1)):
            await self._queued(first, size, begin, is_ready=True, delay=timedelta())

    async def scheduled(self, count: int) -> None:
        """Lay in tasks that wait for another day."""
        for first, size, begin in await self._groups(count, datetime.now(UTC)):
            await self._queued(first, size, begin, is_ready=False, delay=timedelta(days=1))

    async def finished(self, count: int) -> None:
        """Lay in tasks that have succeeded on the days before this one."""
        days = [datetime.now(UTC) - timedelta(days=_DAYS - day) for day in range(_DAYS)]
        async with self._connection.transaction():
            await make_days(self._connection, [day.date() for day in days])
        for day in days:
            noon = day.replace(hour=12, minute=0, second=0, microsecond=0)
            for first, size, begin in await self._groups(count // _DAYS, noon):
                await self._finished(first, size, begin)

    async def settle_down(self) -> None:
        """Leave the tables as autovacuum leaves them in time."""
        await self._connection.execute("VACUUM (ANALYZE)")

    async def _queued(self, first: int, size: int, begin: datetime, *, is_ready: bool, delay: timedelta) -> None:
        async with self._connection.transaction():
            await self._connection.execute(_SPECS, first, size, begin)
            await self._connection.execute(_QUEUED, first, size, self._lane, is_ready, delay)
            await self._connection.execute(_SUBMITTED, first, size)
            await self._connection.execute(_COUNT, first, size, self._lane, "queued", 0)

    async def _finished(self, first: int, size: int, begin: datetime) -> None:
        async with self._connection.transaction():
            await self._connection.execute(_SPECS, first, size, begin)
            await self._connection.execute(_ENDED, first, size, self._lane)
            await self._connection.execute(_SUBMITTED, first, size)
            await self._connection.execute(_RUN, first, size)
            await self._connection.execute(_COUNT, first, size, self._lane, "succeeded", 4)

    async def _groups(self, count: int, begin: datetime) -> Iterator[tuple[int, int, datetime]]:
        """Take numbers for so many tasks; give them in groups: the first number, how many, and when they begin."""
        first = await self._connection.fetchval("SELECT nextval('windlass.numbers')")
        await self._connection.execute("SELECT setval('windlass.numbers', $1)", first + count)
        return (
            (first + done, min(_GROUP, count - done), begin + timedelta(microseconds=done))
            for done in range(0, count, _GROUP)
        )


async def bulk_into(connection: Any) -> Bulk:
    """Lay tasks into the store of `connection`, beside and like the first one there."""
    lane = await connection.fetchval("SELECT lane FROM windlass.lanes ORDER BY lane LIMIT 1")
    return Bulk(connection, lane)
