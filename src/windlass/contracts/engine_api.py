"""The engine as HTTP, dialects and tests see it: everything one can ask of windlass, and nothing of how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from windlass.contracts.queues import QueueRow
from windlass.contracts.store import StoreStatus
from windlass.contracts.tasks import Count, Placed, TaskRef
from windlass.core.backoff import RetryPolicy
from windlass.core.bulk import BulkAction
from windlass.core.history import Attempt
from windlass.core.kind import Kind
from windlass.core.query import Page, TaskQuery
from windlass.core.state import Recovery
from windlass.core.task import FileRow, Task
from windlass.core.waiting import Waiting


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A task as a client asks for it; what is None comes from the kind. Durations in seconds.

    `payload` is plain data as JSON has it. `timeout_s` of 0 means none. At most one of `run_at` and `delay_s`.
    """

    kind: str
    payload: Mapping[str, Any]
    queue: str | None = None
    priority: int = 0
    key: str | None = None
    origin: str | None = None
    run_at: datetime | None = None
    delay_s: float | None = None
    timeout_s: float | None = None
    grace_s: float | None = None
    max_attempts: int | None = None
    retry: RetryPolicy | None = None
    recovery: Recovery | None = None
    name: str | None = None
    description: str | None = None
    tags: Mapping[str, str] = {}


class Repeat(msgspec.Struct, frozen=True):
    """An Idempotency-Key as a client sends it: `scope` says who asks and what for, `fingerprint` is the SHA-256 of the
    canonical body.
    """

    scope: str
    key: str
    fingerprint: bytes


class Submitted(msgspec.Struct, frozen=True):
    """What became of a submission: the task, whether it is new, and whether this is the answer of an earlier request
    with the same Idempotency-Key: then the task is shown as it stood at that time.
    """

    task: Task
    is_new: bool
    is_replay: bool = False


class SubmittedBatch(msgspec.Struct, frozen=True):
    """What became of a batch: one entry for each task, in order; `is_replay` as in Submitted."""

    placed: Sequence[Placed]
    is_replay: bool = False


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a task; UNSET stays as it is. At most one of `run_at` and `delay_s`."""

    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    tags: Mapping[str, str] | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    run_at: datetime | UnsetType = UNSET
    delay_s: float | UnsetType = UNSET
    queue: str | UnsetType = UNSET


class BulkOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An action on all tasks that match `query`, `limit` at most, beginning after the number `after`.

    Without a state in `query`: on those in a state that allows the action. `reason` and `grace_s` are those of cancel.
    """

    action: BulkAction
    query: TaskQuery
    limit: int
    after: int | None = None
    dry_run: bool = False
    reason: str | None = None
    grace_s: float | None = None


class BulkOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks matched, and what became of them. `after`: the number to go on after; None when that is all."""

    matched: int
    changed: int
    unchanged: int
    refused: int
    after: int | None


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How often a second something happened to a task, on average over the last `window_s`."""

    window_s: float
    submitted: float
    started: float
    succeeded: float
    failed: float
    cancelled: float


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The server's counters and recent rates. `counts` are those of the store, kept with every change."""

    version: str
    uptime_s: float
    counts: Sequence[Count]
    rates: Sequence[Rates]
    store: StoreStatus


class QueueChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed of a queue; UNSET stays as it is, None takes a limit back: the settings' holds again.

    `pause_reason` belongs to a pause and goes with it.
    """

    is_paused: bool | UnsetType = UNSET
    pause_reason: str | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    capacity: int | UnsetType | None = UNSET


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A queue as it stands. `oldest_wait_s`: for how long that of its tasks has waited that could have started first;
    `started_per_s`: how many of its tasks have started a second, over the last minute.
    """

    row: QueueRow
    oldest_wait_s: float | None
    started_per_s: float


class KindStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A kind, and whether a live worker knows it."""

    kind: Kind
    is_live: bool


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server can take and run work now; `problems` says, for people, why not."""

    is_ready: bool
    problems: Sequence[str]


class TaskReads(Protocol):
    """Tasks as they stand.

    Raises, wherever a task is named: NotFoundError when there is none such; its code is `task_deleted` for one that was
    deleted lately.
    """

    async def get(self, ref: TaskRef) -> Task:
        """Read a task."""
        ...

    async def find_of_origin(self, origin: str, number: int) -> Task:
        """Read a task by the dialect it came through and its `origin_number` there, hidden or not."""
        ...

    async def payload(self, task: Task) -> bytes:
        """Read the payload of `task`, canonical JSON."""
        ...

    async def result(self, task: Task) -> bytes | None:
        """Read the result of `task`, canonical JSON; None when it has none."""
        ...

    async def files(self, task: Task) -> Sequence[FileRow]:
        """Read the files of `task`."""
        ...

    async def attempts(self, task: Task) -> Sequence[Attempt]:
        """Read the attempts of `task`, oldest first, the present one last; of very many the newest."""
        ...

    def file_path(self, task: Task, file: FileRow) -> str:
        """Say where on this server's disk a completed file lies."""
        ...

    async def page(self, query: TaskQuery) -> Page:
        """Read a page of tasks."""
        ...

    async def wait_for_change(self, ref: TaskRef, *, version: int | None, timeout_s: float) -> Task:
        """Wait until the task's version is above `version` (None: above what it is now) or it has ended; then, or
        when time is up or the server stops, give the task as it stands.
        """
        ...

    async def wait_for_end(self, ref: TaskRef, *, timeout_s: float) -> Task:
        """Wait until the task has ended; then, or when time is up or the server stops, give it as it stands."""
        ...

    def waiting(self, task: Task) -> Waiting | None:
        """Say what a queued task waits for; None when it is not queued."""
        ...


