"""Writes of clients and operators that change a task: cancel, hide, retry, hold, release, edit. In a transaction.

Decides nothing: `moves` says what becomes of the task.
"""

from __future__ import annotations

from collections.abc import Sequence

from windlass.contracts.tasks import Applied, Edit, Refusal, Refused, Retry, TaskRef, WriteResult
from windlass.core.state import State
from windlass.core.task import Task
from windlass.store.instants import to_micros
from windlass.store.moves import LABELS, Amendment, Change, Quiet, amended
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.groups import change_each
from windlass.store.sqlite.ledger import Ledger
from windlass.store.sqlite.rows import (
    ENDING_BYTES,
    LANE,
    ORDINAL,
    SIZE_BYTES,
    id_blob,
    json_text,
    optional_micros,
    task_of,
)


class Edits:
    """The amendments of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection

    def amend(self, batch: Sequence[Amendment]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [self._amend(write) for write in batch]

    def _amend(self, write: Amendment) -> WriteResult:
        row = find_row(self._connection, write.ref)
        if row is None:
            return Refused(Refusal.MISSING)
        before = task_of(row)
        change = amended(before, write)
        if isinstance(change, Quiet):
            change_each(self._connection, sql.HIDE, [(before.number, before.version)])
            return Applied(change.task)
        if not isinstance(change, Change):
            return change
        size = row[SIZE_BYTES]
        lane = row[LANE]
        self._ledger.counters.drop(lane, before.state, size)
        if isinstance(write, Edit):
            lane = self._edit(before, change)
        else:
            self._change(before, change.task, is_retry=isinstance(write, Retry))
        if isinstance(write, Retry):
            self._connection.execute(sql.FORGET_ENDING, (before.number,))
            size -= row[ENDING_BYTES]
        self._ledger.counters.add(lane, change.task.state, size)
        self._ledger.record(change, ordinal=row[ORDINAL] + 1)
        return Applied(change.task)

    def _edit(self, before: Task, change: Change) -> int:
        """Store an edited task; give the lane it is in now."""
        task = change.task
        lane = self._ledger.lanes.number(self._connection, task.queue, task.kind)
        run_at = to_micros(task.run_at)
        change_each(
            self._connection,
            sql.EDIT,
            [(task.number, before.version, lane, self._is_ready(task), task.priority, run_at)],
        )
        if not change.data.keys().isdisjoint(LABELS):
            labels = (task.number, task.name, task.description, json_text(task.tags or None))
            change_each(self._connection, sql.RELABEL, [labels])
        return lane

    def _change(self, before: Task, task: Task, *, is_retry: bool) -> None:
        values = (
            task.number,
            before.version,
            task.state,
            self._is_ready(task),
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
            task.is_hidden,
        )
        change_each(self._connection, sql.AMEND, [values])

    def _is_ready(self, task: Task) -> bool:
        return task.state is State.QUEUED and not task.held and to_micros(task.run_at) <= self._ledger.now


def find_row(connection: Connection, ref: TaskRef) -> Row | None:
    """Read the row of a task, if there is one."""
    if isinstance(ref, int):
        return connection.execute(sql.TASK_BY_NUMBER, (ref,)).fetchone()
    return connection.execute(sql.TASK_BY_ID, (id_blob(ref),)).fetchone()
