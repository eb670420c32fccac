"""The five states, the reasons, and the one table of legal moves.

The only code that names a legal move; stores and engine ask `next_state`.
"""

from __future__ import annotations

from enum import StrEnum

from windlass.errors import IllegalTransition


class State(StrEnum):
    """Where a task stands. Why it stands there is a `Reason` or, while queued, a `waiting`."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def has_ended(self) -> bool:
        """Whether only an explicit retry leads out of it."""
        return self in ENDED


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


class Reason(StrEnum):
    """Why a task ended or came back; stable codes."""

    ERROR = "error"
    EXHAUSTED = "exhausted"
    NOT_RETRYABLE = "not_retryable"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    LOST = "lost"
    POISON = "poison"


class Recovery(StrEnum):
    """What to do with a task whose attempt was interrupted or lost, through no fault of its own."""

    RETRY = "retry"
    FAIL = "fail"
    HOLD = "hold"


class EventName(StrEnum):
    """One line of a task's durable history."""

    SUBMITTED = "submitted"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    RETRYING = "retrying"
    SNOOZED = "snoozed"
    INTERRUPTED = "interrupted"
    HELD = "held"
    RELEASED = "released"
    FAILED = "failed"
    CANCEL_REQUESTED = "cancel_requested"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    EDITED = "edited"


_Q, _R = State.QUEUED, State.RUNNING

TRANSITIONS: dict[tuple[State | None, EventName], State] = {
    (None, EventName.SUBMITTED): _Q,
    (_Q, EventName.STARTED): _R,
    (_Q, EventName.HELD): _Q,
    (_Q, EventName.RELEASED): _Q,
    (_Q, EventName.CANCELLED): State.CANCELLED,
    (_R, EventName.SUCCEEDED): State.SUCCEEDED,
    (_R, EventName.RETRYING): _Q,
    (_R, EventName.SNOOZED): _Q,
    (_R, EventName.INTERRUPTED): _Q,
    (_R, EventName.HELD): _Q,
    (_R, EventName.FAILED): State.FAILED,
    (_R, EventName.CANCEL_REQUESTED): _R,
    (_R, EventName.CANCELLED): State.CANCELLED,
    (State.SUCCEEDED, EventName.RETRIED): _Q,
    (State.FAILED, EventName.RETRIED): _Q,
    (State.CANCELLED, EventName.RETRIED): _Q,
    **{(state, EventName.EDITED): state for state in State},
}


def next_state(state: State | None, event: EventName) -> State:
    """Say where `event` leads from `state` (None: not stored yet).

    Raises:
        IllegalTransition: the table has no such move.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        here = "a task that is not stored" if state is None else f"a task that is {state}"
        raise IllegalTransition(f"{here} cannot take the event '{event}'", state=state, event=event) from None
