"""How tasks, files and events lie in rows, and back. Knows columns and their order; runs no SQL."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
import uuid_utils
from msgspec.structs import replace

from windlass.core.backoff import RetryPolicy
from windlass.core.ids import TaskId, Token
from windlass.core.state import EventName, Reason, Recovery, State
from windlass.core.task import Error, Event, FileRow, NewTask, Progress, Task
from windlass.store.instants import from_micros, to_micros
from windlass.store.moves import BLANK
from windlass.store.sqlite.driver import Row
from windlass.wire.codec import decode_json, encode_view

_STATES: Final[dict[str, State]] = {str(state): state for state in State}
_RUNNING: Final = State.RUNNING
_RECOVERIES: Final[dict[str, Recovery]] = {str(recovery): recovery for recovery in Recovery}


def id_blob(task_id: str) -> bytes:
    """Give the 16 bytes of a UUID in canonical spelling."""
    return bytes.fromhex(task_id.replace("-", ""))


def blob_id(blob: bytes) -> TaskId:
    """Spell the UUID of 16 bytes."""
    return TaskId(str(uuid_utils.UUID(bytes=blob)))


def token_blob(token: Token) -> bytes:
    """Give the 16 bytes of a token."""
    return bytes.fromhex(token)


def optional_micros(at: datetime | None) -> int | None:
    """Count the microseconds of an instant, if there is one."""
    return None if at is None else to_micros(at)


def instant(micros: int | None) -> datetime | None:
    """Give the instant of some microseconds, if there are any."""
    return None if micros is None else from_micros(micros)


def json_text(value: Any) -> str | None:
    """Spell a value of ours as JSON, unless it is None."""
    return None if value is None else encode_view(value).decode()


def spec_row(number: int, new: NewTask, *, created_at: int) -> Row:
    """Lay out what a task was submitted with, as `INSERT_SPEC` takes it; `created_at` is its own in microseconds."""
    return (
        number,
        new.kind,
        created_at,
        new.key,
        new.origin,
        new.fingerprint,
        new.name,
        new.description,
        json_text(new.tags or None),
        new.max_attempts,
        _retry_text(new.retry),
        new.recovery,
        new.timeout_s,
        new.payload,
    )


def task_of(row: Row) -> Task:
    """Read a row of the view of whole tasks."""
    (number, blob, kind, queue, state, created_at, run_at, reason, priority) = row[:9]
    (key, origin, fingerprint, name, description, tags) = row[9:15]
    (attempt, charged, max_attempts, lost, interrupted, held, solo, retry, recovery, timeout_s) = row[15:25]
    (grace_s, token, started_at, finished_at, run_s) = row[25:30]
    (cancel_requested_at, cancel_reason, cancel_outcome, progress, error, version) = row[30:36]
    (origin_number, hidden) = row[41:]
    return Task(
        number=number,
        id=blob_id(blob),
        kind=kind,
        queue=queue,
        state=_STATES[state],
        created_at=from_micros(created_at),
        run_at=from_micros(run_at),
        reason=None if reason is None else Reason(reason),
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
        held=held == 1,
        solo=solo == 1,
        origin_number=origin_number,
        is_hidden=hidden == 1,
        retry=_retry_of(retry),
        recovery=_RECOVERIES[recovery],
        timeout_s=timeout_s,
        grace_s=grace_s,
        token=None if token is None else Token(token.hex()),
        started_at=instant(started_at),
        finished_at=instant(finished_at),
        run_s=run_s,
        cancel_requested_at=instant(cancel_requested_at),
        cancel_reason=cancel_reason,
        cancel_outcome=cancel_outcome,
        progress=None if progress is None else msgspec.convert(decode_json(progress), Progress),
        error=error_of(error),
        version=version,
    )


ORDINAL, LANE, SIZE_BYTES, ENDING_BYTES = 36, 37, 39, 40
"""Where a row of the view of whole tasks counts the task's events, and what its counters need."""

