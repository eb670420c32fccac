"""What writes make of a task, as rules: every move legal, every other refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.contracts.tasks import (
    Applied,
    Hold,
    Refusal,
    Refused,
    Release,
    RequestCancel,
    Retry,
    Save,
    Settle,
)
from windlass.core.decide import decide
from windlass.core.ids import TaskId, Token
from windlass.core.outcome import Errored, Snoozed, Succeeded
from windlass.core.state import TRANSITIONS, State
from windlass.core.task import Error, NewTask, Task
from windlass.store.moves import Change, amended, met, refusal, settled, settlement_data, started, submitted

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
TOKEN = Token("ab" * 16)
ERROR = Error(type="E", message="m")


def new(**changes: object) -> NewTask:
    whole = NewTask(id=TaskId("i"), kind="k", queue="q", payload=b"{}", created_at=NOW, run_at=NOW)
    return msgspec.structs.replace(whole, **changes)


def queued(**changes: object) -> Task:
    return msgspec.structs.replace(submitted(new(), 7), **changes)


def running(**changes: object) -> Task:
    return msgspec.structs.replace(started(queued(), token=TOKEN, at=NOW), **changes)


def settle(task: Task, outcome: Succeeded | Errored | Snoozed) -> Settle:
    return Settle(task.number, TOKEN, decide(task, outcome, now=LATER, roll=0.0), 2.0)


ENDED = settled(running(), settle(running(), Succeeded(b"1"))).task


def test_a_new_task_has_every_field_that_it_was_submitted_with() -> None:
    whole = new(priority=3, key="a", origin="o", name="n", tags={"a": "b"}, timeout_s=4.0, fingerprint=b"f")
    task = submitted(whole, 7)
    shared = set(NewTask.__struct_fields__) & set(Task.__struct_fields__)
    assert set(NewTask.__struct_fields__) - shared == {"payload"}
    assert {name: getattr(task, name) for name in shared} == {name: getattr(whole, name) for name in shared}
    assert (task.number, task.state, task.version) == (7, State.QUEUED, 1)


def test_an_id_or_key_met_again_is_the_same_task_only_by_kind_and_fingerprint() -> None:
    task = queued(fingerprint=b"1")
    assert met(task, new(fingerprint=b"1")) == Applied(task, created=False)
    assert met(task, new(fingerprint=b"2")) == Refused(Refusal.KEY, task)
    assert met(task, new(fingerprint=b"1", kind="other")) == Refused(Refusal.KEY, task)


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (running(), None),
        (running(token=Token("cd" * 16)), Refusal.STALE),
        (queued(), Refusal.STALE),
        (ENDED, Refusal.STALE),
        (running(cancel_requested_at=NOW), Refusal.CHANGED),
    ],
)
def test_a_settlement_is_refused_for_the_first_guard_that_fails(task: Task, why: Refusal | None) -> None:
    write = settle(running(), Succeeded(b"1"))
    assert refusal(task, write) == (None if why is None else Refused(why, task))


def test_a_cancel_request_does_not_keep_an_attempt_from_saving() -> None:
    assert refusal(running(cancel_requested_at=NOW), Save(7, TOKEN, b"1")) is None


def test_the_end_of_a_task_keeps_when_it_started_and_an_attempt_given_back_does_not() -> None:
    assert (ENDED.started_at, ENDED.finished_at, ENDED.token) == (NOW, LATER, None)
    back = settled(running(), settle(running(), Snoozed(5.0))).task
    assert (back.started_at, back.finished_at, back.token) == (None, None, None)


def test_the_data_of_a_settlement_holds_only_what_applies() -> None:
    assert settlement_data(settle(running(), Succeeded(b"1"))) == {"ran_s": 2.0}
    assert settlement_data(settle(running(), Errored(ERROR, retryable=False))) == {
        "ran_s": 2.0,
        "error": {"type": "E", "message": "m"},
    }
    assert settlement_data(settle(running(), Snoozed(5.0))) == {"ran_s": 2.0, "run_at": "2026-01-01T00:01:05Z"}


tasks = st.sampled_from(
    [
        queued(),
        queued(held=True, interrupted=4),
        queued(attempt=2, error=ERROR),
        running(),
        running(cancel_requested_at=NOW),
        ENDED,
        msgspec.structs.replace(ENDED, state=State.FAILED),
        msgspec.structs.replace(ENDED, state=State.CANCELLED),
    ]
)
amendments = st.sampled_from([RequestCancel(7, LATER, "r", 3.0), Retry(7, LATER), Hold(7, LATER), Release(7, LATER)])


@given(tasks, amendments)
def test_an_amendment_is_a_legal_move_or_changes_nothing(
    task: Task, write: RequestCancel | Retry | Hold | Release
) -> None:
    answer = amended(task, write)
    if isinstance(answer, Change):
        assert TRANSITIONS[task.state, answer.event] is answer.task.state
        assert answer.task.version == task.version + 1
        assert answer.at == LATER
        assert (answer.task.finished_at is not None) == answer.task.state.has_ended
        assert amended(answer.task, write) in (
            Applied(answer.task, created=False),
            Refused(Refusal.STATE, answer.task),
        )
    else:
        assert answer in (Applied(task, created=False), Refused(Refusal.STATE, task))
