"""What one turn gathers while it goes: events, counters, what became ready. Writes it down when told to.

Gives out no numbers: the store's sequences do, as other servers write too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from windlass.core.ids import TaskId, Token
from windlass.core.state import EventName, Reason, State
from windlass.core.task import Event, Task
from windlass.store.moves import Change
from windlass.store.postgres import statements as sql
from windlass.store.postgres.counters import Counters
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.floors import DUE, Floors
from windlass.store.postgres.groups import columns
from windlass.store.postgres.lanes import Lanes
from windlass.store.postgres.queues import Occupancy, Queues
from windlass.store.postgres.rows import json_text

_NO_EVENTS: Sequence[Sequence[Any]] = ((),) * 9
_NO_COUNTS: Sequence[Sequence[Any]] = ((),) * 4


class Line(NamedTuple):
    """An event that has no seq yet."""

    number: int
    task_id: TaskId
    kind: str
    ordinal: int
    at: datetime
    name: EventName
    state: State
    attempt: int
    reason: Reason | None = None
    token: Token | None = None
    data: Any = None


class Ledger:
    """One turn's book, on a transaction that is open. `touched` are tasks that have changed without an event."""

    def __init__(self, connection: Connection, lanes: Lanes, queues: Queues, *, floors: Floors, now: datetime) -> None:
        self.connection = connection
        self.lanes = lanes
        self.queues = queues
        self.floors = floors
        self.now = now
        self.events: list[Event] = []
        self.counters = Counters()
        self.occupancy = Occupancy(connection, lanes, self.counters)
        self.touched: set[int] = set()
        self.left_ready: set[int] = set()
        """What this turn has made ready, and not started."""
        self.has_freed = False
        """Whether there is room now in a queue where there may have been none."""
        self._lines: list[Line] = []

    def is_due(self, task: Task) -> bool:
        """Whether a task may start at once as far as its row tells."""
        return task.state is State.QUEUED and not task.held and task.run_at <= self.now

    def queued(self, lane: int, run_at: datetime, number: int, *, is_ready: bool) -> None:
        """Note that a task, which is not held, may start now or waits for its time."""
        self.floors.lower(lane if is_ready else DUE, (run_at, number))
        if is_ready:
            self.lanes.seen([lane])
            self.left_ready.add(number)

    def settled(self, lane: int) -> None:
        """Note that a task of a lane runs no more."""
        queue = self.queues.known.get(self.lanes.lane(lane).queue)
        if queue is not None and queue.concurrency is not None:
            self.has_freed = True

    def add(self, line: Line) -> None:
        """Add an event."""
        self._lines.append(line)

    def record(self, change: Change, *, ordinal: int) -> None:
        """Add the event of a change, as the `ordinal`-th of its task."""
        task = change.task
        self.add(
            Line(
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
        )

    async def append_events(self) -> None:
        """Store the events gathered since the last time: before a deletion, which takes them away with their task."""
        if self._lines:
            await self._append(_NO_COUNTS)

    async def close(self) -> None:
        """Store all that is gathered; the last thing a turn does."""
        counts = self.counters.rows()
        if counts or self._lines:
            await self._append(tuple(columns(counts)) if counts else _NO_COUNTS)

    async def _append(self, counts: Sequence[Sequence[Any]]) -> None:
        lines, self._lines = self._lines, []
        rows = [
            (number, ordinal, at, name, state, attempt, reason, token, None if data is None else json_text(data))
            for (number, _, _, ordinal, at, name, state, attempt, reason, token, data) in lines
        ]
        values = columns(rows) if rows else _NO_EVENTS
        seqs = await self.connection.fetch(sql.APPEND, *values, *counts)
        self.events += [
            Event(
                seq=seq,
                number=number,
                task_id=task_id,
                kind=kind,
                ordinal=ordinal,
                at=at,
                name=name,
                state=state,
                attempt=attempt,
                reason=reason,
                token=token,
                data=data,
            )
            for (seq,), (number, task_id, kind, ordinal, at, name, state, attempt, reason, token, data) in zip(
                seqs, lines, strict=True
            )
        ]
