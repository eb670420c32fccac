"""Makes a task of what a client asks for: defaults of the kind, times, and the fingerprint. Stores nothing."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec

from windlass.contracts.engine_api import Submission
from windlass.core.ids import TaskId, is_name
from windlass.core.kind import Kind
from windlass.core.limits import DELAY_MAX_S
from windlass.core.task import NewTask
from windlass.errors import InputError
from windlass.wire.codec import encode_json


def make_task(submission: Submission, kind: Kind, *, id: TaskId, now: datetime) -> NewTask:  # noqa: A002
    """Fill in what the client has left to the kind.

    Raises:
        InputError: options that do not fit together, or a payload that is no JSON.
    """
    if submission.run_at is not None and submission.delay_s is not None:
        raise InputError("give run_at or delay, not both", code="conflicting_fields", pointer="/delay")
    run_at = _run_at(submission, now)
    queue = submission.queue or kind.queue
    if not is_name(queue):
        raise InputError(
            "a queue is named by 1-64 letters, digits, dots, underscores or hyphens", code="bad_name", pointer="/queue"
        )
    timeout_s = kind.timeout_s if submission.timeout_s is None else submission.timeout_s or None
    return NewTask(
        id=id,
        kind=kind.name,
        queue=queue,
        payload=encode_json(submission.payload),
        created_at=now,
        run_at=run_at,
        priority=submission.priority,
        key=submission.key,
        origin=submission.origin,
        fingerprint=None if submission.key is None else fingerprint(submission),
        name=submission.name,
        description=submission.description,
        tags=dict(submission.tags),
        max_attempts=submission.max_attempts or kind.max_attempts,
        retry=submission.retry or kind.retry,
        recovery=submission.recovery or kind.recovery,
        timeout_s=timeout_s,
        grace_s=kind.grace_s if submission.grace_s is None else submission.grace_s,
    )


def _run_at(submission: Submission, now: datetime) -> datetime:
    if submission.delay_s is not None:
        return now + timedelta(seconds=submission.delay_s)
    if submission.run_at is None:
        return now
    if submission.run_at.tzinfo is None:
        return submission.run_at  # refused by the task itself
    if submission.run_at > now + timedelta(seconds=DELAY_MAX_S):
        raise InputError("run_at is more than 366 days ahead", code="out_of_range", pointer="/run_at")
    return max(now, submission.run_at)


def fingerprint(submission: Submission) -> bytes:
    """Hash what the client asked for, as asked: SHA-256 of canonical kind, payload and options.

    Defaults of the kind are left out, so that a changed default does not make the same request another one.
    """
    asked: dict[str, Any] = msgspec.to_builtins(submission)
    content = {name: value for name, value in asked.items() if name not in ("key", "origin") and value is not None}
    return hashlib.sha256(encode_json(content)).digest()
