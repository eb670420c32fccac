"""The days of `ended`: one partition for each, made before a task ends on it, dropped when pruning has emptied it.

Names and bounds are made of dates alone, as no statement that defines a table takes bound values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol, cast

import asyncpg

from windlass.errors import StoreUnavailable
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.transactions import transaction

_NAME: Final = "ended_%Y%m%d"
_DAY: Final = re.compile(r"\((\d{4,6})-(\d\d)-(\d\d) ")

LOCK: Final = """-- One maker of schema and partitions at a time; let go of with the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('windlass', 0))"""

_DAYS: Final = """-- The partitions that are there.
SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'windlass.ended'::regclass ORDER BY relname"""

_MAKE: Final = """-- Made beside the table and then attached, which holds up nobody who writes to it.
CREATE TABLE windlass.{name} (LIKE windlass.ended INCLUDING DEFAULTS INCLUDING CONSTRAINTS) WITH (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000
);
ALTER TABLE windlass.ended ATTACH PARTITION windlass.{name}
FOR VALUES FROM ('{day} 00:00+00') TO ('{next} 00:00+00');"""

_HELD_MS: Final = 200
"""LIMIT: of each statement while everybody waits; what an old transaction keeps of a day takes long to look through."""

_LOCK_ALL: Final = """-- Nobody may be looking or writing while a day goes. Given up at once where somebody is.
SET LOCAL lock_timeout = 100;
LOCK TABLE windlass.ended IN ACCESS EXCLUSIVE MODE;
SET LOCAL statement_timeout = {held_ms};"""

_IS_EMPTY: Final = """-- Whether no task has ended on a day.
SELECT NOT EXISTS (SELECT FROM windlass.ended WHERE finished_at >= $1 AND finished_at < $2)"""

_DROP: Final = """-- Drop a day.
DROP TABLE windlass.{name}"""


class _Facts(Protocol):
    """What an error of the server tells of a row it did not take."""

    table_name: str | None
    constraint_name: str | None
    detail: str | None


def missing_day(error: Exception) -> date | None:
    """Say which day a row has no partition for, if that is what an error means.

    Times in the error are spelled as our transactions have it.
    """
    if not isinstance(error, asyncpg.CheckViolationError):
        return None
    facts = cast(_Facts, error)
    if facts.table_name != "ended" or facts.constraint_name is not None:
        return None
    found = _DAY.search(facts.detail or "")
    return None if found is None else date(*map(int, found.groups()))


async def make_day(connection: Connection, day: date, limits: str) -> None:
    """Make the partition of a day, in a transaction of its own, unless another has."""
    async with transaction(connection, limits):
        await make_days(connection, [day])


async def make_days(connection: Connection, days: Sequence[date]) -> int:
    """Make the partitions of `days` that are not there, within the caller's transaction; give how many."""
    there = await _there(connection)
    if all(_name(day) in there for day in days):
        return 0
    await connection.execute(LOCK)
    there = await _there(connection)
    missing = [day for day in days if _name(day) not in there]
    for day in missing:
        await connection.execute(_MAKE.format(name=_name(day), day=day, next=day + timedelta(days=1)))
    return len(missing)


async def empty_days(connection: Connection, *, before: date) -> Sequence[str]:
    """Name the partitions of the days before `before` on which no task has ended that is still there."""
    old = [name for name in await _there(connection) if _is_ours(name) and name < _name(before)]
    return [name for name in old if await _is_empty(connection, name)]


async def drop_day(connection: Connection, name: str) -> bool:
    """Drop a partition, within the caller's transaction, if it is still there and empty.

    Raises:
        StoreUnavailable: somebody uses the table at this moment, or to look takes too long. Not to be tried again at
            once: whoever writes waits behind who asks for the lock, and for who has it.
    """
    try:
        await connection.execute(_LOCK_ALL.format(held_ms=_HELD_MS))
        if name not in await _there(connection) or not await _is_empty(connection, name):
            return False
        await connection.execute(_DROP.format(name=name))
    except asyncpg.LockNotAvailableError as error:
        raise StoreUnavailable(f"the day {name} is not dropped yet: somebody uses the table") from error
    except asyncpg.QueryCanceledError as error:
        raise StoreUnavailable(f"the day {name} is not dropped yet: whether it is empty takes too long") from error
    return True


def days_ahead(now: datetime, count: int) -> Sequence[date]:
    """Name yesterday, today and the next days, in UTC; clocks differ."""
    today = now.astimezone(UTC).date()
    return [today + timedelta(days=ahead) for ahead in range(-1, count + 1)]


async def _there(connection: Connection) -> Sequence[str]:
    return [name for (name,) in await connection.fetch(_DAYS)]


async def _is_empty(connection: Connection, name: str) -> bool:
    begins_at = datetime.strptime(name, _NAME).replace(tzinfo=UTC)
    return await connection.fetchval(_IS_EMPTY, begins_at, begins_at + timedelta(days=1))


def _is_ours(name: str) -> bool:
    """Whether a partition is one day's by its name; what somebody else has attached is left alone."""
    try:
        return _name(datetime.strptime(name, _NAME).replace(tzinfo=UTC)) == name
    except ValueError:
        return False


def _name(day: date) -> str:
    return day.strftime(_NAME)
