"""How tasks, files and events lie in rows, and back. Knows columns and their order; runs no SQL."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec

from windlass.core.backoff import RetryPolicy
from windlass.core.ids import TaskId, Token
from windlass.core.queue import Queue
from windlass.core.state import EventName, Reason, Recovery, State
from windlass.core.task import Error, Event, FileRow, NewTask, Progress, Task
from windlass.store.postgres.driver import Record, Values
from windlass.wire.codec import decode_json, encode_view

_STATES: Final[dict[str, State]] = {str(state): state for state in State}
_REASONS: Final[dict[str, Reason]] = {str(reason): reason for reason in Reason}
_RECOVERIES: Final[dict[str, Recovery]] = {str(recovery): recovery for recovery in Recovery}
_NAMES: Final[dict[str, EventName]] = {str(name): name for name in EventName}

_SPEC: Final = """s.id, s.created_at, s.key, s.origin, s.origin_number, s.fingerprint, s.name, s.description, s.tags,
    s.max_attempts, s.retry, s.recovery, s.timeout_s, l.kind, l.queue, l.priority, l.solo"""
HOT_COLUMNS: Final = f"""t.number, t.state, t.run_at, t.reason, t.attempt, t.charged, t.lost, t.interrupted, t.held,
    t.hidden, t.grace_s, t.token, t.started_at, NULL::timestamptz AS finished_at, t.run_s, t.cancel_requested_at,
    t.cancel_reason, t.cancel_outcome, t.progress, t.error, t.version,
    {_SPEC},
    t.lane, t.ordinal, t.retries, t.size_bytes, t.ending_bytes"""
"""A whole task that has not ended, from `tasks AS t`, `specs AS s` and `lanes AS l`."""
ENDED_COLUMNS: Final = f"""e.number, e.state, e.run_at, e.reason, e.attempt, e.charged, e.lost, e.interrupted,
    false AS held, e.hidden, e.grace_s, NULL::uuid AS token, e.started_at, e.finished_at, e.run_s,
    e.cancel_requested_at, e.cancel_reason, e.cancel_outcome, e.progress, e.error, e.version,
    {_SPEC},
    e.lane, e.ordinal, e.retries, e.size_bytes, e.ending_bytes"""
"""A whole task that has ended, from `ended AS e`, `specs AS s` and `lanes AS l`: the same columns."""

SPEC_COLUMNS: Final = """id, kind, created_at, key, origin, origin_number, fingerprint, name, description, tags,
    max_attempts, retry, recovery, timeout_s, payload"""
"""What `spec_row` lays out."""
FILE_COLUMNS: Final = """idx, name, state, url, received_bytes, size_bytes, digest, verified_by, resumed_bytes, seconds,
    error"""
"""A file, as `file_of` reads it; `file_row` has the number of its task before them."""
EVENT_COLUMNS: Final = (
    "v.seq, v.number, s.id, s.kind, v.ordinal, v.at, v.name, v.state, v.attempt, v.reason, v.token, v.data"
)
"""A whole event, from `events AS v` and `specs AS s`, as `event_of` reads it."""


def task_id(uuid: UUID) -> TaskId:
    """Spell the id of a task."""
    return TaskId(str(uuid))


def token_of(uuid: UUID | None) -> Token | None:
    """Spell the token of a lease, if there is one."""
    return None if uuid is None else Token(uuid.hex)


def json_text(value: Any) -> str | None:
    """Spell a value of ours as JSON, unless it is None."""
    return None if value is None else encode_view(value).decode()


def task_of(row: Record) -> Task:
    """Read a row of `HOT_COLUMNS` or `ENDED_COLUMNS`."""
    (number, state, run_at, reason, attempt, charged, lost, interrupted, held, hidden, *rest) = row
    (grace_s, token, started_at, finished_at, run_s, *rest) = rest
    (cancel_requested_at, cancel_reason, cancel_outcome, progress, error, version, *rest) = rest
    (uuid, created_at, key, origin, origin_number, fingerprint, name, description, tags, *rest) = rest
    (max_attempts, retry, recovery, timeout_s, kind, queue, priority, solo, *_) = rest
    return Task(
        number=number,
        id=task_id(uuid),
        kind=kind,
        queue=queue,
        state=_STATES[state],
        created_at=created_at,
        run_at=run_at,
        reason=reason_of(reason),
        priority=priority,
        key=key,
        origin=origin,
        fingerprint=fingerprint,
        name=name,
        description=description,
        tags={} if tags is None else decode_json(tags),
        attempt=attempt,
        charged=charged,
        max_attempts=max_attempts,
        lost=lost,
        interrupted=interrupted,
        held=held,
        solo=solo,
        origin_number=origin_number,
        is_hidden=hidden,
        retry=retry_of(retry),
        recovery=_RECOVERIES[recovery],
        timeout_s=timeout_s,
        grace_s=grace_s,
        token=token_of(token),
        started_at=started_at,
        finished_at=finished_at,
        run_s=run_s,
        cancel_requested_at=cancel_requested_at,
        cancel_reason=cancel_reason,
        cancel_outcome=cancel_outcome,
        progress=None if progress is None else msgspec.convert(decode_json(progress), Progress),
        error=error_of(error),
        version=version,
    )


def reason_of(text: str | None) -> Reason | None:
    """Read a reason, if there is one."""
    return None if text is None else _REASONS[text]


def error_of(text: str | None) -> Error | None:
    """Read the error of an attempt, if there is one."""
    return None if text is None else msgspec.convert(decode_json(text.encode()), Error)


def spec_row(new: NewTask, *, origin_number: int | None) -> Values:
    """Lay out what a task was submitted with, in the order of `SPEC_COLUMNS`."""
    return (
        new.id,
        new.kind,
        new.created_at,
        new.key,
        new.origin,
        origin_number,
        new.fingerprint,
        new.name,
        new.description,
        json_text(new.tags or None),
        new.max_attempts,
        retry_text(new.retry),
        new.recovery,
        new.timeout_s,
        new.payload,
    )


def file_row(number: int, file: FileRow) -> Values:
    """Lay out a file: the number of its task, and `FILE_COLUMNS`."""
    return (number, *msgspec.structs.astuple(file))


def file_of(row: Iterable[Any]) -> FileRow:
    """Read a row of `FILE_COLUMNS`, which are the fields in their order."""
    return FileRow(**dict(zip(FileRow.__struct_fields__, row, strict=True)))


def event_of(row: Record) -> Event:
    """Read a row of `EVENT_COLUMNS`."""
    (seq, number, uuid, kind, ordinal, at, name, state, attempt, reason, token, data) = row
    return Event(
        seq=seq,
        number=number,
        task_id=task_id(uuid),
        kind=kind,
        ordinal=ordinal,
        at=at,
        name=_NAMES[name],
        state=_STATES[state],
        attempt=attempt,
        reason=reason_of(reason),
        token=token_of(token),
        data=None if data is None else decode_json(data),
    )


def queue_of(row: Iterable[Any]) -> Queue:
    """Read what is kept of a queue: a row of `queues`, its columns in their order."""
    (name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at, pause_reason) = row
    return Queue(
        name=name,
        default_concurrency=default_concurrency,
        default_capacity=default_capacity,
        set_concurrency=set_concurrency,
        set_capacity=set_capacity,
        paused_at=paused_at,
        pause_reason=pause_reason,
    )


@lru_cache(maxsize=256)
def retry_text(policy: RetryPolicy) -> str:
    """Spell a retry policy, of which most tasks share a few."""
    return encode_view(policy).decode()


@lru_cache(maxsize=256)
def retry_of(text: str) -> RetryPolicy:
    """Read a retry policy."""
    return msgspec.convert(decode_json(text.encode()), RetryPolicy)
