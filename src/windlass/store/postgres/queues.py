"""Queues while a turn goes: what is kept of them, who may use the room under their limits, and how full they are.

Decides nothing: `core.queue` says what room there is, `store.queues` what a write makes of a queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import Applied, Submit, SubmitBatch, Write, WriteResult
from windlass.core.queue import Queue
from windlass.core.state import State
from windlass.store.postgres import statements as sql
from windlass.store.postgres.counters import Counters
from windlass.store.postgres.driver import Connection, Record, Values
from windlass.store.postgres.lanes import Lanes
from windlass.store.postgres.rows import queue_of
from windlass.store.queues import declared, set_of


class Queues:
    """What is kept of queues, read anew in each turn: other servers change it.

    RACE: who uses the room under a limit locks its queue first, and counts in a later statement, which sees what all
    earlier holders of the lock have committed. The writes of a turn lock all they need at once and in one order; its
    claim, coming later, waits for a lock only if the turn has none. So turns do not wait for each other in a circle.
    """

    def __init__(self, connection: Connection, rows: Iterable[Record | Values]) -> None:
        self._connection = connection
        self._known = {queue.name: queue for queue in map(queue_of, rows)}
        self._locked: set[str] = set()

    @property
    def known(self) -> Mapping[str, Queue]:
        """What is kept, by name; of other queues nothing is."""
        return self._known

    async def lock_for(self, writes: Sequence[Write]) -> None:
        """Lock the queues whose limits or definitions `writes` depend on."""
        names = {name for write in writes for name in self._needed_by(write)}
        if names:
            await self._lock(names, sql.LOCK_QUEUES)

    async def lock_for_claim(self, names: Collection[str]) -> Collection[str]:
        """Lock queues whose tasks are to start; gives those that are this turn's now."""
        missing = set(names) - self._locked
        if missing:
            await self._lock(missing, sql.LOCK_FREE_QUEUES if self._locked else sql.LOCK_QUEUES)
        return self._locked & set(names)

    async def keep(self, queue: Queue) -> None:
        """Keep what is said of a queue now."""
        if queue.is_plain:
            await self._connection.execute(sql.FORGET_QUEUE, queue.name)
            self._known.pop(queue.name, None)
            return
        statement = sql.UPDATE_QUEUE if queue.name in self._known else sql.INSERT_QUEUE
        await self._connection.execute(statement, *_row(queue))
        self._known[queue.name] = queue
        self._locked.add(queue.name)

    async def _lock(self, names: Collection[str], statement: str) -> None:
        for queue in map(queue_of, await self._connection.fetch(statement, sorted(names))):
            self._known[queue.name] = queue
            self._locked.add(queue.name)

    def _needed_by(self, write: Write) -> Iterator[str]:
        match write:
            case Submit(task=new):
                yield from self._bounded([new.queue])
            case SubmitBatch(tasks=tasks):
                yield from self._bounded({new.queue for new in tasks})
            case SetQueue(name=name):
                yield name
            case DeclareQueues(queues=defaults):
                yield from self._known
                yield from (default.name for default in defaults)
            case _:
                pass

    def _bounded(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            queue = self._known.get(name)
            if queue is not None and queue.capacity is not None:
                yield name


class Occupancy:
    """How many tasks of a queue are queued or running as the turn stands: what the store has counted, read once for
    each queue that is asked for, and what the turn has changed.
    """

    def __init__(self, connection: Connection, lanes: Lanes, counters: Counters) -> None:
        self._connection = connection
        self._lanes = lanes
        self._counters = counters
        self._counted: dict[str, Counter[str]] = {}

    async def load(self, queues: Iterable[str]) -> None:
        """Read what the store has counted of `queues`, which must be locked for it to last, unless that was done."""
        names = sorted(set(queues) - self._counted.keys())
        if not names:
            return
        self._counted.update((name, Counter()) for name in names)
        for name, state, tasks in await self._connection.fetch(sql.COUNTS_OF_QUEUES, names):
            self._counted[name][state] = tasks

    def count(self, queue: str, state: State) -> int:
        """Count the tasks of a queue that is loaded in `state`."""
        return self._counted[queue][state] + self.change(queue, state)

    def change(self, queue: str, state: State) -> int:
        """Say how many tasks more of a queue this turn has brought into `state`."""
        return sum(tasks for lane, tasks in self._counters.changes(state) if self._lanes.lane(lane).queue == queue)


class QueueWrites:
    """What operators and settings say of queues, in one turn."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    async def declare(self, batch: Sequence[DeclareQueues]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [Applied(created=await self._keep(declared(self._queues.known, write))) for write in batch]

    async def set(self, batch: Sequence[SetQueue]) -> Sequence[WriteResult]:
        """Apply each of `batch`."""
        return [await self._set(write) for write in batch]

    async def _set(self, write: SetQueue) -> WriteResult:
        before = self._queues.known.get(write.name, Queue(name=write.name))
        after = set_of(before, write)
        return Applied(created=await self._keep([after] if after != before else []), queue=after)

    async def _keep(self, changed: Sequence[Queue]) -> bool:
        for queue in changed:
            await self._queues.keep(queue)
        return bool(changed)


def _row(queue: Queue) -> Values:
    return (
        queue.name,
        queue.default_concurrency,
        queue.default_capacity,
        queue.set_concurrency,
        queue.set_capacity,
        queue.paused_at,
        queue.pause_reason,
    )
