"""The Tasks port: the turn, which is every write and every claim in one transaction, and the reads.

Speaks of tasks, never of rows. An implementation decides nothing: `core` has decided before it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from windlass.core.decide import Settlement
from windlass.core.ids import TaskId, Token
from windlass.core.query import Page, TaskQuery
from windlass.core.task import Event, FileRow, NewTask, Progress, Task

TaskRef = TaskId | int
"""A task is called by its id or by its number."""

# ── writes: what a turn may be asked to do ─────────────────────────


class Submit(msgspec.Struct, frozen=True):
    """Store a new task, unless (origin, kind, key) is taken: by the same fingerprint it is that task again."""

    task: NewTask


class Settle(msgspec.Struct, frozen=True):
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


Write = Submit | Settle | Report | Save | KeepFile | RequestCancel | Retry | Hold | Release

# ── results ────────────────────────────────────────────────────────


class Applied(msgspec.Struct, frozen=True):
    """The write is committed.

    `task` is the task as it stands after it, for Submit, RequestCancel, Retry, Hold and Release; None for the
    writes of attempts. `created` is false where a Submit met its own key, or nothing had to change.
    """

    task: Task | None = None
    created: bool = True


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


class Refused(msgspec.Struct, frozen=True):
    """The write changed nothing; `task` is the task as it stands, where there is one."""

    why: Refusal
    task: Task | None = None


WriteResult = Applied | Refused


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn may claim.

    Shape: `slots` free slots by pool, never exceeded; `pools` for each kind that a live worker knows the pool it
    runs in and the pool it runs in when it must run solo. Tasks of other kinds are not claimed.
    """

    slots: Mapping[str, int] = {}
    pools: Mapping[str, tuple[str, str]] = {}


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
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
    past when more are due than one turn promotes), or None.
    """

    results: Sequence[WriteResult]
    claimed: Sequence[Claimed]
    events: Sequence[Event]
    next_due_at: datetime | None


class Tasks(Protocol):
    """Tasks in a store. All methods may be called from any coroutine of one event loop."""

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Apply `writes` in order, promote what is due at `now`, claim what `wanted` has room for: one transaction.

        A refused write fails alone. A claim starts tasks by queue in turns, within a queue by priority (higher
        first), run_at, number; sets state, attempt + 1, charged + 1, a new token and started_at, and clears
        reason and progress. When this returns, everything in it is durable.

        Raises:
            StoreFull, StoreUnavailable: nothing of this turn happened.
            StoreError: nothing of it may be acknowledged; a commit that failed may still be found after a restart.

        Concurrency: one at a time; the caller waits for one turn before the next. Not cancel-safe: shield it.
        """
        ...

    async def get(self, ref: TaskRef) -> Task | None:
        """Read one task, with its error."""
        ...

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks, with their errors, examining at most `limits.PAGE_SCAN_ROWS` rows."""
        ...

    async def running(self, *, after: int, limit: int) -> Sequence[Task]:
        """Read running tasks of any server, rising by number from above `after`."""
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
