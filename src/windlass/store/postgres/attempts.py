"""Writes of attempts: settlements, progress, checkpoints, files. On a transaction that is open. Decides nothing.

Each statement takes a whole group and names the number, the state and the token of each; what matched nothing is looked
at afterwards, to say why.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final

from windlass.contracts.tasks import (
    Applied,
    KeepFile,
    Refusal,
    Refused,
    Report,
    Save,
    Settle,
    WriteResult,
)
from windlass.core.state import State
from windlass.store.moves import AttemptWrite, refusal, settlement_data
from windlass.store.postgres import statements as sql
from windlass.store.postgres.driver import Record, Values
from windlass.store.postgres.groups import columns
from windlass.store.postgres.ledger import Ledger, Line
from windlass.store.postgres.lookup import read_whole
from windlass.store.postgres.rows import file_row, json_text, task_id, task_of

_APPLIED: Final = Applied()
_RUNNING, _QUEUED, _SUCCEEDED = State.RUNNING, State.QUEUED, State.SUCCEEDED


class Attempts:
    """The writes of attempts of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection

    async def settle(self, batch: Sequence[Settle]) -> Sequence[WriteResult]:
        """Apply each of `batch`, in which no task comes twice."""
        ends = [_end_row(place, write) for place, write in enumerate(batch) if write.settlement.state is not _QUEUED]
        backs = [(place, write) for place, write in enumerate(batch) if write.settlement.state is _QUEUED]
        settled: dict[int, Record] = {}
        if ends:
            settled |= {row[0]: row for row in await self._connection.fetch(sql.END, *_in_order(ends), _RUNNING)}
        if backs:
            settled |= await self._give_back(backs)
        await self._ledger.lanes.meet(self._connection, [row["was_lane"] for row in settled.values()])
        for place in sorted(settled):
            self._settled(batch[place], settled[place])
        return await self._answers(batch, settled.keys())

    async def report(self, batch: Sequence[Report]) -> Sequence[WriteResult]:
        """Apply each of `batch`, in which no task comes twice."""
        rows = [(place, write.number, write.token, json_text(write.progress)) for place, write in enumerate(batch)]
        return await self._touch(sql.REPORT, batch, rows)

    async def save(self, batch: Sequence[Save]) -> Sequence[WriteResult]:
        """Apply each of `batch`, in which no task comes twice."""
        rows = [(place, write.number, write.token, write.checkpoint) for place, write in enumerate(batch)]
        return await self._touch(sql.SAVE, batch, rows)

    async def keep_files(self, batch: Sequence[KeepFile]) -> Sequence[WriteResult]:
        """Apply each of `batch`, in which no file of a task comes twice."""
        rows: list[Values] = []
        for place, write in enumerate(batch):
            number, *file = file_row(write.number, write.file)
            rows.append((place, number, write.token, *map(_storable, file)))
        return await self._touch(sql.KEEP_FILES, batch, rows)

    async def _touch(
        self, statement: str, batch: Sequence[AttemptWrite], rows: Sequence[Values]
    ) -> Sequence[WriteResult]:
        places: set[int] = {row[0] for row in await self._connection.fetch(statement, *_in_order(rows), _RUNNING)}
        self._ledger.touched.update(batch[place].number for place in places)
        return await self._answers(batch, places)

    # ── settlements ────────────────────────────────────────────────

    async def _give_back(self, backs: Sequence[tuple[int, Settle]]) -> dict[int, Record]:
        lanes = await self._lanes_of([write.number for _, write in backs if write.settlement.solo])
        rows = [
            _back_row(place, write, lane=lanes.get(write.number), is_ready=self._is_ready(write))
            for place, write in backs
        ]
        return {row[0]: row for row in await self._connection.fetch(sql.GIVE_BACK, *_in_order(rows), _RUNNING)}

    async def _lanes_of(self, numbers: Sequence[int]) -> dict[int, int]:
        """Give the lanes in which tasks are alone in their workers, making those that there are not yet."""
        if not numbers:
            return {}
        ledger = self._ledger
        rows = await self._connection.fetch(sql.LANES_OF, numbers)
        await ledger.lanes.meet(self._connection, [lane for _, lane in rows])
        keys = {number: (*ledger.lanes.lane(lane).key[:3], True) for number, lane in rows}
        await ledger.lanes.ensure(self._connection, keys.values())
        return {number: ledger.lanes.number(key) for number, key in keys.items()}

    def _is_ready(self, write: Settle) -> bool:
        return not write.settlement.held and write.settlement.run_at <= self._ledger.now

    def _settled(self, write: Settle, row: Record) -> None:
        """Count a settlement and add its event."""
        (_, uuid, lane, new_lane, attempt, ordinal, size, new_size) = row
        ledger, settlement = self._ledger, write.settlement
        ledger.counters.drop(lane, _RUNNING, size)
        ledger.counters.add(new_lane, settlement.state, new_size)
        ledger.settled(lane)
        if settlement.state is _QUEUED and not settlement.held:
            ledger.queued(new_lane, settlement.run_at, write.number, is_ready=self._is_ready(write))
        ledger.add(
            Line(
                number=write.number,
                task_id=task_id(uuid),
                kind=ledger.lanes.lane(lane).kind,
                ordinal=ordinal,
                at=settlement.at,
                name=settlement.event,
                state=settlement.state,
                attempt=attempt,
                reason=settlement.reason,
                token=write.token,
                data=settlement_data(write),
            )
        )

    # ── what matched nothing ───────────────────────────────────────

    async def _answers(self, batch: Sequence[AttemptWrite], applied: Collection[int]) -> Sequence[WriteResult]:
        refused = [write.number for place, write in enumerate(batch) if place not in applied]
        rows = await read_whole(self._connection, refused)
        return [
            _APPLIED if place in applied else _refused(write, rows.get(write.number))
            for place, write in enumerate(batch)
        ]


