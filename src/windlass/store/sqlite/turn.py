"""The writes of one turn, on a transaction that is open. Decides nothing, commits nothing.

Writes of one sort that follow each other go to SQLite in one call; what comes out is as if each had gone alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import (
    Applied,
    Delete,
    Edit,
    Forget,
    Hide,
    Hold,
    KeepFile,
    Prune,
    Refusal,
    Refused,
    Release,
    Report,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    SubmitBatch,
    Sweep,
    Write,
    WriteResult,
)
from windlass.core.decide import Settlement
from windlass.core.state import State
from windlass.core.task import Event
from windlass.errors import StoreError
from windlass.store.batches import key_of
from windlass.store.instants import to_micros
from windlass.store.moves import AttemptWrite, refusal, settlement_data
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Row
from windlass.store.sqlite.edits import Edits, find_row
from windlass.store.sqlite.groups import change_each, insert_each, run_each
from windlass.store.sqlite.intake import Intake
from windlass.store.sqlite.ledger import Ledger
from windlass.store.sqlite.queues import QueueWrites
from windlass.store.sqlite.removal import Removal
from windlass.store.sqlite.rows import blob_id, file_row, json_text, task_of, token_blob
from windlass.wire.codec import encode_view

_APPLIED: Final = Applied()
_QUEUED, _RUNNING, _SUCCEEDED = State.QUEUED, State.RUNNING, State.SUCCEEDED


class TurnWriter:
    """Applies the writes of one turn; what they do beside the rows goes into the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection
        intake, edits, removal = Intake(ledger), Edits(ledger), Removal(ledger)
        queues = QueueWrites(ledger.connection, ledger.queues)
        self._sorts: dict[type[Write], Callable[[Sequence[Any]], Sequence[WriteResult]]] = {
            Submit: intake.submit,
            SubmitBatch: intake.submit_batches,
            Settle: self._settle,
            Report: self._report,
            Save: self._save,
            KeepFile: self._keep_files,
            RequestCancel: edits.amend,
            Hide: edits.amend,
            Retry: edits.amend,
            Hold: edits.amend,
            Release: edits.amend,
            Edit: edits.amend,
            DeclareQueues: queues.declare,
            SetQueue: queues.set,
            Delete: removal.delete,
            Prune: removal.prune,
            Sweep: removal.sweep,
            Forget: removal.forget,
        }

    def apply(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Apply `writes` in order; one result for each."""
        self._ledger.leases.heed(writes)
        results: list[WriteResult] = []
        for run in _runs(writes):
            results += self._sorts[type(run[0])](run)
        return results

    # ── writes of attempts ─────────────────────────────────────────

    def _settle(self, batch: Sequence[Settle]) -> Sequence[WriteResult]:
        current = self._ledger.leases.end(batch) or self._current(batch)
        alike: defaultdict[Row, list[Row]] = defaultdict(list)
        results: list[Row] = []
        errors: list[Row] = []
        for place, row in current.items():
            write = batch[place]
            settlement = write.settlement
            ending = _ending(settlement)
            if settlement.state is _SUCCEEDED:
                results.append((write.number, settlement.result))
            elif ending is not None:
                errors.append((write.number, ending.decode()))
            size = None if ending is None else len(ending)
            token, at, run_at = token_blob(write.token), to_micros(settlement.at), to_micros(settlement.run_at)
            is_ready = settlement.state is _QUEUED and not settlement.held and run_at <= self._ledger.now
            alike[_shape(settlement, is_ready=is_ready)].append((write.number, token, run_at, at, write.ran_s, size))
            event = self._settled(write, row, size=size)
            self._ledger.add(event, at=at, token=token)
        for shape, settlements in alike.items():
            change_each(self._connection, sql.SETTLE, settlements, shape)
        insert_each(self._connection, sql.KEEP_RESULT, results)
        insert_each(self._connection, sql.KEEP_ERROR, errors)
        return self._answers(batch, current)

    def _settled(self, write: Settle, row: Row, *, size: int | None) -> Event:
        """Count a settlement and give its event; `size` is that of the ending it leaves, if it leaves one."""
        (_, blob, lane, attempt, ordinal, size_bytes, ending_bytes) = row
        ledger, settlement = self._ledger, write.settlement
        ledger.counters.drop(lane, _RUNNING, size_bytes)
        ledger.counters.add(lane, settlement.state, size_bytes if size is None else size_bytes - ending_bytes + size)
        return Event(
            seq=ledger.next_seq(),
            number=write.number,
            task_id=blob_id(blob),
            kind=ledger.lanes.name(lane)[1],
            ordinal=ordinal + 1,
            at=settlement.at,
            name=settlement.event,
            state=settlement.state,
            attempt=attempt,
            reason=settlement.reason,
            token=write.token,
            data=settlement_data(write),
        )

    def _report(self, batch: Sequence[Report]) -> Sequence[WriteResult]:
        current = self._current(batch)
        reports = [(*_guard(batch[place]), json_text(batch[place].progress)) for place in current]
        change_each(self._connection, sql.REPORT, reports)
        return self._answers(batch, current)

    def _save(self, batch: Sequence[Save]) -> Sequence[WriteResult]:
        current = self._current(batch)
        change_each(self._connection, sql.SAVE, [_guard(batch[place]) for place in current])
        kept = [(batch[place].number, batch[place].checkpoint) for place in current]
        insert_each(self._connection, sql.KEEP_CHECKPOINT, kept)
        return self._answers(batch, current)

    def _keep_files(self, batch: Sequence[KeepFile]) -> Sequence[WriteResult]:
        current = self._current(batch)
        change_each(self._connection, sql.TOUCH, [_guard(batch[place]) for place in current])
        kept = [file_row(batch[place].number, batch[place].file) for place in current]
        insert_each(self._connection, sql.KEEP_FILE, kept)
        return self._answers(batch, current)

    def _current(self, batch: Sequence[AttemptWrite]) -> dict[int, Row]:
        """Read the rows whose guards hold, by the places of their writes and in their order."""
        guards = [
            (place, *_guard(write), write.settlement.cancel_seen if isinstance(write, Settle) else None)
            for place, write in enumerate(batch)
        ]
        return {row[0]: row for row in sorted(run_each(self._connection, sql.ATTEMPTS, guards))}

    def _answers(self, batch: Sequence[AttemptWrite], current: dict[int, Row]) -> Sequence[WriteResult]:
        return [_APPLIED if place in current else self._refused(write) for place, write in enumerate(batch)]

    def _refused(self, write: AttemptWrite) -> Refused:
        row = find_row(self._connection, write.number)
        if row is None:
            return Refused(Refusal.MISSING)
        refused = refusal(task_of(row), write)
        if refused is None:
            raise StoreError(f"task {write.number} refused a write that its row allows: the store is not as we left it")
        return refused


def _ending(settlement: Settlement) -> bytes | None:
    """Spell what a settlement leaves in place of the result or error before; None when that stays."""
    if settlement.state is _SUCCEEDED:
        return settlement.result or b""
    return None if settlement.error is None else encode_view(settlement.error)


def _shape(settlement: Settlement, *, is_ready: bool) -> Row:
    """Lay out what a settlement has in common with those that are alike, as `SETTLE` takes it."""
    return (
        settlement.cancel_seen,
        settlement.state,
        is_ready,
        settlement.held,
        settlement.solo,
        settlement.reason,
        settlement.charged,
        settlement.lost,
        settlement.interrupted,
        settlement.cancel_outcome,
        settlement.state is not _QUEUED,
    )


def _guard(write: AttemptWrite) -> Row:
    return (write.number, token_blob(write.token))


def _runs(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """Cut `writes` into runs of one sort in which no task, id, key or replay comes twice."""
    for _, group in groupby(writes, type):
        run = list(group)
        subjects = [subject for write in run for subject in _subjects(write)]
        if len(set(subjects)) == len(subjects):
            yield run
        else:
            yield from _cut(run)


def _cut(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """Cut writes of one sort where a subject comes again."""
    run: list[Write] = []
    seen: set[Hashable] = set()
    for write in writes:
        subjects = _subjects(write)
        if not seen.isdisjoint(subjects):
            yield run
            run, seen = [], set()
        run.append(write)
        seen.update(subjects)
    yield run


def _subjects(write: Write) -> tuple[Hashable, ...]:
    if type(write) is not Submit:  # `isinstance` is slow where it says no: 0.13 µs a class
        return (write.number,) if isinstance(write, AttemptWrite) else ()  # others are applied one by one
    new, replay = write.task, write.replay
    subjects: list[Hashable] = [new.id]
    if new.key is not None:
        subjects.append(key_of(new))
    if replay is not None:
        subjects.append(("replay", "of", replay.scope, replay.key))
    return tuple(subjects)
