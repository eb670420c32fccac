"""What the end of an attempt makes of its task. Pure: the clock's reading and the roll are arguments."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from windlass.core.backoff import backoff_s
from windlass.core.limits import DELAY_MAX_S, INTERRUPTED_MAX, LOST_MAX
from windlass.core.outcome import Errored, Interrupted, Lost, Outcome, Snoozed, Succeeded, TimedOut
from windlass.core.state import EventName, Reason, Recovery, State, next_state
from windlass.core.task import Error, Task
from windlass.errors import IllegalTransition


class Settlement(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Everything that settling an attempt changes in its task's row; counters are absolute.

    `cancel_seen` is part of the guard: the decision holds only while a cancel request stands, or does not, as it
    did when it was taken. A store refuses the settlement otherwise, and the engine decides anew.
    """

    event: EventName
    state: State
    at: datetime
    run_at: datetime
    charged: int
    lost: int
    interrupted: int
    cancel_seen: bool
    reason: Reason | None = None
    held: bool = False
    solo: bool = False
    result: bytes | None = None
    error: Error | None = None
    cancel_outcome: str | None = None


def decide(task: Task, outcome: Outcome, *, now: datetime, roll: float) -> Settlement:
    """Turn the outcome of the running attempt of `task` into its settlement; `roll` is uniform in [0, 1).

    Raises:
        IllegalTransition: the task does not run.
    """
    if task.state is not State.RUNNING:
        raise IllegalTransition(f"an attempt of a task that is {task.state} cannot be settled", state=task.state)
    return _decide(task, outcome, now, roll)


def _decide(task: Task, outcome: Outcome, now: datetime, roll: float) -> Settlement:
    cancelling = task.cancel_requested_at is not None
    match outcome:
        case Succeeded(result=result):
            late = "too_late" if cancelling else None
            return _settle(task, EventName.SUCCEEDED, now, result=result, cancel_outcome=late)
        case Errored() | Snoozed() | TimedOut() | Interrupted() | Lost() if cancelling:
            error = None if isinstance(outcome, Snoozed) else outcome.error
            return _settle(
                task, EventName.CANCELLED, now, reason=Reason.CANCELLED, error=error, cancel_outcome="stopped"
            )
        case Snoozed(delay_s=delay_s):
            return _settle(task, EventName.SNOOZED, now, charged=_refunded(task), run_at=_later(now, delay_s))
        case Errored(error=error, retryable=False):
            return _settle(task, EventName.FAILED, now, reason=Reason.NOT_RETRYABLE, error=error)
        case Errored(error=error, retry_after_s=retry_after_s):
            delay_s = backoff_s(task.retry, failures=task.charged, roll=roll, retry_after_s=retry_after_s)
            return _fail(task, Reason.ERROR, Reason.EXHAUSTED, now, error=error, delay_s=delay_s)
        case TimedOut(error=error):
            delay_s = backoff_s(task.retry, failures=task.charged, roll=roll)
            return _fail(task, Reason.TIMED_OUT, Reason.TIMED_OUT, now, error=error, delay_s=delay_s)
        case Lost(error=error):
            return _lose(task, error, now, roll)
        case Interrupted(error=error, isolate=isolate):
            return _interrupt(task, error, now, isolate=isolate)


def _fail(task: Task, again: Reason, final: Reason, now: datetime, *, error: Error, delay_s: float) -> Settlement:
    """Settle an end that used budget: again after a delay while some is left, for good otherwise."""
    if task.charged >= task.max_attempts:
        return _settle(task, EventName.FAILED, now, reason=final, error=error)
    return _settle(task, EventName.RETRYING, now, reason=again, error=error, run_at=_later(now, delay_s))


def _lose(task: Task, error: Error, now: datetime, roll: float) -> Settlement:
    """Settle an attempt that took its worker down: given back, but only so often."""
    lost = task.lost + 1
    if task.recovery is Recovery.FAIL:
        return _settle(task, EventName.FAILED, now, reason=Reason.LOST, error=error, lost=lost)
    if lost >= LOST_MAX:
        return _settle(task, EventName.FAILED, now, reason=Reason.POISON, error=error, lost=lost)
    held = task.recovery is Recovery.HOLD
    return _settle(
        task,
        EventName.HELD if held else EventName.INTERRUPTED,
        now,
        reason=Reason.LOST,
        error=error,
        charged=_refunded(task),
        lost=lost,
        held=held,
        run_at=_later(now, backoff_s(task.retry, failures=lost, roll=roll)),
    )


def _interrupt(task: Task, error: Error, now: datetime, *, isolate: bool) -> Settlement:
    """Settle an attempt that ended through nothing it did: at once again, in its old place in the line."""
    if task.recovery is Recovery.FAIL:
        return _settle(task, EventName.FAILED, now, reason=Reason.INTERRUPTED, error=error)
    interrupted = task.interrupted + 1
    held = task.recovery is Recovery.HOLD or interrupted >= INTERRUPTED_MAX
    return _settle(
        task,
        EventName.HELD if held else EventName.INTERRUPTED,
        now,
        reason=Reason.INTERRUPTED,
        error=error,
        charged=_refunded(task),
        interrupted=interrupted,
        held=held,
        solo=task.solo or isolate,
    )


def _later(now: datetime, delay_s: float) -> datetime:
    """Give the instant `delay_s` after `now`. Total: no delay, however odd, leaves an attempt without a settlement."""
    # `max` gives its first argument when the second is NaN.
    return now + timedelta(seconds=min(max(0.0, delay_s), DELAY_MAX_S))


def _refunded(task: Task) -> int:
    return max(0, task.charged - 1)


def _settle(task: Task, event: EventName, now: datetime, **changes: Any) -> Settlement:
    """Build the settlement that differs from the task as it stands by `changes` alone."""
    settlement = Settlement(
        event=event,
        state=next_state(task.state, event),
        at=now,
        run_at=task.run_at,
        charged=task.charged,
        lost=task.lost,
        interrupted=0,
        cancel_seen=task.cancel_requested_at is not None,
        solo=task.solo,
    )
    return msgspec.structs.replace(settlement, **changes)