class TaskWrites(Protocol):
    """What can be done to tasks. Durable when it returns. NotFoundError as in TaskReads."""

    async def submit(self, submission: Submission, *, repeat: Repeat | None = None) -> Submitted:
        """Store a task, or meet the one that has its key.

        Raises:
            InputError: the payload or an option breaks a rule; `unknown_kind` with the nearest name.
            KeyConflict: the key belongs to a task with other content.
            IdempotencyMismatch: the Idempotency-Key came with another body before.
            NotReadyError: the kind is unknown, but not every app has said hello yet.
            SaturatedError: too many writes wait; `queue_full`, so many tasks wait in its queue as it takes, and
                `retry_after_s` says when there may be room. Never for a repeat.
            StoreFull, StoreUnavailable: nothing was stored.
            StoreError: whether it was stored shows after a restart.
        """
        ...

    async def submit_batch(self, submissions: Sequence[Submission], *, repeat: Repeat | None = None) -> SubmittedBatch:
        """Store all of `submissions` or none.

        Raises:
            As submit. An InputError names the broken items, up to a bound, by their place: `/tasks/17/kind`; a
            KeyConflict the first one: its `details["pointer"]` is `/tasks/17/key`.
        """
        ...

    async def cancel(self, ref: TaskRef, *, reason: str | None = None, grace_s: float | None = None) -> Task:
        """Cancel a queued task, or have a running one stopped. Idempotent. Durable when it returns.

        Raises:
            ConflictError: it has ended otherwise; `details["task"]` is the task.
        """
        ...

    async def hide(self, ref: TaskRef) -> Task:
        """Have its origin know of the task no more, and, unless it has ended, cancel it: both in one write.
        Idempotent; of an ended task nothing else changes.
        """
        ...

    async def retry(self, ref: TaskRef) -> Task:
        """Queue an ended task again.

        Raises:
            ConflictError: it has not ended; `details["task"]` is the task.
        """
        ...

    async def hold(self, ref: TaskRef) -> Task:
        """Keep a queued task from starting. Idempotent.

        Raises:
            ConflictError: it is not queued; `details["task"]` is the task.
        """
        ...

    async def release(self, ref: TaskRef) -> Task:
        """Let a held task start.

        Raises:
            ConflictError: it is not held; `details["task"]` is the task.
        """
        ...

    async def edit(self, ref: TaskRef, changes: Changes) -> Task:
        """Change labels of a task at any time; its priority, time or queue while it is queued.

        Raises:
            InputError: the changes break a rule.
            ConflictError: it is not queued; `details["task"]` is the task.
        """
        ...

    async def delete(self, ref: TaskRef) -> None:
        """Remove an ended task with its files; who asks for it from now on is told that it was deleted.

        Raises:
            ConflictError: it has not ended; `details["task"]` is the task.
        """
        ...

    async def bulk(self, order: BulkOrder) -> BulkOutcome:
        """Do one thing to many tasks, rising by number, each by itself: what is done stays done, whatever happens to
        the rest. Tasks that change meanwhile may be passed over.
        """
        ...


class QueueControl(Protocol):
    """Queues: how they stand, and their limits."""

    async def queues(self) -> Sequence[QueueStatus]:
        """Describe all queues, by name: those with tasks, those of which something is set, and those of kinds."""
        ...

    async def queue(self, name: str) -> QueueStatus:
        """Describe one queue.

        Raises:
            NotFoundError: `queue_not_found`, it is none of those.
        """
        ...

    async def set_queue(self, name: str, change: QueueChange) -> QueueStatus:
        """Change what is set of a queue, whether it has tasks or not. Durable when it returns.

        Raises:
            InputError: this is no name of a queue.
        """
        ...


class ServerReads(Protocol):
    """What a server says of itself."""

    async def kinds(self) -> Sequence[KindStatus]:
        """Say which kinds are known, by name; of several versions the newest."""
        ...

    def health(self) -> Health:
        """Say how the server stands."""
        ...

    async def stats(self) -> Stats:
        """Count tasks, and say what has happened lately."""
        ...


class EngineApi(TaskReads, TaskWrites, QueueControl, ServerReads, Protocol):
    """The engine. All methods are cancel-safe: a caller that leaves changes nothing about what it asked for."""
