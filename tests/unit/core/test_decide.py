"""What the end of an attempt makes of its task: every row of the rules, and what holds for all of them."""

from __future__ import annotations

import itertools
import math
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from windlass.core.backoff import RetryPolicy
from windlass.core.decide import Settlement, decide
from windlass.core.limits import DELAY_MAX_S, INTERRUPTED_MAX, LOST_MAX
from windlass.core.outcome import Errored, Interrupted, Lost, Outcome, Snoozed, Succeeded, TimedOut
from windlass.core.state import ENDED, EventName, Recovery, State, next_state
from windlass.core.task import Task
from windlass.errors import IllegalTransition

from .making import ERROR, NOW, a_task, any_number, outcomes, rolls, running_tasks, unhurried

OUTCOMES: dict[str, Outcome] = {
    "success": Succeeded(result=b'{"rows":31000}'),
    "failure": Errored(ERROR),
    "hopeless": Errored(ERROR, retryable=False),
    "snooze": Snoozed(30.0),
    "timeout": TimedOut(ERROR),
    "interruption": Interrupted(ERROR),
    "loss": Lost(ERROR),
}


class Row(NamedTuple):
    """One row of the rules; None in a condition: whatever it is."""

    outcome: str
    recovery: str | None
    budget_left: bool | None
    state: str
    event: str
    reason: str | None
    charged: int = 0
    held: bool = False


ROWS = [
    Row("success", None, None, "succeeded", "succeeded", None),
    Row("failure", None, True, "queued", "retrying", "error"),
    Row("failure", None, False, "failed", "failed", "exhausted"),
    Row("hopeless", None, None, "failed", "failed", "not_retryable"),
    Row("snooze", None, None, "queued", "snoozed", None, -1),
    Row("timeout", None, True, "queued", "retrying", "timed_out"),
    Row("timeout", None, False, "failed", "failed", "timed_out"),
    Row("interruption", "retry", None, "queued", "interrupted", "interrupted", -1),
    Row("interruption", "fail", None, "failed", "failed", "interrupted"),
    Row("interruption", "hold", None, "queued", "held", "interrupted", -1, held=True),
    Row("loss", "retry", None, "queued", "interrupted", "lost", -1),
    Row("loss", "fail", None, "failed", "failed", "lost"),
    Row("loss", "hold", None, "queued", "held", "lost", -1, held=True),
]
CASES = list(itertools.product(OUTCOMES, ["retry", "fail", "hold"], [True, False]))


def settle(task: Task, outcome: Outcome, *, now: datetime = NOW, roll: float = 0.5) -> Settlement:
    """Decide at an instant and roll that most tests do not care about."""
    return decide(task, outcome, now=now, roll=roll)


def in_attempt(*, recovery: str = "retry", budget_left: bool = True, cancelling: bool = False, lost: int = 0) -> Task:
    """Build a task in its second charged attempt of three, or in its last."""
    return a_task(
        attempt=4,
        charged=2 if budget_left else 3,
        max_attempts=3,
        lost=lost,
        recovery=Recovery(recovery),
        cancel_requested_at=NOW - timedelta(seconds=2) if cancelling else None,
    )


@pytest.mark.parametrize(("outcome", "recovery", "budget_left"), CASES)
def test_an_outcome_makes_of_a_task_what_the_rules_say(outcome: str, recovery: str, budget_left: bool) -> None:
    [row] = [
        row
        for row in ROWS
        if row.outcome == outcome and row.recovery in (None, recovery) and row.budget_left in (None, budget_left)
    ]
    task = in_attempt(recovery=recovery, budget_left=budget_left)

    settled = settle(task, OUTCOMES[outcome])

    assert (settled.state, settled.event, settled.reason, settled.held) == (row.state, row.event, row.reason, row.held)
    assert settled.charged == task.charged + row.charged
    assert settled.error == (None if outcome in ("success", "snooze") else ERROR)
    assert settled.cancel_outcome is None
    assert settled.cancel_seen is False
    assert settled.at == NOW


