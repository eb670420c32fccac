"""The rules of `windlass check`: a life that keeps them all, and for each rule lives that break it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from windlass.core.ids import Token
from windlass.core.invariants import ADVICE, MEANING, Rule, StoreJudge, Tally, TaskJudge, Violation
from windlass.core.state import EventName, State
from windlass.core.task import Event, Task

from .making import NOW, a_task

Q, R = State.QUEUED, State.RUNNING
FIRST, SECOND, THIRD = (Token(f"{n:032x}") for n in (1, 2, 3))

LIFE: list[tuple[EventName, State, int, Token | None]] = [
    (EventName.SUBMITTED, Q, 0, None),
    (EventName.HELD, Q, 0, None),
    (EventName.RELEASED, Q, 0, None),
    (EventName.STARTED, R, 1, FIRST),
    (EventName.RETRYING, Q, 1, FIRST),
    (EventName.STARTED, R, 2, SECOND),
    (EventName.CANCEL_REQUESTED, R, 2, SECOND),
    (EventName.CANCELLED, State.CANCELLED, 2, SECOND),
    (EventName.EDITED, State.CANCELLED, 2, None),
    (EventName.RETRIED, Q, 2, None),
    (EventName.STARTED, R, 3, THIRD),
    (EventName.SNOOZED, Q, 3, THIRD),
    (EventName.STARTED, R, 4, Token("4" * 32)),
]


def life() -> list[Event]:
    """Give the events of a task with an eventful life; its fourth attempt runs."""
    return [
        Event(
            seq=10 * n,
            number=17,
            task_id=a_task().id,
            kind="build_report",
            ordinal=n,
            at=NOW,
            name=name,
            state=state,
            attempt=attempt,
            token=token,
        )
        for n, (name, state, attempt, token) in enumerate(LIFE, start=1)
    ]


def as_it_stands(**changes: Any) -> Task:
    return a_task(**{"attempt": 4, "charged": 1, "max_attempts": 2, "token": Token("4" * 32), **changes})


def judged(task: Task, events: Sequence[Event]) -> dict[Rule, Violation]:
    judge = TaskJudge(task)
    for event in events:
        judge.take(event)
    violations = list(judge.verdict())
    assert all(violation.task_id == task.id and violation.number == task.number for violation in violations)
    assert len({violation.rule for violation in violations}) == len(violations)
    return {violation.rule: violation for violation in violations}


def test_a_task_that_keeps_every_rule_breaks_none() -> None:
    assert judged(as_it_stands(), life()) == {}


@pytest.mark.parametrize(
    ("at", "changes", "rule"),
    [
        (5, {"name": EventName.SUCCEEDED}, Rule.MOVES),
        (5, {"state": R}, Rule.MOVES),
        (1, {"name": EventName.STARTED}, Rule.MOVES),
        (3, {"name": EventName.HELD}, Rule.MOVES),
        (4, {"attempt": 2}, Rule.ATTEMPTS),
        (6, {"attempt": 1}, Rule.ATTEMPTS),
        (6, {"seq": 50}, Rule.HISTORY),
        (6, {"token": FIRST}, Rule.TOKENS),
        (6, {"token": None}, Rule.TOKENS),
        (5, {"token": SECOND}, Rule.TOKENS),
        (7, {"token": FIRST}, Rule.TOKENS),
        (8, {"token": None}, Rule.TOKENS),
        (2, {"token": FIRST}, Rule.TOKENS),
        (9, {"name": EventName.CANCELLED}, Rule.ENDS),
        (10, {"name": EventName.RELEASED}, Rule.ENDS),
        (12, {"name": EventName.RETRYING}, Rule.BUDGET),
        (13, {"token": THIRD}, Rule.LEASE),
    ],
)
def test_an_event_that_does_not_fit_is_found(at: int, changes: dict[str, Any], rule: Rule) -> None:
    events = life()
    events[at - 1] = replace(events[at - 1], **changes)
    assert rule in judged(as_it_stands(max_attempts=2), events)


@pytest.mark.parametrize("missing", range(1, len(LIFE)))
def test_an_event_that_is_missing_is_found_wherever_it_was(missing: int) -> None:
    events = life()
    del events[missing - 1]
    assert f"event {missing} is missing" in judged(as_it_stands(), events)[Rule.HISTORY].detail


def test_a_task_whose_last_event_is_missing_does_not_stand_where_its_events_left_it() -> None:
    assert {Rule.STATE, Rule.ATTEMPTS, Rule.LEASE} <= set(judged(as_it_stands(), life()[:-1]))


def test_a_task_without_events_is_found() -> None:
    assert set(judged(as_it_stands(), [])) == {Rule.HISTORY}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"held": True}, Rule.STATE),
        ({"finished_at": NOW}, Rule.STATE),
        ({"attempt": 5}, Rule.ATTEMPTS),
        ({"charged": 2}, Rule.BUDGET),
        ({"max_attempts": 1}, Rule.BUDGET),
        ({"lost": 4}, Rule.BUDGET),
        ({"interrupted": 11}, Rule.BUDGET),
        ({"token": FIRST}, Rule.LEASE),
        ({"token": None}, Rule.LEASE),
        ({"started_at": None}, Rule.LEASE),
    ],
)
def test_a_task_that_its_events_do_not_explain_is_found(changes: dict[str, Any], rule: Rule) -> None:
    assert set(judged(as_it_stands(**changes), life())) == {rule}


RUNNING = Tally("reports", "build_report", R)


def totals(counted: Sequence[tuple[Tally, int, int]], *, has_owner: bool = True) -> list[Violation]:
    judge = StoreJudge()
    judge.take(a_task(), size_bytes=10)
    judge.take(a_task(), size_bytes=5)
    return list(judge.verdict(counted, has_owner=has_owner))


def test_counters_that_agree_with_the_tasks_break_no_rule() -> None:
    assert totals([(RUNNING, 2, 15)]) == []


@pytest.mark.parametrize(
    "counted",
    [
        [],
        [(RUNNING, 1, 15)],
        [(RUNNING, 2, 16)],
        [(RUNNING, 2, 15), (RUNNING._replace(state=Q), 1, 0)],
        [(RUNNING._replace(queue="other"), 2, 15)],
    ],
)
def test_counters_that_differ_from_the_tasks_are_found(counted: list[tuple[Tally, int, int]]) -> None:
    assert {violation.rule for violation in totals(counted)} == {Rule.COUNTERS}


def test_tasks_that_run_for_no_server_are_found() -> None:
    (violation,) = totals([(RUNNING, 2, 15)], has_owner=False)
    assert (violation.rule, violation.detail) == (Rule.LEASE, "2 tasks run, but no server owns the store")


def test_every_rule_has_its_meaning_and_an_advice() -> None:
    assert set(MEANING) == set(ADVICE) == set(Rule)
