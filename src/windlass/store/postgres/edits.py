"""Writes of clients and operators that change a task: cancel, hide, retry, hold, release, edit. In a transaction.

Decides nothing: `moves` says what becomes of the task, whose row is locked from before that until the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from windlass.contracts.tasks import Applied, Refusal, Refused, WriteResult
from windlass.core.state import EventName, State
from windlass.core.task import Task
from windlass.store.moves import LABELS, Amendment, Change, Quiet, amended
from windlass.store.postgres import statements as sql
from windlass.store.postgres.driver import Record, Values
from windlass.store.postgres.groups import change_each
from windlass.store.postgres.ledger import Ledger
from windlass.store.postgres.lookup import lock_whole, numbers_of
from windlass.store.postgres.rows import json_text, task_of


class Edits:
    """The amendments of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection

    async def amend(self, batch: Sequence[Amendment]) -> Sequence[WriteResult]:
        """Apply each of `batch`; those of different tasks go together."""
        results: list[WriteResult] = []
        numbers = await numbers_of(self._connection, [write.ref for write in batch])
        for group in _groups(batch, numbers):
            rows = await lock_whole(self._connection, [number for _, number in group if number is not None])
            results += await self._amend([(write, rows.get(number or 0)) for write, number in group])
        return results

    async def _amend(self, group: Sequence[tuple[Amendment, Record | None]]) -> Sequence[WriteResult]:
        results: list[WriteResult] = []
        quiet: list[Task] = []
        changes: list[tuple[Record, Task, Change]] = []
        for write, row in group:
            if row is None:
                results.append(Refused(Refusal.MISSING))
                continue
            before = task_of(row)
            change = amended(before, write)
            if isinstance(change, Quiet):
                quiet.append(before)
                results.append(Applied(change.task))
            elif isinstance(change, Change):
                changes.append((row, before, change))
                results.append(Applied(change.task))
            else:
                results.append(change)
        await self._hide(quiet)
        if changes:
            await self._store(changes)
        return results

    async def _hide(self, tasks: Sequence[Task]) -> None:
        self._ledger.touched.update(task.number for task in tasks)
        running = [(task.number, task.version) for task in tasks if not task.state.has_ended]
        ended = [(task.number, task.version, task.finished_at) for task in tasks if task.state.has_ended]
        await change_each(self._connection, sql.HIDE, running)
        await change_each(self._connection, sql.HIDE_ENDED, ended)

    async def _store(self, changes: Sequence[tuple[Record, Task, Change]]) -> None:
        """Store changed tasks, each by what has become of it, count them and add their events."""
        await self._ledger.lanes.meet(self._connection, [row["lane"] for row, _, _ in changes])
        await self._ledger.lanes.ensure(self._connection, [_lane_key(change.task) for _, _, change in changes])
        rows: dict[str, list[Values]] = {}
        for row, before, change in changes:
            statement, values = self._laid_out(before, change.task)
            rows.setdefault(statement, []).append(values)
            self._count(row, before, change)
        for statement, values in rows.items():
            await change_each(self._connection, statement, values)
        labels = [
            (task.number, task.name, task.description, json_text(task.tags or None))
            for task in (change.task for _, _, change in changes if _relabels(change))
        ]
        await change_each(self._connection, sql.RELABEL, labels)

    def _laid_out(self, before: Task, task: Task) -> tuple[str, Values]:
        """Say which statement stores a changed task, and with what."""
        guard = (task.number, before.version)
        match before.state.has_ended, task.state.has_ended:
            case True, True:
                return sql.EDIT_ENDED, (*guard, before.finished_at)
            case True, False:
                return sql.RETRY, (*guard, before.finished_at, task.run_at, self._ledger.is_due(task))
            case False, True:
                asked = (task.cancel_requested_at, task.cancel_reason, task.cancel_outcome)
                return sql.CANCEL, (*guard, task.state, task.reason, task.finished_at, *asked, task.is_hidden)
            case _:
                return sql.AMEND, (*guard, *self._place_of(task), *_limits_of(task))

    def _place_of(self, task: Task) -> Values:
        return (self._lane(task), self._ledger.is_due(task), task.held, task.run_at)

    def _lane(self, task: Task) -> int:
        return self._ledger.lanes.number(_lane_key(task))

    def _count(self, row: Record, before: Task, change: Change) -> None:
        task, ledger = change.task, self._ledger
        size = row["size_bytes"]
        left = size - row["ending_bytes"] if before.state.has_ended and not task.state.has_ended else size
        lane = self._lane(task)
        ledger.counters.drop(row["lane"], before.state, size)
        ledger.counters.add(lane, task.state, left)
        ledger.record(change, ordinal=row["ordinal"] + 1)
        ledger.left_ready.discard(task.number)
        if task.state is State.QUEUED and not task.held:
            ledger.queued(lane, task.run_at, task.number, is_ready=ledger.is_due(task))


def _groups(
    batch: Sequence[Amendment], numbers: Sequence[int | None]
) -> Iterator[Sequence[tuple[Amendment, int | None]]]:
    """Cut writes, with the numbers of their tasks, where a task comes again."""
    group: list[tuple[Amendment, int | None]] = []
    seen: set[int] = set()
    for write, number in zip(batch, numbers, strict=True):
        if number in seen:
            yield group
            group, seen = [], set()
        group.append((write, number))
        if number is not None:
            seen.add(number)
    yield group


def _lane_key(task: Task) -> tuple[str, str, int, bool]:
    return (task.queue, task.kind, task.priority, task.solo)


def _limits_of(task: Task) -> Values:
    asked = (task.cancel_requested_at, task.cancel_reason)
    return (task.lost, task.interrupted, task.grace_s, *asked, task.is_hidden)


def _relabels(change: Change) -> bool:
    return change.event is EventName.EDITED and not change.data.keys().isdisjoint(LABELS)
