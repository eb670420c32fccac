"""Deleting tasks with all that belongs to them, and what is left of them. On a transaction that is open.

Removes sets, not rows one by one; what has not ended stays, which a trigger sees to as well.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import Final, NamedTuple

from windlass.contracts.tasks import (
    Applied,
    Delete,
    Forget,
    Prune,
    Refusal,
    Refused,
    Sweep,
    TaskRef,
    Tombstone,
    WriteResult,
)
from windlass.core.limits import REMOVE_ROWS
from windlass.errors import StoreError
from windlass.store.instants import from_micros, to_micros
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.edits import find_row
from windlass.store.sqlite.ledger import Ledger
from windlass.store.sqlite.rows import LANE, SIZE_BYTES, blob_id, id_blob, task_of
from windlass.wire.codec import encode_view

_END_OF_TIME: Final = 2**63 - 1
"""LIMIT: of the integers that a row can hold."""
_PARTS: Final = (
    sql.REMOVE_EVENTS,
    sql.REMOVE_FILES,
    sql.REMOVE_CHECKPOINTS,
    sql.REMOVE_ENDINGS,
    sql.REMOVE_SPECS,
)
"""What goes before the tasks themselves, which all of it refers to."""


class Going(NamedTuple):
    """A task that is to be removed, and what it is counted under."""

    number: int
    lane: int
    state: str
    size_bytes: int


class Removal:
    """The removals of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection

    def delete(self, batch: Sequence[Delete]) -> Sequence[WriteResult]:
        """Delete each of `batch`."""
        results: list[WriteResult] = []
        going: dict[int, tuple[datetime, Going]] = {}
        for write in batch:
            row = find_row(self._connection, write.ref)
            task = None if row is None else task_of(row)
            if row is None or task is None or task.number in going:
                results.append(Refused(Refusal.MISSING))
            elif not task.state.has_ended:
                results.append(Refused(Refusal.STATE, task))
            else:
                going[task.number] = (write.at, Going(task.number, row[LANE], task.state, row[SIZE_BYTES]))
                results.append(Applied(task))
        for at, group in groupby(going.values(), key=lambda entry: entry[0]):
            self._remove([entry for _, entry in group], at)
        return results

    def prune(self, batch: Sequence[Prune]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [self._prune(write) for write in batch]

    def sweep(self, batch: Sequence[Sweep]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [Applied(count=self._change(sql.SWEEP, (_listed(write.numbers),))) for write in batch]

    def forget(self, batch: Sequence[Forget]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [self._forget(write) for write in batch]

    def _prune(self, write: Prune) -> WriteResult:
        before = _END_OF_TIME if write.before is None else to_micros(write.before)
        limit = max(0, write.limit)
        lines = [
            self._connection.execute(sql.ENDED_FIRST, (state, before, limit)).fetchall()
            for state in dict.fromkeys(write.states)
        ]
        going = [Going(*row[1:]) for row in islice(heapq.merge(*lines), limit)]
        self._remove(going, write.at)
        return Applied(count=len(going), size_bytes=sum(entry.size_bytes for entry in going))

    def _remove(self, going: Sequence[Going], at: datetime) -> None:
        """Remove ended tasks; their tombstones say `at`."""
        if going:
            self._ledger.append_events()
        for part in _slices(going):
            listed = _listed(entry.number for entry in part)
            self._change(sql.BURY, (listed, to_micros(at)))
            for statement in _PARTS:
                self._connection.execute(statement, (listed,))
            removed = self._change(sql.REMOVE_TASKS, (listed,))
            if removed != len(part):
                raise StoreError(f"{len(part)} tasks were to go and {removed} went: somebody else writes to the store")
        for entry in going:
            self._ledger.counters.drop(entry.lane, entry.state, entry.size_bytes)

    def _forget(self, write: Forget) -> WriteResult:
        limit = max(0, write.limit)
        replays = self._change(sql.FORGET_REPLAYS, (to_micros(write.at), limit))
        tombstones = self._change(sql.FORGET_TOMBSTONES, (to_micros(write.before), limit - replays))
        return Applied(count=replays + tombstones)

    def _change(self, statement: str, values: Row) -> int:
        """Run a statement to its end; say how many rows it changed."""
        self._connection.execute(statement, values)
        return self._connection.changes()


def read_tombstone(ref: TaskRef, connection: Connection) -> Tombstone | None:
    """Read what is left of a deleted task."""
    if isinstance(ref, int):
        row = connection.execute(sql.TOMBSTONE_BY_NUMBER, (ref,)).fetchone()
    else:
        row = connection.execute(sql.TOMBSTONE_BY_ID, (id_blob(ref),)).fetchone()
    return None if row is None else _tombstone_of(row)


def read_unswept(limit: int, connection: Connection) -> Sequence[Tombstone]:
    """Read tombstones of tasks whose files may still be there."""
    return [_tombstone_of(row) for row in connection.execute(sql.UNSWEPT, (limit,))]


def _tombstone_of(row: Row) -> Tombstone:
    number, blob, deleted_at, swept = row
    return Tombstone(number, blob_id(blob), from_micros(deleted_at), swept == 1)


def _slices(going: Sequence[Going]) -> Iterator[Sequence[Going]]:
    for start in range(0, len(going), REMOVE_ROWS):
        yield going[start : start + REMOVE_ROWS]


def _listed(numbers: Iterable[int]) -> str:
    """Spell numbers as the JSON array that a statement takes a set as."""
    return encode_view(list(numbers)).decode()
