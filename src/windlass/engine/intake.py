"""Makes a task of what a client asks for: the kind and its defaults, times, and the fingerprint. Stores nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from msgspec import UNSET

from windlass.contracts.clock import Clock, Ids
from windlass.contracts.engine_api import Changes, Submission
from windlass.contracts.tasks import Edit, TaskRef
from windlass.core.ids import TaskId, is_name
from windlass.core.kind import Kind
from windlass.core.limits import DELAY_MAX_S
from windlass.core.task import NewTask
from windlass.engine.catalog import Catalog
from windlass.errors import InputError
from windlass.wire.codec import encode_json

_FAULTS_SHOWN: Final = 20
"""LIMIT: of a batch with more broken rules than this, the first."""
_AT_ONCE: Final = 200
"""LIMIT: tasks of a batch made before anybody else gets the loop: about 5 ms."""


class Intake:
    """Where submissions become tasks. `is_complete` says whether every app has said which kinds it has.

    Concurrency: of one event loop.
    """

    def __init__(self, catalog: Catalog, clock: Clock, ids: Ids, *, is_complete: Callable[[], bool]) -> None:
        self._catalog = catalog
        self._clock = clock
        self._ids = ids
        self._is_complete = is_complete

    def make(self, submission: Submission) -> NewTask:
        """Make one task.

        Raises:
            InputError: it breaks a rule, or its kind is unknown.
            NotReadyError: its kind is unknown, but not every app has said hello yet.
        """
        return self._make(submission, self._find(submission.kind), self._clock.now())

    async def make_all(self, submissions: Sequence[Submission]) -> tuple[NewTask, ...]:
        """Make the tasks of a batch, giving way to others now and then.

        Raises:
            InputError: names the items that break a rule, up to a bound, by their place.
            NotReadyError: as make.
        """
        now = self._clock.now()
        kinds: dict[str, Kind] = {}
        made: list[NewTask] = []
        faults: list[tuple[str, str, str]] = []
        for index, submission in enumerate(submissions):
            if index and index % _AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                kind = kinds.get(submission.kind)
                if kind is None:
                    kind = kinds[submission.kind] = self._find(submission.kind)
                made.append(self._make(submission, kind, now))
            except InputError as error:
                faults += [(f"/tasks/{index}{pointer}", code, detail) for pointer, code, detail in error.errors]
                if len(faults) >= _FAULTS_SHOWN:
                    break
        if faults:
            raise InputError.of(tuple(faults[:_FAULTS_SHOWN]))
        return tuple(made)

    def edit(self, ref: TaskRef, changes: Changes) -> Edit:
        """Make the write of what is to be changed.

        Raises:
            InputError: it breaks a rule.
        """
        now = self._clock.now()
        if changes.run_at is not UNSET and changes.delay_s is not UNSET:
            raise _two_times()
        run_at = changes.run_at
        if changes.delay_s is not UNSET:
            run_at = now + timedelta(seconds=changes.delay_s)
        elif run_at is not UNSET:
            run_at = _not_too_far(run_at, now)
        if changes.queue is not UNSET:
            _check_queue(changes.queue)
        return Edit(
            ref=ref,
            at=now,
            name=changes.name,
            description=changes.description,
            tags=UNSET if changes.tags is UNSET else dict(changes.tags),
            priority=changes.priority,
            run_at=run_at,
            queue=changes.queue,
        )

    def _find(self, name: str) -> Kind:
        return self._catalog.find(name, all_have_said_hello=self._is_complete())

    def _make(self, submission: Submission, kind: Kind, now: datetime) -> NewTask:
        self._catalog.check(kind.name, submission.payload)
        return make_task(submission, kind, id=self._ids.task_id(), now=now)


def make_task(submission: Submission, kind: Kind, *, id: TaskId, now: datetime) -> NewTask:  # noqa: A002
    """Fill in what the client has left to the kind.

    Raises:
        InputError: options that do not fit together, or a payload that is no JSON.
    """
    if submission.run_at is not None and submission.delay_s is not None:
        raise _two_times()
    run_at = _run_at(submission, now)
    queue = submission.queue or kind.queue
    _check_queue(queue)
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
    return _not_too_far(submission.run_at, now)


def _not_too_far(run_at: datetime, now: datetime) -> datetime:
    if run_at.tzinfo is None:
        raise InputError(
            "run_at must say its time zone: write for example 2026-11-20T15:00:00Z",
            code="naive_time",
            pointer="/run_at",
        )
    if run_at > now + timedelta(seconds=DELAY_MAX_S):
        raise InputError("run_at is more than 366 days ahead", code="invalid_value", pointer="/run_at")
    return max(now, run_at)


def _two_times() -> InputError:
    return InputError("give run_at or delay, not both", code="exclusive_fields", pointer="/delay")


def _check_queue(name: str) -> None:
    if not is_name(name):
        raise InputError(
            "a queue is named by 1-64 letters, digits, dots, underscores or hyphens",
            code="invalid_value",
            pointer="/queue",
        )


def fingerprint(submission: Submission) -> bytes:
    """Hash what the client asked for, as asked: SHA-256 of canonical kind, payload and options.

    Defaults of the kind are left out, so that a changed default does not make the same request another one.
    """
    asked: dict[str, Any] = msgspec.to_builtins(submission)
    content = {name: value for name, value in asked.items() if name not in ("key", "origin") and value is not None}
    return hashlib.sha256(encode_json(content)).digest()
