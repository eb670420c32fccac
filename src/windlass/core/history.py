"""What a task's events say of its attempts. Reads no store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from windlass.core.state import EventName, Reason
from windlass.core.task import Error, Event


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a task. `outcome` is the name of the event that ended it, None while it runs; durations in seconds.

    `next_run_at` is when the attempt after it was due, where it came back to the queue.
    """

    attempt: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: EventName | None = None
    reason: Reason | None = None
    ran_s: float | None = None
    error: Error | None = None
    next_run_at: datetime | None = None


class _Ending(msgspec.Struct, frozen=True):
    """What the event of a settlement carries besides its own fields."""

    ran_s: float | None = None
    error: Error | None = None
    run_at: datetime | None = None


def attempts_of(events: Iterable[Event]) -> list[Attempt]:
    """Pair the start of each attempt with its end; `events` are one task's, in order."""
    attempts: list[Attempt] = []
    for event in events:
        if event.name is EventName.STARTED:
            attempts.append(Attempt(attempt=event.attempt, started_at=event.at))
        elif event.token is not None and event.name is not EventName.CANCEL_REQUESTED and attempts:
            attempts[-1] = _end(attempts[-1], event)
    return attempts


def _end(attempt: Attempt, event: Event) -> Attempt:
    data: Any = event.data or {}
    ending = msgspec.convert(data, _Ending)
    return msgspec.structs.replace(
        attempt,
        ended_at=event.at,
        outcome=event.name,
        reason=event.reason,
        ran_s=ending.ran_s,
        error=ending.error,
        next_run_at=ending.run_at,
    )
