"""The store without a disk: everything a store does, and nothing of it outlives the process.

Not a mock: it claims, refuses and remembers exactly as the others do, which the contract suite proves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from msgspec.structs import replace

from windlass.contracts.clock import Ids
from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.contracts.tasks import (
    Applied,
    Claimed,
    KeepFile,
    Refusal,
    Refused,
    Report,
    Retry,
    Save,
    Settle,
    Submit,
    TaskRef,
    Turn,
    Wanted,
    Write,
    WriteResult,
)
from windlass.core.ids import ServerId, TaskId
from windlass.core.kind import Kind
from windlass.core.limits import PROMOTE_ROWS
from windlass.core.query import Order, Page, TaskQuery
from windlass.core.state import EventName, State
from windlass.core.task import Event, FileRow, NewTask, Task
from windlass.errors import StoreUnavailable
from windlass.store.fairness import Pick, Urgency, pick
from windlass.store.instants import from_micros, to_micros
from windlass.store.lines import Lane, Lines
from windlass.store.moves import (
    Amendment,
    AttemptWrite,
    Change,
    amended,
    met,
    refusal,
    settled,
    started,
    submitted,
)
from windlass.store.pages import page_of, stretch


class MemoryStore:
    """A store of dictionaries."""

    def __init__(self, ids: Ids) -> None:
        self.events = MemoryEvents()
        self.tasks = MemoryTasks(ids, self.events)
        self.registry = MemoryRegistry()

    async def close(self) -> None:
        """Take no more turns. Idempotent."""
        self.tasks.close()


class MemoryEvents:
    """The Events port."""

    def __init__(self) -> None:
        self._log: list[Event] = []
        self._histories: dict[int, list[Event]] = {}

    def append(self, change: Change) -> None:
        """Write down what has happened to a task."""
        task = change.task
        history = self._histories.setdefault(task.number, [])
        event = Event(
            seq=len(self._log) + 1,
            number=task.number,
            task_id=task.id,
            kind=task.kind,
            ordinal=len(history) + 1,
            at=change.at,
            name=change.event,
            state=task.state,
            attempt=task.attempt,
            reason=change.reason,
            token=change.token,
            data=change.data,
        )
        self._log.append(event)
        history.append(event)

    def last_seq(self) -> int:
        """Say what the last event's seq is; 0 when there is none."""
        return len(self._log)

    def since(self, seq: int) -> Sequence[Event]:
        """Give all events after `seq`."""
        return self._log[seq:]

    async def history(self, number: int, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of one task."""
        return self._histories.get(number, [])[after : after + limit]

    async def log(self, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of all tasks."""
        return self._log[after : after + limit]


class MemoryTasks:
    """The Tasks port. A turn happens between two awaits, which makes it one transaction."""

    def __init__(self, ids: Ids, events: MemoryEvents) -> None:
        self._ids = ids
        self._events = events
        self._tasks: dict[int, Task] = {}
        self._numbers: dict[TaskId, int] = {}
        self._keys: dict[tuple[str, str, str], int] = {}
        self._payloads: dict[int, bytes] = {}
        self._results: dict[int, bytes] = {}
        self._checkpoints: dict[int, bytes] = {}
        self._files: dict[int, dict[int, FileRow]] = {}
        self._running: set[int] = set()
        self._lines = Lines()
        self._served: str | None = None
        self._is_closed = False

    def close(self) -> None:
        """Take no more turns."""
        self._is_closed = True

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Apply `writes`, promote what is due, claim."""
        if self._is_closed:
            raise StoreUnavailable("the store is closed: open it again")
        seq = self._events.last_seq()
        micros = to_micros(now)
        results = [self._apply(write, micros) for write in writes]
        self._lines.promote(micros, limit=PROMOTE_ROWS)
        claimed = [self._claim(choice, now) for choice in list(self._pick(wanted))]
        due_at = self._lines.next_due_at()
        return Turn(
            results=results,
            claimed=claimed,
            events=self._events.since(seq),
            next_due_at=None if due_at is None else from_micros(due_at),
        )

    async def get(self, ref: TaskRef) -> Task | None:
        """Read one task."""
        return self._find(ref)

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks."""
        examined = stretch(query, low=1, high=len(self._tasks))
        numbers: Iterable[int] = range(examined.low, examined.high + 1)
        if query.order is Order.NEWEST:
            numbers = reversed(numbers)
        matching = (task for number in numbers if _matches(task := self._tasks[number], query))
        return page_of(list(islice(matching, query.limit + 1)), query, examined)

    async def running(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks."""
        return [self._tasks[number] for number in sorted(self._running) if number > after][:limit]

    async def payload(self, number: int) -> bytes | None:
        """Read a task's payload."""
        return self._payloads.get(number)

    async def result(self, number: int) -> bytes | None:
        """Read a task's result."""
        return self._results.get(number)

    async def files(self, number: int) -> Sequence[FileRow]:
        """Read a task's files."""
        return self._files_of(number)

    # ── one write ──────────────────────────────────────────────────

    def _apply(self, write: Write, now: int) -> WriteResult:
        if isinstance(write, Submit):
            return self._submit(write.task, now)
        if isinstance(write, AttemptWrite):
            return self._attempt(write, now)
        return self._amend(write, now)

    def _submit(self, new: NewTask, now: int) -> WriteResult:
        number = self._numbers.get(new.id)
        if number is None and new.key is not None:
            number = self._keys.get((new.key, new.kind, new.origin or ""))
        if number is not None:
            return met(self._tasks[number], new)
        task = submitted(new, len(self._tasks) + 1)
        self._numbers[task.id] = task.number
        self._payloads[task.number] = new.payload
        if task.key is not None:
            self._keys[task.key, task.kind, task.origin or ""] = task.number
        self._keep(Change(task=task, event=EventName.SUBMITTED, at=task.created_at), now)
        return Applied(task)

    def _attempt(self, write: AttemptWrite, now: int) -> WriteResult:
        task = self._tasks.get(write.number)
        if task is None:
            return Refused(Refusal.MISSING)
        if (refused := refusal(task, write)) is not None:
            return refused
        match write:
            case Settle():
                self._keep(settled(task, write), now)
                if write.settlement.state is State.SUCCEEDED and write.settlement.result is not None:
                    self._results[task.number] = write.settlement.result
                return Applied()
            case Report(progress=progress):
                task = replace(task, progress=progress)
            case Save(checkpoint=checkpoint):
                self._checkpoints[task.number] = checkpoint
                task = replace(task, interrupted=0)
            case KeepFile(file=file):
                self._files.setdefault(task.number, {})[file.index] = file
        self._tasks[task.number] = replace(task, version=task.version + 1)
        return Applied()

    def _amend(self, write: Amendment, now: int) -> WriteResult:
        task = self._find(write.ref)
        if task is None:
            return Refused(Refusal.MISSING)
        change = amended(task, write)
        if not isinstance(change, Change):
            return change
        self._keep(change, now)
        if isinstance(write, Retry):
            self._results.pop(change.task.number, None)
        return Applied(change.task)

    def _keep(self, change: Change, now: int) -> None:
        """Store a task that has changed its state or its place in the line, with the event that says so."""
        task = change.task
        self._tasks[task.number] = task
        self._lines.put(task, now)
        if task.state is State.RUNNING:
            self._running.add(task.number)
        else:
            self._running.discard(task.number)
        self._events.append(change)

    # ── the claim ──────────────────────────────────────────────────

    def _pick(self, wanted: Wanted) -> Iterator[Pick[int]]:
        lanes = [
            MemoryLane(self._lines, lane, wanted.pools[kind][solo])
            for lane in self._lines.lanes()
            for _, kind, solo in (lane,)
            if kind in wanted.pools
        ]
        return pick(lanes, wanted.slots, served=self._served)

    def _claim(self, choice: Pick[int], now: datetime) -> Claimed:
        number = choice.candidate
        task = started(self._tasks[number], token=self._ids.token(), at=now)
        self._served = choice.queue
        self._keep(Change(task=task, event=EventName.STARTED, at=now, token=task.token), to_micros(now))
        return Claimed(
            task=task,
            pool=choice.pool,
            payload=self._payloads[number],
            checkpoint=self._checkpoints.get(number),
            files=self._files_of(number),
        )

    # ── reading ────────────────────────────────────────────────────

    def _find(self, ref: TaskRef) -> Task | None:
        number = ref if isinstance(ref, int) else self._numbers.get(ref)
        return None if number is None else self._tasks.get(number)

    def _files_of(self, number: int) -> list[FileRow]:
        return [file for _, file in sorted(self._files.get(number, {}).items())]


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


class MemoryRegistry:
    """The Registry port."""

    def __init__(self) -> None:
        self._owner: ServerId | None = None
        self._workers: dict[WorkerRow, None] = {}
        self._kinds: dict[tuple[str, str, str], Kind] = {}

    async def enroll(self, server: ServerRow) -> None:
        """Make `server` the owner."""
        self._owner = server.id

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Say whether the store still belongs to `server`; `now` is of no use to a store that nobody else can see."""
        del now
        return server == self._owner

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down."""
        self._workers[worker] = None

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process."""
        self._workers.pop(worker, None)

    async def workers(self) -> Sequence[WorkerRow]:
        """Read all recorded worker processes, in the order of their recording."""
        return list(self._workers)

    async def keep_kinds(self, kinds: Sequence[Kind]) -> None:
        """Insert or replace kinds; the one kept last goes first among its name."""
        for kind in kinds:
            key = (kind.name, kind.app, kind.version)
            self._kinds.pop(key, None)
            self._kinds[key] = kind

    async def kinds(self) -> Sequence[Kind]:
        """Read all known kinds."""
        newest_first = list(reversed(self._kinds.values()))
        return sorted(newest_first, key=lambda kind: kind.name)


def _matches(task: Task, query: TaskQuery) -> bool:
    """Whether every set field of `query` matches."""
    return (
        (query.state is None or task.state is query.state)
        and (query.kind is None or task.kind == query.kind)
        and (query.queue is None or task.queue == query.queue)
        and (query.key is None or task.key == query.key)
        and (query.tag is None or task.tags.get(query.tag[0]) == query.tag[1])
    )