def _in_order(rows: Sequence[Values]) -> Iterable[Sequence[Any]]:
    """Give the columns of rows of a place and a number, by number: so nobody waits in a circle."""
    return columns(sorted(rows, key=itemgetter(1)))


def _refused(write: AttemptWrite, row: Record | None) -> Refused:
    if row is None:
        return Refused(Refusal.MISSING)
    task = task_of(row)
    # RACE: whoever had the row when the guard failed may have committed since, so that it would hold now.
    return refusal(task, write) or Refused(Refusal.CHANGED, task)


def _storable(value: Any) -> Any:
    """Replace what no text of PostgreSQL can hold; nothing but what an attempt says of its files may have it."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _ending(write: Settle) -> tuple[str | None, int | None]:
    """Spell the error that a settlement leaves in place of the one before, and give the size of it or the result;
    None when that stays.
    """
    settlement = write.settlement
    if settlement.state is _SUCCEEDED:
        return None, len(settlement.result or b"")
    error = json_text(settlement.error)
    return error, None if error is None else len(error.encode())


def _end_row(place: int, write: Settle) -> Values:
    settlement = write.settlement
    error, size = _ending(write)
    return (
        place,
        write.number,
        write.token,
        settlement.cancel_seen,
        settlement.state,
        settlement.reason,
        settlement.run_at,
        settlement.charged,
        settlement.lost,
        settlement.interrupted,
        settlement.cancel_outcome,
        settlement.at,
        write.ran_s,
        error,
        settlement.result if settlement.state is _SUCCEEDED else None,
        size,
    )


def _back_row(place: int, write: Settle, *, lane: int | None, is_ready: bool) -> Values:
    settlement = write.settlement
    error, size = _ending(write)
    return (
        place,
        write.number,
        write.token,
        settlement.cancel_seen,
        lane,
        is_ready,
        settlement.held,
        settlement.reason,
        settlement.run_at,
        settlement.charged,
        settlement.lost,
        settlement.interrupted,
        settlement.cancel_outcome,
        write.ran_s,
        error,
        size,
    )
