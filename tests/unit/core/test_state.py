"""The table of legal moves, pair by pair."""

from __future__ import annotations

import itertools

import pytest

from windlass.core.state import ENDED, EventName, Reason, State, next_state
from windlass.errors import ConflictError, IllegalTransition

LEGAL: dict[State | None, dict[str, str]] = {
    None: {"submitted": "queued"},
    State.QUEUED: {
        "started": "running",
        "held": "queued",
        "released": "queued",
        "cancelled": "cancelled",
        "edited": "queued",
    },
    State.RUNNING: {
        "succeeded": "succeeded",
        "retrying": "queued",
        "snoozed": "queued",
        "interrupted": "queued",
        "held": "queued",
        "failed": "failed",
        "cancel_requested": "running",
        "cancelled": "cancelled",
        "edited": "running",
    },
    State.SUCCEEDED: {"retried": "queued", "edited": "succeeded"},
    State.FAILED: {"retried": "queued", "edited": "failed"},
    State.CANCELLED: {"retried": "queued", "edited": "cancelled"},
}
PAIRS = list(itertools.product([None, *State], EventName))


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=[f"{state}-{event}" for state, event in PAIRS])
def test_an_event_leads_where_the_table_says_or_nowhere(state: State | None, event: EventName) -> None:
    if (target := LEGAL[state].get(event)) is not None:
        assert next_state(state, event) == State(target)
    else:
        with pytest.raises(IllegalTransition):
            next_state(state, event)


def test_there_are_five_states_of_which_three_have_ended() -> None:
    assert [*State] == ["queued", "running", "succeeded", "failed", "cancelled"]
    assert {state for state in State if state.has_ended} == ENDED == {"succeeded", "failed", "cancelled"}


def test_nothing_but_an_explicit_retry_leaves_an_ended_state() -> None:
    leaving = {event for state, event, to in _legal_moves() if state in ENDED and to is not state}
    assert leaving == {EventName.RETRIED}


def test_only_a_start_makes_a_task_run() -> None:
    assert {event for state, event, to in _legal_moves() if to is State.RUNNING and state is not to} == {"started"}


def test_no_event_but_the_first_makes_a_task_out_of_nothing() -> None:
    assert {event for state, event, _ in _legal_moves() if state is None} == {"submitted"}


def test_a_refused_move_says_what_was_asked_of_what() -> None:
    with pytest.raises(IllegalTransition, match=r"succeeded cannot take the event 'started'") as refused:
        next_state(State.SUCCEEDED, EventName.STARTED)
    assert isinstance(refused.value, ConflictError)
    assert refused.value.code == "illegal_transition"
    assert refused.value.details == {"state": State.SUCCEEDED, "event": EventName.STARTED}


def test_a_refused_move_of_an_unknown_task_says_so() -> None:
    with pytest.raises(IllegalTransition, match="a task that is not stored cannot take the event 'cancelled'"):
        next_state(None, EventName.CANCELLED)


def test_reasons_are_stable_codes() -> None:
    published = {
        *("error", "exhausted", "not_retryable", "timed_out", "stalled", "deadline", "expired", "cancelled"),
        *("interrupted", "lost", "poison", "dependency_failed"),
    }
    assert set(Reason) <= published


def _legal_moves() -> list[tuple[State | None, EventName, State]]:
    moves: list[tuple[State | None, EventName, State]] = []
    for state, event in PAIRS:
        try:
            moves.append((state, event, next_state(state, event)))
        except IllegalTransition:
            continue
    return moves
