"""Deleting tasks with all that belongs to them, and forgetting what is left of them. On a transaction that is open.

Removes sets, not rows one by one; what has not ended stays, which a trigger sees to as well. What another server
removes at the same time is left to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, NamedTuple

from windlass.contracts.tasks import Applied, Delete, Forget, Prune, Refusal, Refused, Sweep, WriteResult
from windlass.core.limits import REMOVE_ROWS
from windlass.errors import StoreError
from windlass.store.postgres import statements as sql
from windlass.store.postgres.driver import Record
from windlass.store.postgres.groups import changed_by, columns
from windlass.store.postgres.ledger import Ledger
from windlass.store.postgres.lookup import lock_whole, numbers_of
from windlass.store.postgres.rows import task_of

_END_OF_TIME: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


class Going(NamedTuple):
    """A locked task that is to be removed, and what it is counted under."""

    number: int
    finished_at: datetime
    lane: int
    state: str
    size_bytes: int


class Removal:
    """The removals of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection

    async def delete(self, batch: Sequence[Delete]) -> Sequence[WriteResult]:
        """Delete each of `batch`."""
        numbers = await numbers_of(self._connection, [write.ref for write in batch])
        rows = await lock_whole(self._connection, {number for number in numbers if number is not None})
        results: list[WriteResult] = []
        going: dict[int, tuple[datetime, Going]] = {}
        for write, number in zip(batch, numbers, strict=True):
            row = None if number is None or number in going else rows.get(number)
            if row is None:
                results.append(Refused(Refusal.MISSING))
                continue
            task = task_of(row)
            if task.finished_at is None:
                results.append(Refused(Refusal.STATE, task))
            else:
                going[task.number] = (write.at, _going(row))
                results.append(Applied(task))
        for at, group in groupby(going.values(), key=lambda entry: entry[0]):
            await self._remove([entry for _, entry in group], at)
        return results

    async def prune(self, batch: Sequence[Prune]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [await self._prune(write) for write in batch]

    async def sweep(self, batch: Sequence[Sweep]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [
            Applied(count=changed_by(await self._connection.execute(sql.SWEEP, list(write.numbers)))) for write in batch
        ]

    async def forget(self, batch: Sequence[Forget]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [await self._forget(write) for write in batch]

    async def _prune(self, write: Prune) -> WriteResult:
        before = _END_OF_TIME if write.before is None else write.before
        states = list(dict.fromkeys(write.states))
        found = await self._connection.fetch(sql.ENDED_FIRST, states, before, max(0, write.limit))
        locked = await self._connection.fetch(sql.LOCK_GOING, *columns(map(tuple, found))) if found else []
        going = [_going(row) for row in locked]
        await self._remove(going, write.at)
        return Applied(count=len(going), size_bytes=sum(entry.size_bytes for entry in going))

    async def _remove(self, going: Sequence[Going], at: datetime) -> None:
        """Remove locked tasks; their tombstones say `at`."""
        if going:
            await self._ledger.append_events()
            await self._ledger.lanes.meet(self._connection, [entry.lane for entry in going])
        for part in _slices(going):
            keys = columns([(entry.number, entry.finished_at) for entry in part])
            removed = changed_by(await self._connection.execute(sql.REMOVE, *keys, at))
            if removed != len(part):
                raise StoreError(f"{len(part)} tasks were to go and {removed} went: somebody else writes to the store")
        for entry in going:
            self._ledger.counters.drop(entry.lane, entry.state, entry.size_bytes)
            self._ledger.touched.add(entry.number)

    async def _forget(self, write: Forget) -> WriteResult:
        limit = max(0, write.limit)
        replays = changed_by(await self._connection.execute(sql.FORGET_REPLAYS, write.at, limit))
        tombstones = changed_by(await self._connection.execute(sql.FORGET_TOMBSTONES, write.before, limit - replays))
        return Applied(count=replays + tombstones)


def _going(row: Record) -> Going:
    return Going(row["number"], row["finished_at"], row["lane"], row["state"], row["size_bytes"])


def _slices(going: Sequence[Going]) -> Iterator[Sequence[Going]]:
    for start in range(0, len(going), REMOVE_ROWS):
        yield going[start : start + REMOVE_ROWS]
