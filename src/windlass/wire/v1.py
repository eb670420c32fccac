"""The native API's shapes, version 1: what a client sends and sees. Holds no rules beyond a field's own.

Durations on the wire are numbers of seconds, on input also strings with a unit (`wire.durations`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from windlass.core import limits
from windlass.core.access import FIRST_KEY
from windlass.core.history import Attempt
from windlass.core.kind import Kind
from windlass.core.state import Reason, Recovery, State
from windlass.core.task import Error, FileRow, Task
from windlass.core.waiting import Waiting
from windlass.wire.secrets import mask_payload

NAME_RULE = "1 to 64 letters, digits, dots, underscores and hyphens, the first a letter or digit"
# Python's `$` also matches before a newline at the end; the lookahead does not, and JSON Schema knows it too.
Name = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$(?!\n)", description=NAME_RULE)
]
Duration = Annotated[
    float | str, Meta(description="seconds as a number, or a string with units", examples=[90, "90s", "1h30m"])
]
Instant = Annotated[datetime, Meta(tz=True)]
Priority = Annotated[
    int, Meta(ge=-limits.PRIORITY_MAX, le=limits.PRIORITY_MAX, description="higher runs first within its queue")
]
Tags = Annotated[
    dict[Name, Annotated[str, Meta(max_length=limits.TAG_CHARS)]],
    Meta(max_length=limits.TAGS, description="to find it by"),
]


class EmptyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing to say: no body, or `{}`."""


class RetryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to wait between attempts: x = min(cap, base * factor^(n-1)), of which the share `jitter` is rolled."""

    base: Duration | None = None
    factor: Annotated[float, Meta(ge=1, le=100)] | None = None
    cap: Duration | None = None
    jitter: Annotated[float, Meta(ge=0, le=1)] | None = None


class SubmitRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task to be done. Only `kind` is needed; what is left out comes from the kind's defaults."""

    kind: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS, description="what to run")]
    payload: Annotated[dict[str, Any], Meta(description="its input, as the kind's schema has it")] = {}
    queue: Name | None = None
    priority: Priority = 0
    key: (
        Annotated[
            str,
            Meta(min_length=1, max_length=limits.KEY_CHARS, description="your own name for it, one of its kind only"),
        ]
        | None
    ) = None
    run_at: Annotated[Instant, Meta(description="not before this instant")] | None = None
    delay: Annotated[Duration, Meta(description="not before so long from now")] | None = None
    timeout: Annotated[Duration, Meta(description="of one attempt; null or 0: none")] | UnsetType | None = UNSET
    grace: Annotated[Duration, Meta(description="between being told to stop and being made to")] | None = None
    max_attempts: (
        Annotated[int, Meta(ge=1, le=limits.MAX_ATTEMPTS_MAX, description="how many failures end it")] | None
    ) = None
    retry: RetryOptions | None = None
    recovery: Recovery | None = None
    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS, description="for people")] | None = None
    description: Annotated[str, Meta(max_length=limits.DESCRIPTION_CHARS, description="for people")] | None = None
    tags: Tags = {}


class EditRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed of a task; what is left out stays as it is.

    `priority`, `run_at`, `delay` and `queue` can be changed while it is queued, the others at any time.
    """

    name: (
        Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS, description="for people; null: none")]
        | UnsetType
        | None
    ) = UNSET
    description: (
        Annotated[str, Meta(max_length=limits.DESCRIPTION_CHARS, description="for people; null: none")]
        | UnsetType
        | None
    ) = UNSET
    tags: Tags | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    run_at: Annotated[Instant, Meta(description="not before this instant")] | UnsetType = UNSET
    delay: Annotated[Duration, Meta(description="not before so long from now")] | UnsetType = UNSET
    queue: Name | UnsetType = UNSET


class CancelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why, and how long a running handler may take to clean up."""

    reason: Annotated[str, Meta(max_length=limits.NAME_CHARS)] | None = None
    grace_s: Annotated[float, Meta(ge=0, le=limits.GRACE_MAX_S)] | None = None


class ProgressView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a task has come, as its handler says; rate and eta are over the whole attempt."""

    done: float
    total: float | None = None
    unit: str | None = None
    message: str | None = None
    rate_per_s: float | None = None
    eta: Instant | None = None


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task. `payload`, `result` and the error's traceback stand in the single view alone."""

    id: str
    number: int
    key: str | None
    kind: str
    queue: str
    state: State
    reason: Reason | None
    waiting: Waiting | None
    origin: str | None
    name: str | None
    description: str | None
    tags: dict[str, str]
    priority: int
    attempt: int
    charged: int
    max_attempts: int
    progress: ProgressView | None
    created_at: Instant
    run_at: Instant
    started_at: Instant | None
    finished_at: Instant | None
    run_s: float
    timeout_s: float | None
    recovery: Recovery
    cancel_requested_at: Instant | None
    cancel_outcome: str | None
    error: Error | None
    version: int
    payload: Any = UNSET
    result: Any = UNSET


