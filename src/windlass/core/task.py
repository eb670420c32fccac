"""The task as everybody sees it: frozen, changed by copy, aware datetimes only. Does no I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy
from windlass.core.ids import TaskId, Token
from windlass.core.limits import GRACE_S, MAX_ATTEMPTS
from windlass.core.state import EventName, Reason, Recovery, State
from windlass.errors import InputError


class Error(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong in one attempt, as a person and a machine read it.

    `type` is the exception's name or a code of ours, `exit` how the worker's process ended (`exit 3`, `SIGSEGV`).
    """

    type: str
    message: str
    code: str | None = None
    traceback: str | None = None
    exit: str | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an attempt has come, as the handler last said."""

    done: float
    total: float | None = None
    unit: str | None = None
    message: str | None = None
    at: datetime | None = None


class NewTask(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A task on its way into the store. `payload` is canonical JSON, durations are seconds."""

    id: TaskId
    kind: str
    queue: str
    payload: bytes
    created_at: datetime
    run_at: datetime
    priority: int = 0
    key: str | None = None
    origin: str | None = None
    fingerprint: bytes | None = None
    name: str | None = None
    description: str | None = None
    tags: dict[str, str] = {}
    max_attempts: int = MAX_ATTEMPTS
    retry: RetryPolicy = DEFAULT_RETRY
    recovery: Recovery = Recovery.RETRY
    timeout_s: float | None = None
    grace_s: float = GRACE_S

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is not None and self.run_at.tzinfo is not None:
            return
        for name in ("created_at", "run_at"):
            if getattr(self, name).tzinfo is None:
                raise InputError(
                    f"{name} must say its time zone: write for example 2026-11-20T15:00:00Z",
                    code="naive_time",
                    pointer=f"/{name}",
                )


class Task(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One unit of work as the store has it. Payload and result are read apart: they can be large.

    `attempt` counts starts and never goes back; `charged` counts those that used budget; `lost` and `interrupted`
    count ends that used none, the latter in a row. `token` is set while the task runs. `solo`: runs alone in its
    worker next time, because a worker it shared died. `version` rises with every change. `origin_number` counts
    from 1 for each origin; `is_hidden`: its origin knows of it no more.
    """

    number: int
    id: TaskId
    kind: str
    queue: str
    state: State
    created_at: datetime
    run_at: datetime
    reason: Reason | None = None
    priority: int = 0
    key: str | None = None
    origin: str | None = None
    fingerprint: bytes | None = None
    name: str | None = None
    description: str | None = None
    tags: dict[str, str] = {}
    attempt: int = 0
    charged: int = 0
    max_attempts: int = MAX_ATTEMPTS
    lost: int = 0
    interrupted: int = 0
    held: bool = False
    solo: bool = False
    origin_number: int | None = None
    is_hidden: bool = False
    retry: RetryPolicy = DEFAULT_RETRY
    recovery: Recovery = Recovery.RETRY
    timeout_s: float | None = None
    grace_s: float = GRACE_S
    token: Token | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    run_s: float = 0.0
    cancel_requested_at: datetime | None = None
    cancel_reason: str | None = None
    cancel_outcome: str | None = None
    progress: Progress | None = None
    error: Error | None = None
    version: int = 1


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a task. `name` is its label and its path inside the task's directory.

    `state` is one of `pending`, `running`, `completed`, `failed`. `index` counts from 0 in the order of the payload.
    `digest` is `algorithm:hex` once computed; `verified_by` says against what (`caller`, `repr-digest`, `unverified`).
    """

    index: int
    name: str
    state: str
    url: str | None = None
    received_bytes: int = 0
    size_bytes: int | None = None
    digest: str | None = None
    verified_by: str | None = None
    resumed_bytes: int = 0
    seconds: float = 0.0
    error: str | None = None


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One line of a task's durable history; `seq` orders all events of a store, `ordinal` those of the task.

    `data` is a JSON object with what belongs to this event alone (an error, a delay), or None.
    """

    seq: int
    number: int
    task_id: TaskId
    kind: str
    ordinal: int
    at: datetime
    name: EventName
    state: State
    attempt: int
    reason: Reason | None = None
    token: Token | None = None
    data: Any = None