@pytest.mark.parametrize(("outcome", "recovery", "budget_left"), CASES)
def test_a_requested_cancel_lets_only_success_through(outcome: str, recovery: str, budget_left: bool) -> None:
    task = in_attempt(recovery=recovery, budget_left=budget_left, cancelling=True)

    settled = settle(task, OUTCOMES[outcome])

    if outcome == "success":
        assert (settled.state, settled.event, settled.reason) == ("succeeded", "succeeded", None)
        assert settled.cancel_outcome == "too_late"
        assert settled.result == b'{"rows":31000}'
    else:
        assert (settled.state, settled.event, settled.reason) == ("cancelled", "cancelled", "cancelled")
        assert settled.cancel_outcome not in (None, "too_late")
        assert settled.error == (None if outcome == "snooze" else ERROR)
    assert settled.cancel_seen is True
    assert settled.held is False
    assert settled.charged == task.charged


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES.keys())
@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_a_task_that_does_not_run_cannot_be_settled(state: State, outcome: Outcome) -> None:
    for recovery, cancel_requested_at in itertools.product(Recovery, (None, NOW)):
        task = a_task(state=state, recovery=recovery, cancel_requested_at=cancel_requested_at)
        with pytest.raises(IllegalTransition, match=state) as refused:
            settle(task, outcome)
        assert refused.value.details["state"] is state


# ── success, failure, timeout ──────────────────────────────────────


def test_a_success_keeps_the_result_and_no_error() -> None:
    settled = settle(in_attempt(), Succeeded(result=b"[1]"))
    assert settled.result == b"[1]"
    assert settled.error is None


def test_a_failure_keeps_the_error_and_no_result() -> None:
    for budget_left in (True, False):
        settled = settle(in_attempt(budget_left=budget_left), Errored(ERROR))
        assert settled.error == ERROR
        assert settled.result is None


def test_a_first_and_only_attempt_that_fails_has_used_up_the_budget() -> None:
    settled = settle(a_task(charged=1, max_attempts=1), Errored(ERROR))
    assert (settled.state, settled.reason) == ("failed", "exhausted")


@pytest.mark.parametrize(
    ("charged", "longest_s"), [(1, 5.0), (2, 15.0), (3, 45.0), (4, 135.0), (5, 300.0), (9, 300.0), (999, 300.0)]
)
@pytest.mark.parametrize("outcome", [Errored(ERROR), TimedOut(ERROR)], ids=["failure", "timeout"])
def test_the_default_delay_lies_between_half_and_all_of_its_step(
    outcome: Outcome, charged: int, longest_s: float
) -> None:
    task = a_task(charged=charged, max_attempts=1_000)
    assert settle(task, outcome, roll=0.0).run_at == NOW + timedelta(seconds=longest_s / 2)
    assert settle(task, outcome, roll=0.5).run_at == NOW + timedelta(seconds=longest_s * 0.75)
    assert settle(task, outcome, roll=1.0).run_at == NOW + timedelta(seconds=longest_s)


def test_the_delay_grows_with_the_budget_used_and_not_with_the_starts() -> None:
    often_started = a_task(attempt=40, charged=1)
    assert settle(often_started, Errored(ERROR), roll=1.0).run_at == NOW + timedelta(seconds=5)


def test_a_server_that_names_a_time_to_come_again_is_obeyed_up_to_an_hour() -> None:
    def delay(retry_after_s: float) -> timedelta:
        return settle(in_attempt(), Errored(ERROR, retry_after_s=retry_after_s), roll=0.0).run_at - NOW

    assert delay(90) == timedelta(seconds=90)
    assert delay(86_400) == timedelta(hours=1)
    assert delay(0.001) == timedelta(seconds=7.5)


# ── given back ─────────────────────────────────────────────────────


def test_a_snoozed_task_comes_again_after_its_delay() -> None:
    assert settle(in_attempt(), Snoozed(30.0)).run_at == NOW + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("delay_s", "meant_s"),
    [(-5.0, 0.0), (math.nan, 0.0), (-math.inf, 0.0), (math.inf, DELAY_MAX_S), (1e300, DELAY_MAX_S)],
)
def test_a_snooze_of_no_sensible_length_still_settles(delay_s: float, meant_s: float) -> None:
    assert settle(in_attempt(), Snoozed(delay_s)).run_at == NOW + timedelta(seconds=meant_s)


def test_an_interrupted_task_keeps_its_place_in_the_line() -> None:
    task = in_attempt()
    assert settle(task, Interrupted(ERROR)).run_at == task.run_at < NOW


def test_a_lost_task_comes_again_with_the_backoff_of_its_losses() -> None:
    for lost, longest_s in ((0, 5.0), (1, 15.0)):
        task = in_attempt(lost=lost)
        assert settle(task, Lost(ERROR), roll=0.0).run_at == NOW + timedelta(seconds=longest_s / 2)
        assert settle(task, Lost(ERROR), roll=1.0).run_at == NOW + timedelta(seconds=longest_s)