class TaskList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of tasks; `next_cursor` leads to the next page, null when there is none."""

    tasks: list[TaskView]
    next_cursor: str | None


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. Each scope allows what those before it do."""

    name: Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS, description="who or what it is for")]
    scopes: Annotated[
        list[Literal["read", "submit", "operate", "admin"]],
        Meta(min_length=1, max_length=4, description="what it allows: read < submit < operate < admin"),
    ]


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret. `used_at` is right to the minute."""

    id: str
    name: str
    scopes: list[str]
    created_at: Instant
    used_at: Instant | None
    revoked_at: Instant | None


class NewKeyView(KeyView, frozen=True, kw_only=True):
    """A key just made. `key` is what `Authorization: Bearer` takes, shown this once; `notice` is for people."""

    key: str
    notice: str | None


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """All keys."""

    keys: list[KeyView]


class FileList(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a task, in the order of its payload."""

    files: list[FileRow]


class AttemptList(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts of a task, oldest first."""

    attempts: list[Attempt]


class KindView(msgspec.Struct, frozen=True, kw_only=True):
    """A kind: the JSON Schema of its payload, and what its tasks get by default."""

    name: str
    app: str
    version: str
    summary: str
    isolation: str
    queue: str
    timeout_s: float | None
    grace_s: float
    max_attempts: int
    recovery: Recovery
    is_live: bool
    schema: msgspec.Raw


class KindList(msgspec.Struct, frozen=True, kw_only=True):
    """All known kinds."""

    kinds: list[KindView]


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server takes and runs work, and if not, why."""

    ready: bool
    problems: list[str]


def view_progress(task: Task, *, now: datetime) -> ProgressView | None:
    """Show the progress of `task`, with the rate since its attempt began and the instant that rate would end it."""
    progress = task.progress
    if progress is None:
        return None
    rate = eta = None
    if task.started_at is not None and progress.at is not None and progress.done > 0:
        elapsed_s = (progress.at - task.started_at).total_seconds()
        if elapsed_s > 0:
            rate = progress.done / elapsed_s
    if rate and progress.total is not None and task.state is State.RUNNING and progress.at is not None:
        left_s = max(0.0, progress.total - progress.done) / rate
        if left_s < limits.TIMEOUT_MAX_S:
            eta = max(now, progress.at + timedelta(seconds=left_s))
    return ProgressView(
        done=progress.done,
        total=progress.total,
        unit=progress.unit,
        message=progress.message,
        rate_per_s=rate,
        eta=eta,
    )


def view_task(
    task: Task,
    *,
    now: datetime,
    waiting: Waiting | None,
    payload: bytes | None = None,
    result: bytes | None = None,
) -> TaskView:
    """Show `task`; given its payload, the single view with payload (secrets masked), result and traceback, else the
    one of lists.
    """
    is_single = payload is not None
    error = task.error
    if error is not None and not is_single:
        error = msgspec.structs.replace(error, traceback=None)
    single: dict[str, Any] = {}
    if payload is not None:
        shown = mask_payload(task.kind, payload)
        single = {"payload": msgspec.Raw(shown), "result": None if result is None else msgspec.Raw(result)}
    return TaskView(
        id=task.id,
        number=task.number,
        key=task.key,
        kind=task.kind,
        queue=task.queue,
        state=task.state,
        reason=task.reason,
        waiting=waiting,
        origin=task.origin,
        name=task.name,
        description=task.description,
        tags=task.tags,
        priority=task.priority,
        attempt=task.attempt,
        charged=task.charged,
        max_attempts=task.max_attempts,
        progress=view_progress(task, now=now),
        created_at=task.created_at,
        run_at=task.run_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        run_s=run_seconds(task, now=now),
        timeout_s=task.timeout_s,
        recovery=task.recovery,
        cancel_requested_at=task.cancel_requested_at,
        cancel_outcome=task.cancel_outcome,
        error=error,
        version=task.version,
        **single,
    )


def run_seconds(task: Task, *, now: datetime) -> float:
    """Say how long `task` has run, over all its attempts, the present one included."""
    if task.state is State.RUNNING and task.started_at is not None:
        return task.run_s + max(0.0, (now - task.started_at).total_seconds())
    return task.run_s


def view_new_key(key: KeyView, text: str, *, is_first: bool) -> NewKeyView:
    """Show a key just made, with its text."""
    return NewKeyView(**msgspec.structs.asdict(key), key=text, notice=FIRST_KEY if is_first else None)


def view_kind(kind: Kind, *, is_live: bool) -> KindView:
    """Show a kind."""
    return KindView(
        name=kind.name,
        app=kind.app,
        version=kind.version,
        summary=kind.summary,
        isolation=kind.isolation,
        queue=kind.queue,
        timeout_s=kind.timeout_s,
        grace_s=kind.grace_s,
        max_attempts=kind.max_attempts,
        recovery=kind.recovery,
        is_live=is_live,
        schema=msgspec.Raw(kind.schema),
    )
