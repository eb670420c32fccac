"""Queues on SQLite: what is kept of them, how full they are while a turn goes, and how they stand for readers.

Decides nothing: `core.queue` says what room there is, `store.queues` what a write makes of a queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from windlass.contracts.queues import DeclareQueues, QueueRow, SetQueue
from windlass.contracts.tasks import Applied, WriteResult
from windlass.core.queue import Queue
from windlass.core.state import State
from windlass.store.instants import from_micros
from windlass.store.queues import declared, set_of
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.counters import Counters
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.lanes import Lanes
from windlass.store.sqlite.rows import instant, optional_micros


class Queues:
    """What is kept of queues, as the writing thread knows it, so that a turn need not read it.

    Concurrency: the writing thread's alone.
    """

    def __init__(self) -> None:
        self._known: dict[str, Queue] | None = None

    def load(self, connection: Connection) -> None:
        """Read what is kept, unless it is known."""
        if self._known is None:
            self._known = _read(connection)

    def forget(self) -> None:
        """Know nothing any more: a transaction that may have changed queues was undone."""
        self._known = None

    @property
    def known(self) -> Mapping[str, Queue]:
        """What is kept, by name; of other queues nothing is."""
        return self._known or {}

    def keep(self, connection: Connection, queue: Queue) -> None:
        """Keep what is said of a queue now."""
        known = {} if self._known is None else self._known
        if queue.is_plain:
            connection.execute(sql.FORGET_QUEUE, (queue.name,))
            known.pop(queue.name, None)
        else:
            connection.execute(sql.KEEP_QUEUE, _row(queue))
            known[queue.name] = queue


class Occupancy:
    """How many tasks of a queue are queued or running as the turn stands: what the store has counted, read once for
    each queue that is asked for, and what the turn has changed.
    """

    def __init__(self, connection: Connection, lanes: Lanes, counters: Counters) -> None:
        self._connection = connection
        self._lanes = lanes
        self._counters = counters
        self._counted: dict[str, Counter[str]] = {}

    def count(self, queue: str, state: State) -> int:
        """Count the tasks of `queue` in `state`."""
        if queue not in self._counted:
            self._counted[queue] = Counter()
            for counted, tasks in self._connection.execute(sql.COUNTS_OF_QUEUE, (queue,)):
                self._counted[queue][counted] += tasks
        changes = self._counters.changes(state)
        changed = sum(tasks for lane, tasks in changes if self._lanes.name(lane)[0] == queue)
        return self._counted[queue][state] + changed


class QueueWrites:
    """What operators and settings say of queues, in one turn."""

    def __init__(self, connection: Connection, queues: Queues) -> None:
        self._connection = connection
        self._queues = queues

    def declare(self, batch: Sequence[DeclareQueues]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [Applied(created=self._keep(declared(self._queues.known, write))) for write in batch]

    def set(self, batch: Sequence[SetQueue]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [self._set(write) for write in batch]

    def _set(self, write: SetQueue) -> WriteResult:
        before = self._queues.known.get(write.name, Queue(name=write.name))
        after = set_of(before, write)
        return Applied(created=self._keep([after] if after != before else []), queue=after)

    def _keep(self, changed: Sequence[Queue]) -> bool:
        for queue in changed:
            self._queues.keep(self._connection, queue)
        return bool(changed)


def read_queues(connection: Connection) -> Sequence[QueueRow]:
    """Read the queues and what is in them, by name."""
    kept = _read(connection)
    counts: dict[str, Counter[str]] = {name: Counter() for name in kept}
    lanes: dict[str, list[int]] = {}
    for lane, name, state, tasks in connection.execute(sql.COUNTS_OF_LANES):
        counts.setdefault(name, Counter())[state] += tasks
        if state == State.QUEUED:
            lanes.setdefault(name, []).append(lane)
    return [
        QueueRow(
            queue=kept.get(name, Queue(name=name)),
            queued=counts[name][State.QUEUED],
            running=counts[name][State.RUNNING],
            ready_since=instant(_ready_since(connection, lanes.get(name, []))),
        )
        for name in sorted(counts)
    ]


def _ready_since(connection: Connection, lanes: Iterable[int]) -> int | None:
    keys = [(lane, solo) for lane in lanes for solo in (0, 1)]
    firsts = [since for (since,) in connection.executemany(sql.READY_SINCE, keys) if since is not None]
    return min(firsts, default=None)


def _read(connection: Connection) -> dict[str, Queue]:
    return {queue.name: queue for queue in map(_queue_of, connection.execute(sql.QUEUES))}


def _row(queue: Queue) -> Row:
    return (
        queue.name,
        queue.default_concurrency,
        queue.default_capacity,
        queue.set_concurrency,
        queue.set_capacity,
        optional_micros(queue.paused_at),
        queue.pause_reason,
    )


def _queue_of(row: Row) -> Queue:
    (name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at, pause_reason) = row
    return Queue(
        name=name,
        default_concurrency=default_concurrency,
        default_capacity=default_capacity,
        set_concurrency=set_concurrency,
        set_capacity=set_capacity,
        paused_at=None if paused_at is None else from_micros(paused_at),
        pause_reason=pause_reason,
    )