def test_the_third_loss_is_poison_whatever_budget_is_left() -> None:
    for budget_left in (True, False):
        settled = settle(in_attempt(budget_left=budget_left, lost=LOST_MAX - 1), Lost(ERROR))
        assert (settled.state, settled.reason, settled.lost) == ("failed", "poison", 3)
        assert settled.error == ERROR


def test_losses_are_counted_over_the_whole_life_of_a_task() -> None:
    task = in_attempt(lost=2)
    for outcome in OUTCOMES.values():
        assert settle(task, outcome).lost == (3 if isinstance(outcome, Lost) else 2)


def test_the_tenth_interruption_in_a_row_waits_for_an_operator() -> None:
    ninth = settle(a_task(interrupted=8), Interrupted(ERROR))
    assert (ninth.event, ninth.held, ninth.interrupted) == (EventName.INTERRUPTED, False, 9)
    tenth = settle(a_task(interrupted=9), Interrupted(ERROR))
    assert (tenth.event, tenth.state, tenth.held, tenth.interrupted) == (EventName.HELD, State.QUEUED, True, 10)


@pytest.mark.parametrize("outcome", ["failure", "snooze", "timeout", "loss"])
def test_any_other_end_breaks_the_row_of_interruptions(outcome: str) -> None:
    assert settle(a_task(interrupted=9), OUTCOMES[outcome]).interrupted == 0


def test_an_attempt_whose_shared_worker_died_runs_alone_from_then_on() -> None:
    isolated = settle(in_attempt(), Interrupted(ERROR, isolate=True))
    assert isolated.solo is True
    for outcome in OUTCOMES.values():
        assert settle(a_task(solo=True), outcome).solo is True
        assert settle(a_task(solo=False), outcome).solo is False


# ── for all tasks and outcomes ─────────────────────────────────────


@unhurried
@given(running_tasks(), outcomes, rolls)
def test_every_settlement_is_a_legal_move(task: Task, outcome: Outcome, roll: float) -> None:
    settled = settle(task, outcome, roll=roll)
    assert next_state(State.RUNNING, settled.event) is settled.state
    assert settled.state is not State.RUNNING


@unhurried
@given(running_tasks(), outcomes, rolls)
def test_a_settled_task_has_ended_or_is_queued_again_and_says_why(task: Task, outcome: Outcome, roll: float) -> None:
    settled = settle(task, outcome, roll=roll)
    assert (settled.state in ENDED) != (settled.state is State.QUEUED)
    assert not (settled.held and settled.state is not State.QUEUED)
    assert (settled.result is not None) == (settled.state is State.SUCCEEDED)
    silent = settled.event in (EventName.SUCCEEDED, EventName.SNOOZED)
    assert (settled.reason is None) == silent


@unhurried
@given(running_tasks(), outcomes, rolls)
def test_budget_is_given_back_for_what_was_not_the_attempts_fault_and_for_nothing_else(
    task: Task, outcome: Outcome, roll: float
) -> None:
    settled = settle(task, outcome, roll=roll)
    assert 0 <= settled.charged <= task.max_attempts
    given_back = settled.state is State.QUEUED and isinstance(outcome, Snoozed | Interrupted | Lost)
    assert settled.charged == task.charged - given_back


@unhurried
@given(running_tasks(), outcomes, rolls)
def test_a_task_to_be_cancelled_is_never_queued_again(task: Task, outcome: Outcome, roll: float) -> None:
    assume(task.cancel_requested_at is not None)
    settled = settle(task, outcome, roll=roll)
    assert settled.state is (State.SUCCEEDED if isinstance(outcome, Succeeded) else State.CANCELLED)
    assert settled.cancel_seen


@unhurried
@given(running_tasks(), outcomes, rolls)
def test_success_always_succeeds_and_nothing_else_does(task: Task, outcome: Outcome, roll: float) -> None:
    assert (settle(task, outcome, roll=roll).state is State.SUCCEEDED) == isinstance(outcome, Succeeded)


@unhurried
@given(running_tasks(), outcomes, rolls)
def test_the_same_end_is_always_settled_the_same_way(task: Task, outcome: Outcome, roll: float) -> None:
    before = msgspec.json.encode(task)
    assert settle(task, outcome, roll=roll) == settle(task, outcome, roll=roll)
    assert msgspec.json.encode(task) == before


