"""The Tasks port: the turn, which is every write and every claim in one transaction, and the reads.

Speaks of tasks, never of rows. An implementation decides nothing: `core` has decided before it is asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec
from msgspec import UNSET, UnsetType

from windlass.contracts.queues import Count, DeclareQueues, QueueRow, SetQueue
from windlass.core.decide import Settlement
from windlass.core.ids import TaskId, Token
from windlass.core.query import Page, TaskQuery
from windlass.core.queue import Queue
from windlass.core.state import State
from windlass.core.task import Event, FileRow, NewTask, Progress, Task

TaskRef = TaskId | int
"""A task is called by its id or by its number."""

# ── writes: what a turn may be asked to do ─────────────────────────


class Replay(msgspec.Struct, frozen=True):
    """An Idempotency-Key: the same request, sent again by the same caller until `until`, stores nothing more.

    `scope` is who asks and what for, `fingerprint` the SHA-256 of the canonical body. Kept in the transaction of the
    tasks it brought, together with what these looked like then.
    """

    scope: str
    key: str
    fingerprint: bytes
    until: datetime


class Submit(msgspec.Struct, frozen=True, gc=False):
    """Store a new task, unless (origin, kind, key) is taken: by the same fingerprint it is that task again.

    With a `replay` that is known: the task as it was then, whatever has become of it since. A new task with an origin
    gets the next `origin_number` there. Refused (CAPACITY) when it is new and its queue is full.
    """

    task: NewTask
    replay: Replay | None = None


class SubmitBatch(msgspec.Struct, frozen=True):
    """Store all of `tasks` or none; each by the rules of Submit, one with the same key as an earlier one included.

    Refused (CAPACITY) when a queue has not room for all that are new.
    """

    tasks: tuple[NewTask, ...]
    replay: Replay | None = None


class Settle(msgspec.Struct, frozen=True, gc=False):
    """Apply the settlement of an attempt. Guard: (number, running, token), and `settlement.cancel_seen`.

    `ran_s` is how long the attempt ran; it is added to the task's running time.
    """

    number: int
    token: Token
    settlement: Settlement
    ran_s: float


class Report(msgspec.Struct, frozen=True):
    """Keep the progress of a running attempt. Guard: (number, running, token). No event."""

    number: int
    token: Token
    progress: Progress


class Save(msgspec.Struct, frozen=True):
    """Keep a checkpoint; the count of interruptions in a row begins anew. Guard: (number, running, token). No event."""

    number: int
    token: Token
    checkpoint: bytes


class KeepFile(msgspec.Struct, frozen=True):
    """Insert or replace the file of a running attempt at its index. Guard: (number, running, token). No event."""

    number: int
    token: Token
    file: FileRow


class RequestCancel(msgspec.Struct, frozen=True):
    """End a queued task as cancelled; mark a running one, whose attempt the engine then stops.

    Applied again on a task that is cancelled or already marked: nothing changes, and it counts as applied.
    Refused on a task that has ended otherwise.
    """

    ref: TaskRef
    at: datetime
    reason: str | None = None
    grace_s: float | None = None


class Hide(msgspec.Struct, frozen=True):
    """Have its origin know of a task no more; one that has not ended is cancelled as RequestCancel does it.

    Of one that has ended nothing else changes, and there is no event. Applied again: nothing changes.
    """

    ref: TaskRef
    at: datetime


class Retry(msgspec.Struct, frozen=True):
    """Queue an ended task again: charged 0, cancel request, hold, caps, run_at, progress, result and error cleared,
    checkpoint and files kept. Refused on a task that has not ended.
    """

    ref: TaskRef
    at: datetime


class Hold(msgspec.Struct, frozen=True):
    """Keep a queued task from starting. Applied again: nothing changes. Refused on a task that is not queued."""

    ref: TaskRef
    at: datetime


class Release(msgspec.Struct, frozen=True):
    """Let a held task start; interruptions in a row and losses begin anew. Refused on a task that is not held."""

    ref: TaskRef
    at: datetime


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """Change what is set of a task: its labels at any time, when and where it runs while it is queued.

    Already so: nothing changes. Refused (STATE) for the latter three on a task that is not queued. Its event is
    `edited`, whose data name the fields and their new values.
    """

    ref: TaskRef
    at: datetime
    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    tags: dict[str, str] | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    run_at: datetime | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class Delete(msgspec.Struct, frozen=True):
    """Remove an ended task with all that belongs to it, events included; a tombstone stays. Frees its key.

    Refused (STATE) on a task that has not ended.
    """

    ref: TaskRef
    at: datetime


class Prune(msgspec.Struct, frozen=True):
    """Remove, like Delete, the tasks of `states` that ended first, `limit` at most and only those before `before`
    (None: whenever). Gives how many and how many bytes.
    """

    states: tuple[State, ...]
    before: datetime | None
    limit: int
    at: datetime


class Sweep(msgspec.Struct, frozen=True):
    """Note that the files of these deleted tasks are gone from the disk."""

    numbers: tuple[int, ...]


class Forget(msgspec.Struct, frozen=True):
    """Remove replays past their time at `at` and swept tombstones made before `before`; `limit` rows at most.
    Gives how many.
    """

    at: datetime
    before: datetime
    limit: int


Write = (
    Submit
    | SubmitBatch
    | Settle
    | Report
    | Save
    | KeepFile
    | RequestCancel
    | Hide
    | Retry
    | Hold
    | Release
    | Edit
    | DeclareQueues
    | SetQueue
    | Delete
    | Prune
    | Sweep
    | Forget
)

# ── results ────────────────────────────────────────────────────────


class Placed(msgspec.Struct, frozen=True):
    """A task of a batch: new, or met by its key."""

    id: TaskId
    number: int
    state: State
    created: bool = True


class Applied(msgspec.Struct, frozen=True, gc=False):
    """The write is committed.

    `task` is the task as it stands after it, for Submit, RequestCancel, Hide, Retry, Hold, Release and Edit, and as it
    was for Delete; None for other writes. `queue` is the queue after a SetQueue. `created` is false where a Submit met
    its own key, or nothing had to change.
    `placed` has one entry for each task of a SubmitBatch. `replayed`: a Replay was known, and this is what was
    answered first. `count` and `size_bytes`: what a Prune, Sweep or Forget has removed.
    """

    task: Task | None = None
    created: bool = True
    placed: Sequence[Placed] = ()
    replayed: bool = False
    count: int = 0
    size_bytes: int = 0
    queue: Queue | None = None


class Refusal(StrEnum):
    """Why a write changed nothing."""

    MISSING = "missing"
    """No such task."""
    STALE = "stale"
    """The token is not the current one: the attempt has lost its task."""
    CHANGED = "changed"
    """A cancel request came or went since the settlement was decided: decide anew."""
    STATE = "state"
    """The task's state does not allow it."""
    KEY = "key"
    """The key belongs to a task with other content."""
    REPLAY = "replay"
    """The Idempotency-Key was used for another request."""
    CAPACITY = "capacity"
    """So many tasks are queued in its queue as that takes."""
    FULL = "full"
    """The disk is full: what is left of it is kept for attempts that end."""


