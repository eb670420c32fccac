"""The stop ladder: when each step is due, and that it always ends."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.stop import Ladder, Stage, StopReason, StopTimes, advance, due_at, ladder_for, merge

from .making import unhurried

TIMES = StopTimes()


def steps(reason: StopReason, *, now: float = 0.0, grace_s: float = 10.0, times: StopTimes = TIMES) -> list[float]:
    """Give the instants of telling, SIGTERM and SIGKILL."""
    ladder = ladder_for(reason, now=now, grace_s=grace_s, times=times)
    return [ladder.tell_at, ladder.terminate_at, ladder.kill_at]


# ── when ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("reason", [StopReason.CANCEL, StopReason.TIMEOUT])
def test_a_cancel_or_timeout_tells_at_once_and_kills_5_seconds_after_the_grace(reason: StopReason) -> None:
    assert steps(reason, now=100.0) == [100, 110, 115]
    assert steps(reason, now=100.0, grace_s=0.0) == [100, 100, 105]
    assert steps(reason, grace_s=3_600.0) == [0, 3_600, 3_605]


def test_a_drain_lets_attempts_finish_for_20_seconds_and_is_through_at_26_of_28() -> None:
    assert steps(StopReason.DRAIN, now=100.0) == [120, 124, 126]


def test_a_drain_takes_no_heed_of_a_tasks_own_grace() -> None:
    assert steps(StopReason.DRAIN, grace_s=3_600.0) == [20, 24, 26]


def test_a_shorter_drain_shrinks_all_its_steps() -> None:
    assert steps(StopReason.DRAIN, times=StopTimes(stop_s=7)) == [5, 6, 6.5]


def test_a_longer_drain_gives_attempts_more_time_to_finish() -> None:
    tell, terminate, kill = steps(StopReason.DRAIN, times=StopTimes(stop_s=330))
    assert tell > 300
    assert tell < terminate < kill < 330


def test_a_second_signal_tells_at_once_and_kills_in_3_seconds() -> None:
    tell, terminate, kill = steps(StopReason.HURRY, now=100.0)
    assert (tell, kill) == (100, 103)
    assert tell < terminate < kill


def test_a_lost_lease_is_stopped_at_one_half_two_thirds_and_5_seconds_before_its_end() -> None:
    assert steps(StopReason.LOST_LEASE, now=100.0) == [115, 120, 125]
    assert steps(StopReason.LOST_LEASE, times=StopTimes(ttl_s=60)) == [30, 40, 55]


# ── step by step ───────────────────────────────────────────────────


def test_each_step_is_taken_once_and_in_its_turn() -> None:
    ladder = ladder_for(StopReason.CANCEL, now=0.0, grace_s=10.0, times=TIMES)
    taken: list[tuple[float, Stage]] = []
    for now in (0.0, 0.1, 9.9, 10.0, 10.1, 14.9, 15.0, 15.1, 1e9):
        ladder, stage = advance(ladder, now=now)
        if stage is not None:
            taken.append((now, stage))
    assert taken == [(0.0, Stage.TOLD), (10.0, Stage.TERMINATED), (15.0, Stage.KILLED)]


def test_a_ladder_that_was_overslept_goes_to_its_end_at_once() -> None:
    ladder = ladder_for(StopReason.LOST_LEASE, now=0.0, grace_s=0.0, times=TIMES)
    ladder, stage = advance(ladder, now=3_600.0)
    assert stage is Stage.KILLED
    assert due_at(ladder) is None


def test_nothing_is_due_before_its_time() -> None:
    ladder = ladder_for(StopReason.DRAIN, now=0.0, grace_s=10.0, times=TIMES)
    assert advance(ladder, now=19.999) == (ladder, None)
    assert due_at(ladder) == 20


# ── two reasons at once ────────────────────────────────────────────


def test_a_first_reason_is_taken_as_it_is() -> None:
    ladder = ladder_for(StopReason.CANCEL, now=0.0, grace_s=10.0, times=TIMES)
    assert merge(None, ladder) == ladder


def test_a_long_grace_does_not_outlive_a_drain() -> None:
    cancel, _ = advance(ladder_for(StopReason.CANCEL, now=0.0, grace_s=600.0, times=TIMES), now=0.0)
    both = merge(cancel, ladder_for(StopReason.DRAIN, now=5.0, grace_s=600.0, times=TIMES))
    assert (both.reason, both.stage) == (StopReason.CANCEL, Stage.TOLD)
    assert (both.tell_at, both.terminate_at, both.kill_at) == (0, 29, 31)


def test_a_drain_does_not_delay_a_cancel() -> None:
    drain = ladder_for(StopReason.DRAIN, now=0.0, grace_s=1.0, times=TIMES)
    both = merge(drain, ladder_for(StopReason.CANCEL, now=5.0, grace_s=1.0, times=TIMES))
    assert both == Ladder(StopReason.CANCEL, 5, 6, 11)


def test_a_second_signal_overtakes_a_drain() -> None:
    drain = ladder_for(StopReason.DRAIN, now=0.0, grace_s=10.0, times=TIMES)
    both = merge(drain, ladder_for(StopReason.HURRY, now=2.0, grace_s=10.0, times=TIMES))
    assert (both.tell_at, both.kill_at, both.reason) == (2, 5, StopReason.HURRY)


def test_a_handler_that_was_told_why_is_not_told_otherwise() -> None:
    timeout, _ = advance(ladder_for(StopReason.TIMEOUT, now=10.0, grace_s=10.0, times=TIMES), now=10.0)
    both = merge(timeout, ladder_for(StopReason.CANCEL, now=9.0, grace_s=0.0, times=TIMES))
    assert both.reason is StopReason.TIMEOUT


# ── for all settings ───────────────────────────────────────────────

seconds = st.floats(0, 1e4)
instants = st.floats(0, 1e6)
times_of = st.builds(
    StopTimes,
    kill_after_s=seconds,
    stop_s=seconds,
    hurry_s=seconds,
    ttl_s=st.floats(15, 1e4),
    fence_margin_s=st.floats(0, 5),
)
ladders = st.builds(
    lambda reason, now, grace_s, times: ladder_for(reason, now=now, grace_s=grace_s, times=times),
    st.sampled_from(StopReason),
    instants,
    seconds,
    times_of,
)


@st.composite
def climbed(draw: st.DrawFn) -> Ladder:
    """Draw a ladder some of whose steps may have been taken."""
    ladder = draw(ladders)
    return msgspec.structs.replace(ladder, stage=draw(st.sampled_from(Stage)))


@unhurried
@given(ladders)
def test_the_steps_of_a_ladder_are_in_order(ladder: Ladder) -> None:
    assert ladder.stage is Stage.RUNNING
    assert ladder.tell_at <= ladder.terminate_at <= ladder.kill_at


@unhurried
@given(st.floats(0.01, 1e4), seconds, instants)
def test_a_drain_is_told_and_killed_within_its_bound(stop_s: float, grace_s: float, now: float) -> None:
    tell, _, kill = steps(StopReason.DRAIN, now=now, grace_s=grace_s, times=StopTimes(stop_s=stop_s))
    assert now <= tell
    assert kill <= now + stop_s


@unhurried
@given(climbed(), climbed())
def test_a_ladder_always_ends_within_three_steps(first: Ladder, second: Ladder) -> None:
    ladder = merge(first, second)
    for _ in range(3):
        if (at := due_at(ladder)) is None:
            break
        before = ladder.stage
        ladder, stage = advance(ladder, now=at)
        assert stage is ladder.stage > before
    assert ladder.stage is Stage.KILLED
    assert due_at(ladder) is None


@unhurried
@given(climbed())
def test_something_is_due_until_the_group_is_killed(ladder: Ladder) -> None:
    assert (due_at(ladder) is None) == (ladder.stage is Stage.KILLED)


@unhurried
@given(climbed(), st.lists(st.floats(0, 2e6), max_size=10))
def test_no_stage_is_ever_gone_back_or_taken_twice(ladder: Ladder, readings: list[float]) -> None:
    for now in readings:
        before = ladder
        ladder, stage = advance(ladder, now=now)
        assert ladder.stage >= before.stage
        assert (stage is None) == (ladder == before)
        assert stage in (None, ladder.stage)


@unhurried
@given(climbed(), st.floats(0, 2e6))
def test_a_step_is_taken_exactly_when_one_is_due(ladder: Ladder, now: float) -> None:
    at = due_at(ladder)
    _, stage = advance(ladder, now=now)
    assert (stage is not None) == (at is not None and now >= at)


@unhurried
@given(climbed(), climbed())
def test_of_two_ladders_each_step_comes_at_the_earlier_instant(first: Ladder, second: Ladder) -> None:
    both = merge(first, second)
    for name in ("tell_at", "terminate_at", "kill_at"):
        assert getattr(both, name) == min(getattr(first, name), getattr(second, name))
        assert getattr(both, name) == getattr(merge(second, first), name)
    assert both.stage == max(first.stage, second.stage)
    assert both.reason in (first.reason, second.reason)


@unhurried
@given(st.lists(ladders, min_size=1, max_size=4))
def test_the_order_in_which_reasons_come_does_not_move_any_step(reasons: list[Ladder]) -> None:
    def joined(order: tuple[Ladder, ...]) -> tuple[float, float, float]:
        ladder: Ladder | None = None
        for other in order:
            ladder = merge(ladder, other)
        assert ladder is not None
        return ladder.tell_at, ladder.terminate_at, ladder.kill_at

    assert len({joined(order) for order in itertools.permutations(reasons)}) == 1