_NEVER_RAN_NOR_NAMED = (0, 0, 0.0, None, None, None, None, None, None, None, 0)
"""What the columns after the payload of a ready task hold in most of them."""


def started_task(row: Row, queue: str, kind: str, *, solo: bool, token: Token, at: datetime) -> Task:
    """Read a row of `READY_TASKS` as the running task that a claim at `at` makes of it, but for its error."""
    (number, priority, run_at, blob, attempt, charged, _, version, grace_s) = row[:9]
    (created_at, max_attempts, retry, recovery, timeout_s) = row[9:14]
    task = replace(
        BLANK,
        number=number,
        id=blob_id(blob),
        kind=kind,
        queue=queue,
        state=_RUNNING,
        created_at=_shared_instant(created_at),
        run_at=_shared_instant(run_at),
        priority=priority,
        attempt=attempt + 1,
        charged=charged + 1,
        max_attempts=max_attempts,
        solo=solo,
        retry=_retry_of(retry),
        recovery=_RECOVERIES[recovery],
        timeout_s=timeout_s,
        grace_s=grace_s,
        token=token,
        started_at=at,
        version=version + 1,
    )
    rest = row[16:]
    return task if rest == _NEVER_RAN_NOR_NAMED else replace(task, **_rare(rest))


def _rare(columns: Row) -> dict[str, Any]:
    """Read what few ready tasks have: an earlier attempt, a key, an origin, a name, tags."""
    (lost, interrupted, run_s, key, origin, fingerprint, name, description, tags, origin_number, hidden) = columns
    return {
        "lost": lost,
        "interrupted": interrupted,
        "run_s": run_s,
        "key": key,
        "origin": origin,
        "fingerprint": fingerprint,
        "name": name,
        "description": description,
        "tags": {} if tags is None else decode_json(tags),
        "origin_number": origin_number,
        "is_hidden": hidden == 1,
    }


def error_of(text: str | None) -> Error | None:
    """Read the error of an attempt, if there is one."""
    return None if text is None else msgspec.convert(decode_json(text.encode()), Error)


def file_row(number: int, file: FileRow) -> Row:
    """Lay out a file as `KEEP_FILE` takes it."""
    return (number, *msgspec.structs.astuple(file))


def file_of(row: Row) -> FileRow:
    """Read a row of `FILES`, whose columns are the fields in their order."""
    return FileRow(**dict(zip(FileRow.__struct_fields__, row, strict=True)))


def event_row(event: Event, *, at: int, token: bytes | None) -> Row:
    """Lay out an event as `INSERT_EVENT` takes it; `at` and `token` are its own, which the caller has at hand."""
    return (
        event.seq,
        event.number,
        event.ordinal,
        at,
        event.name,
        event.state,
        event.attempt,
        event.reason,
        token,
        json_text(event.data),
    )


def event_of(row: Row) -> Event:
    """Read a row of the view of whole events."""
    (seq, number, blob, kind, ordinal, at, name, state, attempt, reason, token, data) = row
    return Event(
        seq=seq,
        number=number,
        task_id=blob_id(blob),
        kind=kind,
        ordinal=ordinal,
        at=from_micros(at),
        name=EventName(name),
        state=State(state),
        attempt=attempt,
        reason=None if reason is None else Reason(reason),
        token=None if token is None else Token(token.hex()),
        data=None if data is None else decode_json(data),
    )


@lru_cache(maxsize=256)
def _shared_instant(micros: int) -> datetime:
    """Give the instant of some microseconds: ready tasks that came together share theirs."""
    return from_micros(micros)


@lru_cache(maxsize=256)
def _retry_text(policy: RetryPolicy) -> str:
    return encode_view(policy).decode()


@lru_cache(maxsize=256)
def _retry_of(text: str) -> RetryPolicy:
    return msgspec.convert(decode_json(text.encode()), RetryPolicy)
