"""The writes of one turn, on a transaction that is open. Decides nothing, commits nothing.

Writes of one sort that follow each other go to SQLite in one call; what comes out is as if each had gone alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from windlass.contracts.tasks import (
    Applied,
    KeepFile,
    Refusal,
    Refused,
    Report,
    Retry,
    Save,
    Settle,
    Submit,
    TaskRef,
    Write,
    WriteResult,
)
from windlass.core.state import EventName, State
from windlass.core.task import Event, NewTask
from windlass.errors import StoreError
from windlass.store.instants import to_micros
from windlass.store.moves import (
    Amendment,
    AttemptWrite,
    Change,
    amended,
    met,
    refusal,
    settlement_data,
    submitted,
)
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import change_each
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.lanes import Lanes
from windlass.store.sqlite.rows import (
    ORDINAL,
    blob_id,
    event_row,
    file_row,
    id_blob,
    json_text,
    optional_micros,
    spec_row,
    task_of,
    token_blob,
)

_APPLIED: Final = Applied()


class TurnWriter:
    """Applies the writes of one turn and gathers its events.

    Numbers and seqs are given out here, from where the store's own counters stand: nobody else writes.
    """

    def __init__(self, connection: Connection, lanes: Lanes, *, now: datetime) -> None:
        self._connection = connection
        self._lanes = lanes
        self._now = to_micros(now)
        counters: dict[str, int] = dict(connection.execute(sql.COUNTERS))
        self._number = counters.get("tasks", 0)
        self._seq = counters.get("events", 0)
        self.events: list[Event] = []
        lanes.load(connection)

    def apply(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Apply `writes` in order; one result for each."""
        sorts: dict[type[Write], Callable[[Sequence[Any]], Sequence[WriteResult]]] = {
            Submit: self._submit,
            Settle: self._settle,
            Report: self._report,
            Save: self._save,
            KeepFile: self._keep_files,
        }
        results: list[WriteResult] = []
        for run in _runs(writes):
            results += sorts.get(type(run[0]), self._amend)(run)
        return results

    def record(self, change: Change, *, ordinal: int) -> None:
        """Add the event of a change, as the `ordinal`-th of its task."""
        task = change.task
        event = Event(
            seq=self._next_seq(),
            number=task.number,
            task_id=task.id,
            kind=task.kind,
            ordinal=ordinal,
            at=change.at,
            name=change.event,
            state=task.state,
            attempt=task.attempt,
            reason=change.reason,
            token=change.token,
            data=change.data,
        )
        self.events.append(event)

    def append_events(self) -> None:
        """Store the events gathered; the last thing a turn does."""
        self._connection.executemany(sql.INSERT_EVENT, map(event_row, self.events))

    # ── submit ─────────────────────────────────────────────────────

    def _submit(self, batch: Sequence[Submit]) -> Sequence[WriteResult]:
        ids = [id_blob(write.task.id) for write in batch]
        known = dict(self._connection.executemany(sql.NUMBER_BY_ID, [(blob,) for blob in ids]))
        results: list[WriteResult] = []
        tasks: list[Row] = []
        specs: list[Row] = []
        for new, blob in zip((write.task for write in batch), ids, strict=True):
            number = known.get(blob)
            if number is None and new.key is not None:
                number = self._number_by_key(new)
            if number is not None and (row := self._find_row(number)) is not None:
                results.append(met(task_of(row), new))
                continue
            self._number += 1
            task = submitted(new, self._number)
            lane = self._lanes.number(self._connection, new.queue, new.kind)
            run_at = to_micros(new.run_at)
            tasks.append((task.number, blob, lane, run_at <= self._now, new.priority, run_at, new.grace_s))
            specs.append(spec_row(task.number, new))
            self.record(Change(task=task, event=EventName.SUBMITTED, at=new.created_at), ordinal=1)
            results.append(Applied(task))
        self._connection.executemany(sql.INSERT_TASK, tasks)
        self._connection.executemany(sql.INSERT_SPEC, specs)
        return results

    def _number_by_key(self, new: NewTask) -> int | None:
        row = self._connection.execute(sql.NUMBER_BY_KEY, (new.key, new.kind, new.origin or "")).fetchone()
        return None if row is None else row[0]

    # ── writes of attempts ─────────────────────────────────────────

    def _settle(self, batch: Sequence[Settle]) -> Sequence[WriteResult]:
        current = self._current(batch)
        change_each(self._connection, sql.SETTLE, [self._settlement(batch[place]) for place in current])
        outcomes: list[Row] = []
        errors: list[Row] = []
        for place, (_, blob, lane, attempt, ordinal) in current.items():
            write = batch[place]
            settlement = write.settlement
            if settlement.state is State.SUCCEEDED:
                outcomes.append((write.number, settlement.result))
            elif settlement.error is not None:
                errors.append((write.number, json_text(settlement.error)))
            event = Event(
                seq=self._next_seq(),
                number=write.number,
                task_id=blob_id(blob),
                kind=self._lanes.name(lane)[1],
                ordinal=ordinal + 1,
                at=settlement.at,
                name=settlement.event,
                state=settlement.state,
                attempt=attempt,
                reason=settlement.reason,
                token=write.token,
                data=settlement_data(write),
            )
            self.events.append(event)
        self._connection.executemany(sql.KEEP_RESULT, outcomes)
        self._connection.executemany(sql.KEEP_ERROR, errors)
        return self._answers(batch, current)

    def _settlement(self, write: Settle) -> Row:
        """Lay out a settlement as `SETTLE` takes it."""
        settlement = write.settlement
        queued = settlement.state is State.QUEUED
        run_at = to_micros(settlement.run_at)
        return (
            write.number,
            token_blob(write.token),
            settlement.cancel_seen,
            settlement.state,
            queued and not settlement.held and run_at <= self._now,
            settlement.held,
            settlement.solo,
            settlement.reason,
            run_at,
            settlement.charged,
            settlement.lost,
            settlement.interrupted,
            None if queued else to_micros(settlement.at),
            write.ran_s,
            settlement.cancel_outcome,
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
        self._connection.executemany(sql.KEEP_CHECKPOINT, kept)
        return self._answers(batch, current)

    def _keep_files(self, batch: Sequence[KeepFile]) -> Sequence[WriteResult]:
        current = self._current(batch)
        change_each(self._connection, sql.TOUCH, [_guard(batch[place]) for place in current])
        kept = [file_row(batch[place].number, batch[place].file) for place in current]
        self._connection.executemany(sql.KEEP_FILE, kept)
        return self._answers(batch, current)

    def _current(self, batch: Sequence[AttemptWrite]) -> dict[int, Row]:
        """Read the rows whose guards hold, by the places of their writes."""
        guards = [
            (place, *_guard(write), write.settlement.cancel_seen if isinstance(write, Settle) else None)
            for place, write in enumerate(batch)
        ]
        return {row[0]: row for row in self._connection.executemany(sql.ATTEMPTS, guards)}

    def _answers(self, batch: Sequence[AttemptWrite], current: dict[int, Row]) -> Sequence[WriteResult]:
        return [_APPLIED if place in current else self._refused(write) for place, write in enumerate(batch)]

    def _refused(self, write: AttemptWrite) -> Refused:
        row = self._find_row(write.number)
        if row is None:
            return Refused(Refusal.MISSING)
        refused = refusal(task_of(row), write)
        if refused is None:
            raise StoreError(f"task {write.number} refused a write that its row allows: the store is not as we left it")
        return refused

    # ── writes of clients and operators ────────────────────────────

    def _amend(self, batch: Sequence[Amendment]) -> Sequence[WriteResult]:
        return [self._amend_one(write) for write in batch]

    def _amend_one(self, write: Amendment) -> WriteResult:
        row = self._find_row(write.ref)
        if row is None:
            return Refused(Refusal.MISSING)
        before = task_of(row)
        change = amended(before, write)
        if not isinstance(change, Change):
            return change
        task = change.task
        ready = task.state is State.QUEUED and not task.held and to_micros(task.run_at) <= self._now
        is_retry = isinstance(write, Retry)
        values = (
            task.number,
            before.version,
            task.state,
            ready,
            task.held,
            task.reason,
            to_micros(task.run_at),
            task.charged,
            task.lost,
            task.interrupted,
            is_retry,
            optional_micros(task.started_at),
            optional_micros(task.finished_at),
            task.grace_s,
            optional_micros(task.cancel_requested_at),
            task.cancel_reason,
            task.cancel_outcome,
            json_text(task.progress),
        )
        change_each(self._connection, sql.AMEND, [values])
        if is_retry:
            self._connection.execute(sql.FORGET_ENDING, (task.number,))
        self.record(change, ordinal=row[ORDINAL] + 1)
        return Applied(task)

    # ── rows ───────────────────────────────────────────────────────

    def _find_row(self, ref: TaskRef) -> Row | None:
        if isinstance(ref, int):
            return self._connection.execute(sql.TASK_BY_NUMBER, (ref,)).fetchone()
        return self._connection.execute(sql.TASK_BY_ID, (id_blob(ref),)).fetchone()

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq


def _guard(write: AttemptWrite) -> Row:
    return (write.number, token_blob(write.token))


def _runs(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """Cut `writes` into runs of one sort in which no task, id or key comes twice."""
    run: list[Write] = []
    seen: set[Hashable] = set()
    for write in writes:
        subjects = _subjects(write)
        if run and (type(write) is not type(run[0]) or not seen.isdisjoint(subjects)):
            yield run
            run, seen = [], set()
        run.append(write)
        seen.update(subjects)
    if run:
        yield run


def _subjects(write: Write) -> tuple[Hashable, ...]:
    if not isinstance(write, Submit):
        return () if isinstance(write, Amendment) else (write.number,)
    new = write.task
    return (new.id,) if new.key is None else (new.id, (new.key, new.kind, new.origin or ""))
