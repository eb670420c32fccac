"""Finding tasks that may have ended or not, inside a turn. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from windlass.contracts.tasks import TaskRef
from windlass.errors import StoreError
from windlass.store.postgres import statements as sql
from windlass.store.postgres.driver import Connection, Record

_LOOKS = 10
"""A task can end, or be retried, by another server between two looks at it, hardly more often."""


async def read_whole(connection: Connection, numbers: Collection[int]) -> Mapping[int, Record]:
    """Read whole tasks, of one moment, by their numbers; those that are not there are left out."""
    if not numbers:
        return {}
    return {row["number"]: row for row in await connection.fetch(sql.WHOLE, list(numbers))}


async def numbers_of(connection: Connection, refs: Sequence[TaskRef]) -> Sequence[int | None]:
    """Give the numbers of tasks; None for an id that no task has."""
    ids = [ref for ref in refs if isinstance(ref, str)]
    known = {str(uuid): number for uuid, number in await connection.fetch(sql.NUMBERS_OF, ids)} if ids else {}
    return [ref if isinstance(ref, int) else known.get(ref) for ref in refs]


async def lock_whole(connection: Connection, numbers: Collection[int]) -> Mapping[int, Record]:
    """Lock whole tasks, so that they stay as they are until the turn ends; those that are not there are left out.

    RACE: one that ends while its row is waited for is looked for among the ended, and one that is retried meanwhile
    again where it was, until it is held or known to be gone.
    """
    found: dict[int, Record] = {}
    for _ in range(_LOOKS):
        missing: list[int] = sorted(set(numbers) - found.keys())
        for statement in (sql.LOCK_HOT, sql.LOCK_ENDED):
            if missing:
                found |= {row["number"]: row for row in await connection.fetch(statement, missing)}
                missing = [number for number in missing if number not in found]
        if not missing or not await connection.fetchval(sql.ANY_SPEC, missing):
            return found
    raise StoreError("a task that has a spec is nowhere to be found: the store is damaged")
