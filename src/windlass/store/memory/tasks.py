"""The Tasks port in memory: the turn with its claim, and the reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice

from windlass.contracts.clock import Ids
from windlass.contracts.queues import Count, QueueRow
from windlass.contracts.tasks import Claimed, TaskRef, Tombstone, Turn, Wanted, Write
from windlass.core.limits import PROMOTE_ROWS
from windlass.core.query import Order, Page, TaskQuery
from windlass.core.queue import Queue, slots_left
from windlass.core.state import EventName, State
from windlass.core.task import FileRow, Task
from windlass.errors import StoreUnavailable
from windlass.store import pages
from windlass.store.fairness import Pick, Urgency, pick
from windlass.store.instants import from_micros, to_micros
from windlass.store.lines import Lane, Lines
from windlass.store.memory.events import MemoryEvents
from windlass.store.memory.shelf import Shelf
from windlass.store.memory.writer import MemoryWriter
from windlass.store.moves import Change, started
from windlass.store.pages import Search, ended_page_of, endings_of, page_of, search_of, stretch, up_to, waits_for
from windlass.store.tenure import Tenure


class MemoryTasks:
    """The Tasks port. A turn happens between two awaits, which makes it one transaction."""

    def __init__(self, ids: Ids, events: MemoryEvents, tenure: Tenure) -> None:
        self._ids = ids
        self._events = events
        self._shelf = Shelf(events)
        self._writer = MemoryWriter(self._shelf)
        self._served: str | None = None
        self._tenure = tenure
        self._is_closed = False

    def close(self) -> None:
        """Take no more turns."""
        self._is_closed = True

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Apply `writes`, promote what is due, claim."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed: open it again")
        lines = self._shelf.lines
        results = self._writer.apply(writes, now=now)
        lines.promote(to_micros(now), limit=PROMOTE_ROWS)
        claimed = [self._claim(choice, now) for choice in list(self._pick(wanted))]
        self._tenure.take(len(claimed))
        due_at = lines.next_due_at()
        return Turn(
            results=results,
            claimed=claimed,
            events=self._events.take_fresh(),
            next_due_at=None if due_at is None else from_micros(due_at),
        )

    async def get(self, ref: TaskRef) -> Task | None:
        """Read one task."""
        return self._shelf.find(ref)

    async def find_of_origin(self, origin: str, origin_number: int) -> Task | None:
        """Read the task that came through `origin` under a number of its own."""
        number = self._shelf.origins.find(origin, origin_number)
        return None if number is None else self._shelf.find(number)

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks."""
        search = None if query.q is None else search_of(query.q)
        if query.order is Order.ENDED_LAST:
            low, top = endings_of(query)
            ends = self._shelf.endings.stretch(query.state, low=low, top=top, rows=pages.PAGE_SCAN_ROWS)
            found = self._matching((number for _, number in ends), query, search)
            return ended_page_of(found, query, ends[-1] if len(ends) == pages.PAGE_SCAN_ROWS else None)
        tasks = self._shelf.tasks
        is_of_origin = query.origin is not None and query.key is None
        examined = stretch(query, low=next(iter(tasks), 1), high=next(reversed(tasks), 0), is_narrow=is_of_origin)
        numbers: Sequence[int] = range(examined.low, examined.high + 1)
        if query.origin is not None:
            numbers = self._shelf.origins.stretch(query.origin, examined.low, examined.high)
        if query.order is Order.NEWEST:
            numbers = numbers[::-1]
        if is_of_origin and len(numbers) >= pages.PAGE_SCAN_ROWS:
            numbers = numbers[: pages.PAGE_SCAN_ROWS]
            examined = up_to(examined, query, numbers[-1])
        return page_of(self._matching(numbers, query, search), query, examined)

    async def running(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks."""
        running = self._shelf.running
        return [self._shelf.tasks[number] for number in sorted(running) if number > after][:limit]

    async def orphans(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read what ran when the only server enrolled, until its first claim."""
        return [] if self._tenure.has_claimed else await self.running(after=after, limit=limit)

    async def leased(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read the running tasks once the only server has claimed: nobody else's run then."""
        return await self.running(after=after, limit=limit) if self._tenure.has_claimed else []

    async def cancelling(self) -> Sequence[Task]:
        """Read the running tasks that are to be cancelled."""
        running = [self._shelf.tasks[number] for number in sorted(self._shelf.running)]
        return [task for task in running if task.cancel_requested_at is not None]

    async def versions(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Read the versions of tasks."""
        return {number: task.version for number in numbers if (task := self._shelf.tasks.get(number)) is not None}

    async def payload(self, number: int) -> bytes | None:
        """Read a task's payload."""
        return self._shelf.payloads.get(number)

    async def result(self, number: int) -> bytes | None:
        """Read a task's result."""
        return self._shelf.results.get(number)

    async def files(self, number: int) -> Sequence[FileRow]:
        """Read a task's files."""
        return self._shelf.files_of(number)

    async def tombstone(self, ref: TaskRef) -> Tombstone | None:
        """Read what is left of a deleted task."""
        return self._shelf.graveyard.find(ref)

    async def unswept(self, *, limit: int) -> Sequence[Tombstone]:
        """Read tombstones of tasks whose files may still be there."""
        return self._shelf.graveyard.unswept(limit)

    async def counts(self) -> Sequence[Count]:
        """Read the counters, by queue, kind and state."""
        return [Count(*counted, *sums) for counted, sums in sorted(self._shelf.counts.items())]

    async def queues(self) -> Sequence[QueueRow]:
        """Read the queues and what is in them, by name."""
        shelf = self._shelf
        with_tasks = {queue for queue, _, _ in shelf.counts}
        rows: list[QueueRow] = []
        for name in sorted(shelf.queues.keys() | with_tasks):
            since = shelf.lines.ready_since(name)
            rows.append(
                QueueRow(
                    queue=shelf.queues.get(name, Queue(name=name)),
                    queued=shelf.count(name, State.QUEUED),
                    running=shelf.count(name, State.RUNNING),
                    ready_since=None if since is None else from_micros(since),
                )
            )
        return rows

    # ── the claim ──────────────────────────────────────────────────

    def _pick(self, wanted: Wanted) -> Iterator[Pick[int]]:
        lines = self._shelf.lines
        rooms = self._rooms({queue for queue, _, _ in lines.lanes()})
        lanes = [
            MemoryLane(lines, lane, wanted.pools[kind][solo])
            for lane in lines.lanes()
            for _, kind, solo in (lane,)
            if kind in wanted.pools
        ]
        return pick(lanes, wanted.slots, rooms=rooms, served=self._served)

    def _rooms(self, queues: Iterable[str]) -> dict[str, int]:
        """Say of the queues that do not start as many tasks as they like how many they may start in this turn."""
        shelf = self._shelf
        kept = [queue for name in queues if (queue := shelf.queues.get(name)) is not None]
        left = {queue.name: slots_left(queue, running=shelf.count(queue.name, State.RUNNING)) for queue in kept}
        return {name: slots for name, slots in left.items() if slots is not None}

    def _claim(self, choice: Pick[int], now: datetime) -> Claimed:
        shelf, number = self._shelf, choice.candidate
        task = started(shelf.tasks[number], token=self._ids.token(), at=now)
        self._served = choice.queue
        shelf.keep(Change(task=task, event=EventName.STARTED, at=now, token=task.token), to_micros(now))
        return Claimed(
            task=task,
            pool=choice.pool,
            payload=shelf.payloads[number],
            checkpoint=shelf.checkpoints.get(number),
            files=shelf.files_of(number),
        )

    # ── reading ────────────────────────────────────────────────────

    def _matching(self, numbers: Iterable[int], query: TaskQuery, search: Search | None) -> Sequence[Task]:
        """Give the first tasks that match, one more than a page holds."""
        tasks = (task for number in numbers if (task := self._shelf.tasks.get(number)) is not None)
        return list(islice((task for task in tasks if self._matches(task, query, search)), query.limit + 1))

    def _matches(self, task: Task, query: TaskQuery, search: Search | None) -> bool:
        """Whether every set field of `query` matches."""
        return (
            (query.state is None or task.state is query.state)
            and (query.kind is None or task.kind == query.kind)
            and (query.queue is None or task.queue == query.queue)
            and (query.key is None or task.key == query.key)
            and (query.tag is None or task.tags.get(query.tag[0]) == query.tag[1])
            and (query.waiting is None or query.waiting == self._waits_for(task))
            and _is_between(task.created_at, query.created_after, query.created_before)
            and _is_between(task.finished_at, query.finished_after, query.finished_before)
            and (search is None or search.matches(task))
            and (query.origin is None or task.origin == query.origin)
            and (query.is_hidden is None or task.is_hidden is query.is_hidden)
        )

    def _waits_for(self, task: Task) -> str | None:
        return waits_for(task, is_due=not self._shelf.lines.is_scheduled(task.number))


class MemoryLane:
    """One lane as a claim sees it."""

    def __init__(self, lines: Lines, lane: Lane, pool: str) -> None:
        self._lines = lines
        self._lane = lane
        self.queue = lane[0]
        self.pool = pool

    def head(self) -> Urgency | None:
        """Say how urgent the first ready task is."""
        return self._lines.head(self._lane)

    def take(self) -> int:
        """Take the first ready task out."""
        return self._lines.take(self._lane)


def _is_between(at: datetime | None, after: datetime | None, before: datetime | None) -> bool:
    """Whether `at` lies between two bounds, of which each may be missing."""
    if at is None:
        return after is None and before is None
    return (after is None or at > after) and (before is None or at < before)
