"""New tasks on their way into the store: one by one in a group, or a batch as a whole. On a transaction that is open.

Knows ids, keys and replays; decides nothing about tasks that are there already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from windlass.contracts.tasks import Applied, Refusal, Refused, Submit, SubmitBatch, WriteResult
from windlass.core.ids import TaskId
from windlass.core.queue import places_left
from windlass.core.state import EventName, State
from windlass.core.task import NewTask, Task
from windlass.errors import StoreError
from windlass.store.batches import Key, first_beyond, key_of, meet, placed
from windlass.store.moves import met, submitted
from windlass.store.postgres import statements as sql
from windlass.store.postgres.groups import columns
from windlass.store.postgres.ledger import Ledger, Line
from windlass.store.postgres.lookup import read_whole
from windlass.store.postgres.replays import Replays
from windlass.store.postgres.rows import spec_row, task_of

# Named once: an enumeration takes a while to find a member.
_SUBMITTED, _QUEUED = EventName.SUBMITTED, State.QUEUED
_LOOKS = 5
"""A task can be deleted by another server between two looks at it, and its key be taken again, hardly more often."""

_Met = tuple[Mapping[TaskId, Task], Mapping[Key, Task]]
"""Tasks that are there, by ids and by keys."""


class Intake:
    """The submissions of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection
        self._replays = Replays(ledger)

    async def submit(self, batch: Sequence[Submit]) -> Sequence[WriteResult]:
        """Store each of `batch`, in which no id, key or replay comes twice."""
        answers = await self._replays.answers(write.replay for write in batch)
        tasks = [write.task for write in batch]
        ids, keys = await self._prepare(tasks)
        results: list[WriteResult | None] = []
        new: dict[int, NewTask] = {}
        for place, task in enumerate(tasks):
            if place in answers:
                results.append(answers[place])
            elif (existing := ids.get(task.id) or _by_key(keys, task)) is not None:
                results.append(met(existing, task))
            elif self._places_left(task.queue) == 0:
                results.append(Refused(Refusal.CAPACITY))
            else:
                new[place] = self._count(task)
                results.append(None)
        stored = await self._store(new)
        done = [Applied(stored[place]) if result is None else result for place, result in enumerate(results)]
        await self._replays.keep((write.replay, result) for write, result in zip(batch, done, strict=True))
        return done

    async def submit_batches(self, writes: Sequence[SubmitBatch]) -> Sequence[WriteResult]:
        """Store each of the batches, wholly or not at all."""
        return [await self._submit_batch(write) for write in writes]

    async def _submit_batch(self, write: SubmitBatch) -> WriteResult:
        if answers := await self._replays.answers([write.replay]):
            return answers[0]
        ids, keys = await self._prepare(write.tasks)
        entries = meet(write.tasks, ids=ids, keys=keys)
        if isinstance(entries, Refused):
            return entries
        if (beyond := first_beyond(write.tasks, entries, self._places_left)) is not None:
            return Refused(Refusal.CAPACITY, index=beyond)
        new = {place: self._count(write.tasks[place]) for place, entry in enumerate(entries) if entry == place}
        result = Applied(placed=placed(entries, await self._store(new)))
        await self._replays.keep([(write.replay, result)])
        return result

    async def _prepare(self, tasks: Sequence[NewTask]) -> _Met:
        """Find those of `tasks` that are there, and what the rest of them needs to be placed."""
        bounded = {name for name in {new.queue for new in tasks} if self._is_bounded(name)}
        await self._ledger.occupancy.load(bounded)
        await self._ledger.lanes.ensure(self._connection, {_lane_key(new) for new in tasks})
        return await self._met(tasks)

    async def _met(self, tasks: Sequence[NewTask]) -> _Met:
        """Read the tasks that have an id or key of `tasks`."""
        ids = [new.id for new in tasks]
        keys = [key for new in tasks if (key := key_of(new)) is not None]
        parts = tuple(columns(keys)) if keys else ((), (), ())
        for _ in range(_LOOKS):
            numbers: Collection[int] = [row[0] for row in await self._connection.fetch(sql.MET, ids, *parts)]
            rows = await read_whole(self._connection, numbers)
            if len(rows) == len(numbers):
                existing = [task_of(row) for row in rows.values()]
                by_key = {key: task for task in existing if (key := key_of(task)) is not None}
                return {task.id: task for task in existing}, by_key
        raise StoreError("tasks have ids or keys, but no whole rows: the store is damaged")

    def _is_bounded(self, name: str) -> bool:
        queue = self._ledger.queues.known.get(name)
        return queue is not None and queue.capacity is not None

    def _places_left(self, name: str) -> int | None:
        """Say how many more tasks a queue takes; None: any number, which costs no more than to see that it is so."""
        if not self._is_bounded(name):
            return None
        return places_left(self._ledger.queues.known[name], queued=self._ledger.occupancy.count(name, _QUEUED))

    # ── rows ───────────────────────────────────────────────────────

    def _count(self, new: NewTask) -> NewTask:
        """Count a task that is to be stored, so that the next one finds its place taken."""
        self._ledger.counters.add(self._ledger.lanes.number(_lane_key(new)), _QUEUED, len(new.payload))
        return new

    async def _store(self, new: Mapping[int, NewTask]) -> Mapping[int, Task]:
        """Store tasks that are new, with their events; gives them by their places."""
        if not new:
            return {}
        ledger = self._ledger
        of_origins = await self._give_of_origins(new.values())
        origin_numbers = [None if task.origin is None else next(of_origins[task.origin]) for task in new.values()]
        lanes = [ledger.lanes.number(_lane_key(task)) for task in new.values()]
        rows = [
            (lane, task.run_at <= ledger.now, task.run_at, task.grace_s, *spec_row(task, origin_number=origin_number))
            for lane, task, origin_number in zip(lanes, new.values(), origin_numbers, strict=True)
        ]
        numbers = [row[0] for row in await self._connection.fetch(sql.INSERT_TASKS, *columns(rows))]
        stored: dict[int, Task] = {}
        for (place, task), number, origin_number, lane in zip(new.items(), numbers, origin_numbers, lanes, strict=True):
            stored[place] = submitted(task, number, origin_number)
            ledger.add(Line(number, task.id, task.kind, 1, task.created_at, _SUBMITTED, _QUEUED, 0))
            ledger.queued(lane, task.run_at, number, is_ready=task.run_at <= ledger.now)
        return stored

    async def _give_of_origins(self, new: Collection[NewTask]) -> Mapping[str, Iterator[int]]:
        """Give out numbers that no task of its origin has ever had, one for each of `new` that has an origin."""
        asked = Counter(task.origin for task in new if task.origin is not None)
        if not asked:
            return {}
        rows = await self._connection.fetch(sql.GIVE_OF_ORIGINS, *columns(sorted(asked.items())))
        return {origin: iter(range(last - asked[origin] + 1, last + 1)) for origin, last in rows}


def _lane_key(new: NewTask) -> tuple[str, str, int, bool]:
    return (new.queue, new.kind, new.priority, False)


def _by_key(keys: Mapping[Key, Task], new: NewTask) -> Task | None:
    key = key_of(new)
    return None if key is None else keys.get(key)
