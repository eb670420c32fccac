"""What one turn gathers while it goes: new numbers, events, counters. Writes it down when told to.

Numbers and seqs are given out here, from where the store's own counters stand: nobody else writes.
"""

from __future__ import annotations

from datetime import datetime

from windlass.core.state import EventName, State
from windlass.core.task import Event, NewTask, Task
from windlass.store.instants import to_micros
from windlass.store.moves import Change
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.counters import Counters
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.groups import insert_each
from windlass.store.sqlite.lanes import Lanes
from windlass.store.sqlite.leases import Leases
from windlass.store.sqlite.queues import Occupancy, Queues
from windlass.store.sqlite.rows import event_row, token_blob

# Named once: an enumeration takes 0.07 µs to find a member, which is half of what an event takes.
_SUBMITTED, _STARTED = EventName.SUBMITTED, EventName.STARTED
_QUEUED, _RUNNING = State.QUEUED, State.RUNNING


class Known:
    """What the writing thread knows from one turn to the next, and need not read."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self.queues = Queues()
        self.leases = Leases()

    def forget(self) -> None:
        """Know nothing any more: a transaction was undone."""
        self.lanes.forget()
        self.queues.forget()
        self.leases.forget()


class Ledger:
    """One turn's book, on a transaction that is open. `now` is in microseconds."""

    def __init__(self, connection: Connection, known: Known, *, now: datetime) -> None:
        self.connection = connection
        self.lanes = lanes = known.lanes
        self.queues = queues = known.queues
        self.leases = known.leases
        self.now = to_micros(now)
        self.events: list[Event] = []
        self._rows: list[Row] = []
        """Those of the events that are not stored yet."""
        self.counters = Counters()
        self.occupancy = Occupancy(connection, lanes, self.counters)
        given: dict[str, int] = dict(connection.execute(sql.GIVEN_OUT))
        self._number = given.get("tasks", 0)
        self._seq = given.get("events", 0)
        self._of_origins: dict[str, int] = {}
        lanes.load(connection)
        queues.load(connection)

    def next_number(self) -> int:
        """Give out a number that no task has ever had."""
        self._number += 1
        return self._number

    def next_of_origin(self, origin: str) -> int:
        """Give out a number that no task of `origin` has ever had."""
        if origin not in self._of_origins:
            row = self.connection.execute(sql.GIVEN_OF_ORIGIN, (origin,)).fetchone()
            self._of_origins[origin] = 0 if row is None else row[0]
        self._of_origins[origin] += 1
        return self._of_origins[origin]

    def next_seq(self) -> int:
        """Give out the seq of the next event."""
        self._seq += 1
        return self._seq

    def submitted(self, new: NewTask, number: int, *, at: int) -> None:
        """Add the event of a new task; `at`, in microseconds, is when it was made."""
        event = Event(
            seq=self.next_seq(),
            number=number,
            task_id=new.id,
            kind=new.kind,
            ordinal=1,
            at=new.created_at,
            name=_SUBMITTED,
            state=_QUEUED,
            attempt=0,
        )
        self.add(event, at=at, token=None)

    def started(self, task: Task, *, at: datetime, ordinal: int, token: bytes) -> None:
        """Add the event of a claim in this turn, as the `ordinal`-th of its task."""
        event = Event(
            seq=self.next_seq(),
            number=task.number,
            task_id=task.id,
            kind=task.kind,
            ordinal=ordinal,
            at=at,
            name=_STARTED,
            state=_RUNNING,
            attempt=task.attempt,
            token=task.token,
        )
        self.add(event, at=self.now, token=token)

    def record(self, change: Change, *, ordinal: int) -> None:
        """Add the event of a change, as the `ordinal`-th of its task."""
        task = change.task
        event = Event(
            seq=self.next_seq(),
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
        self.add(event, at=to_micros(change.at), token=None if change.token is None else token_blob(change.token))

    def add(self, event: Event, *, at: int, token: bytes | None) -> None:
        """Add an event with the next seq; `at` and `token` are its own as they lie in its row."""
        self.events.append(event)
        self._rows.append(event_row(event, at=at, token=token))

    def append_events(self) -> None:
        """Store the events gathered since the last time: before a deletion, which takes them away with their task."""
        insert_each(self.connection, sql.INSERT_EVENT, self._rows)
        self._rows = []

    def close(self) -> None:
        """Store all that is gathered; the last thing a turn does."""
        self.append_events()
        self.counters.write(self.connection)
        if self._of_origins:
            self.connection.executemany(sql.KEEP_GIVEN, list(self._of_origins.items()))
