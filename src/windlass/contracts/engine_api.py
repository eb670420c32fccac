"""The engine as HTTP, dialects and tests see it: everything one can ask of windlass, and nothing of how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from windlass.contracts.tasks import TaskRef
from windlass.core.backoff import RetryPolicy
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


class KindStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A kind, and whether a live worker knows it."""

    kind: Kind
    is_live: bool


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server can take and run work now; `problems` says, for people, why not."""

    is_ready: bool
    problems: Sequence[str]


class EngineApi(Protocol):
    """Raises, wherever a task is named: NotFoundError when there is none such. All methods are cancel-safe: a caller
    that leaves changes nothing about what it asked for.
    """

    async def submit(self, submission: Submission) -> tuple[Task, bool]:
        """Store a task; false when its key met the same task again.

        Raises:
            InputError: the payload or an option breaks a rule; `unknown_kind` with the nearest name.
            KeyConflict: the key belongs to a task with other content.
            NotReadyError: the kind is unknown, but not every app has said hello yet.
            SaturatedError: too many writes wait.
            StoreFull, StoreUnavailable: nothing was stored.
            StoreError: whether it was stored shows after a restart.
        """
        ...

    async def get(self, ref: TaskRef) -> Task:
        """Read a task."""
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

    async def cancel(self, ref: TaskRef, *, reason: str | None = None, grace_s: float | None = None) -> Task:
        """Cancel a queued task, or have a running one stopped. Idempotent. Durable when it returns.

        Raises:
            ConflictError: it has ended otherwise; `details["task"]` is the task.
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

    def waiting(self, task: Task) -> Waiting | None:
        """Say what a queued task waits for; None when it is not queued."""
        ...

    async def kinds(self) -> Sequence[KindStatus]:
        """Say which kinds are known, by name; of several versions the newest."""
        ...

    def health(self) -> Health:
        """Say how the server stands."""
        ...
