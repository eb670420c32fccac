"""Attempts as the events of a task tell them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from windlass.core.history import Attempt, attempts_of
from windlass.core.ids import TaskId, Token
from windlass.core.state import EventName, Reason, State
from windlass.core.task import Error, Event

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = START + timedelta(seconds=9)


def events(*lines: tuple[EventName, int, Reason | None, Any]) -> list[Event]:
    running = {EventName.STARTED, EventName.SUCCEEDED, EventName.RETRYING, EventName.FAILED, EventName.INTERRUPTED}
    return [
        Event(
            seq=n,
            number=1,
            task_id=TaskId("t"),
            kind="k",
            ordinal=n,
            at=START + timedelta(seconds=n),
            name=name,
            state=State.QUEUED,
            attempt=attempt,
            reason=reason,
            token=Token(f"{attempt:032x}") if name in running else None,
            data=data,
        )
        for n, (name, attempt, reason, data) in enumerate(lines, start=1)
    ]


def test_each_start_is_paired_with_its_end():
    told = events(
        (EventName.SUBMITTED, 0, None, None),
        (EventName.STARTED, 1, None, None),
        (
            EventName.RETRYING,
            1,
            Reason.ERROR,
            {"ran_s": 1.5, "error": {"type": "E", "message": "m"}, "run_at": "2026-11-20T12:00:09Z"},
        ),
        (EventName.STARTED, 2, None, None),
        (EventName.SUCCEEDED, 2, None, {"ran_s": 0.5}),
    )
    first, second = attempts_of(told)
    assert first == Attempt(
        attempt=1,
        started_at=START + timedelta(seconds=2),
        ended_at=START + timedelta(seconds=3),
        outcome=EventName.RETRYING,
        reason=Reason.ERROR,
        ran_s=1.5,
        error=Error(type="E", message="m"),
        next_run_at=LATER,
    )
    assert (second.attempt, second.outcome, second.ran_s, second.error) == (2, EventName.SUCCEEDED, 0.5, None)


def test_an_attempt_under_way_has_no_end_even_if_its_cancel_is_asked_for():
    told = events((EventName.STARTED, 1, None, None), (EventName.CANCEL_REQUESTED, 1, None, {"reason": "r"}))
    told[1] = Event(
        **{**{name: getattr(told[1], name) for name in told[1].__struct_fields__}, "token": Token("0" * 32)}
    )
    (attempt,) = attempts_of(told)
    assert (attempt.ended_at, attempt.outcome) == (None, None)


def test_what_happens_to_a_task_between_attempts_is_none_of_them():
    told = events(
        (EventName.STARTED, 1, None, None),
        (EventName.FAILED, 1, Reason.EXHAUSTED, {"ran_s": 1.0}),
        (EventName.RETRIED, 1, None, None),
        (EventName.HELD, 1, None, None),
        (EventName.RELEASED, 1, None, None),
        (EventName.CANCELLED, 1, Reason.CANCELLED, None),
    )
    (attempt,) = attempts_of(told)
    assert attempt.outcome is EventName.FAILED
    assert attempts_of([]) == []