class Refused(msgspec.Struct, frozen=True):
    """The write changed nothing; `task` is the task as it stands, where there is one, `index` its place in a batch."""

    why: Refusal
    task: Task | None = None
    index: int | None = None


WriteResult = Applied | Refused


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn may claim.

    Shape: `slots` free slots by pool, never exceeded; `pools` for each kind that a live worker knows the pool it
    runs in and the pool it runs in when it must run solo. Tasks of other kinds are not claimed.
    """

    slots: Mapping[str, int] = {}
    pools: Mapping[str, tuple[str, str]] = {}


class Claimed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A task that has just begun to run, with all its worker needs."""

    task: Task
    pool: str
    payload: bytes
    checkpoint: bytes | None = None
    files: list[FileRow] = []


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn did.

    Shape: `results` one for each write, in order; `claimed` in the order of their start; `events` all that were
    appended, in order of seq; `next_due_at` when the earliest task that only waits for its time is due (in the
    past when more are due than one turn promotes), or None; `has_room` false while there is no room but for the ends
    of attempts: nothing was claimed, and what brings work was refused (FULL).
    """

    results: Sequence[WriteResult]
    claimed: Sequence[Claimed]
    events: Sequence[Event]
    next_due_at: datetime | None
    has_room: bool = True


class Tombstone(msgspec.Struct, frozen=True):
    """A task that was deleted or pruned. `is_swept`: its files are gone from the disk too."""

    number: int
    id: TaskId
    deleted_at: datetime
    is_swept: bool


class Tasks(Protocol):
    """Tasks in a store. All methods may be called from any coroutine of one event loop."""

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Apply `writes` in order, promote what is due at `now`, claim what `wanted` has room for: one transaction.

        A refused write fails alone. A claim starts tasks by queue in turns, within a queue by priority (higher
        first), run_at, number; none of a queue that is paused, and never so many that more of a queue run than its
        concurrency; none at all where the lease it would claim under has ended. It sets state, attempt + 1,
        charged + 1, a new token and started_at, and clears reason and progress.
        When this returns, everything in it is durable.

        Raises:
            StoreFull, StoreUnavailable: nothing of this turn happened.
            StoreUncertain: all of this turn happened, or nothing.
            StoreError: nothing of it may be acknowledged; a commit that failed may still be found after a restart.

        Concurrency: one at a time; the caller waits for one turn before the next. Not cancel-safe: shield it.
        """
        ...

    async def get(self, ref: TaskRef) -> Task | None:
        """Read one task, with its error."""
        ...

    async def find_of_origin(self, origin: str, origin_number: int) -> Task | None:
        """Read the task that came through `origin` under a number of its own."""
        ...

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks, with their errors, examining at most `limits.PAGE_SCAN_ROWS` rows."""
        ...

    async def running(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks of any server, rising by number from above `after`."""
        ...

    async def orphans(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks whose lease has ended, rising by number from above `after`; never one of a live server.

        In a store that one server owns those are all that ran when it was opened, until the first claim.
        """
        ...

    async def leased(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read the tasks that run under the lease this store claims under, rising by number from above `after`."""
        ...

    async def cancelling(self) -> Sequence[Task]:
        """Read the tasks that run under the lease this store claims under, and are to be cancelled."""
        ...

    async def versions(self, numbers: Collection[int]) -> Mapping[int, int]:
        """Read the versions of tasks; those that are not there are left out."""
        ...

    async def payload(self, number: int) -> bytes | None:
        """Read a task's payload, canonical JSON; None when there is no such task."""
        ...

    async def result(self, number: int) -> bytes | None:
        """Read a task's result, canonical JSON; None when it has none."""
        ...

    async def files(self, number: int) -> Sequence[FileRow]:
        """Read a task's files, by index."""
        ...

    async def tombstone(self, ref: TaskRef) -> Tombstone | None:
        """Read what is left of a deleted task; None when there was none such, or not lately."""
        ...

    async def unswept(self, *, limit: int) -> Sequence[Tombstone]:
        """Read tombstones of tasks whose files may still be on the disk, rising by number."""
        ...

    async def counts(self) -> Sequence[Count]:
        """Read the counters, kept with every change; costs as much as there are queues, kinds and states. Zeros are
        left out.
        """
        ...

    async def queues(self) -> Sequence[QueueRow]:
        """Read the queues that have tasks, ended ones included, or of which something is kept, by name.

        Costs as much as there are queues, kinds and priorities, however many tasks.
        """
        ...