@unhurried
@given(running_tasks(), outcomes, rolls)
def test_what_is_queued_again_comes_in_bounded_time(task: Task, outcome: Outcome, roll: float) -> None:
    settled = settle(task, outcome, roll=roll)
    if settled.state is not State.QUEUED or isinstance(outcome, Interrupted):
        assert settled.run_at == task.run_at
        return
    longest_s = min(task.retry.cap_s, DELAY_MAX_S)
    if isinstance(outcome, Errored) and outcome.retry_after_s is not None:
        longest_s = max(longest_s, 3_600.0)
    if isinstance(outcome, Snoozed):
        longest_s = DELAY_MAX_S
    assert timedelta() <= settled.run_at - NOW <= timedelta(seconds=longest_s, microseconds=1)


@unhurried
@given(running_tasks(), rolls)
def test_at_most_once_means_no_second_start_after_an_interruption_or_a_loss(task: Task, roll: float) -> None:
    task = msgspec.structs.replace(task, recovery=Recovery.FAIL)
    for outcome in (Interrupted(ERROR), Interrupted(ERROR, isolate=True), Lost(ERROR)):
        assert settle(task, outcome, roll=roll).state in ENDED


@unhurried
@given(running_tasks(), rolls)
def test_recovery_by_a_person_means_nothing_starts_before_one_has_looked(task: Task, roll: float) -> None:
    task = msgspec.structs.replace(task, recovery=Recovery.HOLD, cancel_requested_at=None)
    for outcome in (Interrupted(ERROR), Lost(ERROR)):
        settled = settle(task, outcome, roll=roll)
        assert settled.held or settled.state in ENDED


@pytest.mark.parametrize(
    "policy",
    [
        RetryPolicy(cap_s=1e300, base_s=1e300),
        RetryPolicy(base_s=math.inf, cap_s=math.inf),
        RetryPolicy(base_s=math.nan),
        RetryPolicy(base_s=-5.0),
    ],
    ids=str,
)
def test_no_policy_however_odd_leaves_an_attempt_without_a_settlement(policy: RetryPolicy) -> None:
    for outcome in OUTCOMES.values():
        settled = settle(a_task(retry=policy), outcome)
        assert settled.run_at <= NOW + timedelta(seconds=DELAY_MAX_S)


@unhurried
@given(any_number)
def test_an_instant_in_another_zone_settles_the_same(delay_s: float) -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert settle(in_attempt(), Snoozed(delay_s), now=elsewhere) == settle(in_attempt(), Snoozed(delay_s))


# ── a whole life ───────────────────────────────────────────────────


def start(task: Task, settled: Settlement | None = None) -> Task:
    """Claim the task as `settled` left it: one more attempt, charged."""
    if settled is not None:
        changes = {
            name: getattr(settled, name)
            for name in ("charged", "lost", "interrupted", "held", "solo", "run_at", "reason")
        }
        task = msgspec.structs.replace(task, **changes)
    return msgspec.structs.replace(task, state=State.RUNNING, attempt=task.attempt + 1, charged=task.charged + 1)


@pytest.mark.parametrize(
    ("outcome", "starts"), [("failure", 5), ("timeout", 5), ("hopeless", 1), ("loss", LOST_MAX), ("interruption", 10)]
)
def test_a_task_that_always_ends_the_same_way_comes_to_rest(outcome: str, starts: int) -> None:
    task = start(a_task(state=State.QUEUED, attempt=0, charged=0))
    while (settled := settle(task, OUTCOMES[outcome])).state is State.QUEUED and not settled.held:
        task = start(task, settled)
    assert task.attempt == starts


@unhurried
@given(
    st.integers(1, 6),
    st.sampled_from(Recovery),
    st.lists(outcomes.filter(lambda outcome: not isinstance(outcome, Snoozed)), min_size=1, max_size=100),
)
def test_no_mixture_of_ends_starts_a_task_for_ever_or_charges_it_too_often(
    max_attempts: int, recovery: Recovery, ends: list[Outcome]
) -> None:
    task = start(a_task(state=State.QUEUED, attempt=0, charged=0, max_attempts=max_attempts, recovery=recovery))
    # The row of interruptions begins anew with every other end, and of those there are only so many.
    most_starts = (max_attempts + LOST_MAX) * INTERRUPTED_MAX
    for outcome in itertools.islice(itertools.cycle(ends), most_starts):
        assert 1 <= task.charged <= max_attempts
        settled = settle(task, outcome)
        if settled.state in ENDED or settled.held:
            return
        task = start(task, settled)
    pytest.fail(f"still not at rest after {most_starts} starts")
