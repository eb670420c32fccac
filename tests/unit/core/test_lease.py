"""Who may write for a running task, and when a server must fence itself."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.ids import Token
from windlass.core.lease import check_times, fence, is_wedged, may_write
from windlass.core.limits import BEAT_S, LEASE_TTL_S
from windlass.core.state import State
from windlass.core.stop import StopReason, StopTimes
from windlass.errors import ConfigError

from .making import TOKEN, a_task, any_number, unhurried


@pytest.mark.parametrize("state", State)
def test_only_the_holder_of_the_current_token_of_a_running_task_may_write(state: State) -> None:
    task = a_task(state=state)
    assert may_write(task, TOKEN) is (state is State.RUNNING)
    assert may_write(task, Token("f" * 32)) is False


def test_nobody_may_write_for_a_task_that_is_not_there_or_that_nobody_holds() -> None:
    assert may_write(None, TOKEN) is False
    assert may_write(a_task(token=None), TOKEN) is False


def test_the_fence_counts_from_before_the_last_renewal_was_sent() -> None:
    ladder = fence(renewal_sent_at=1_000.0, times=StopTimes())
    assert ladder.reason is StopReason.LOST_LEASE
    assert (ladder.tell_at, ladder.terminate_at, ladder.kill_at) == (1_015, 1_020, 1_025)


def test_the_default_figures_leave_room_for_the_fence() -> None:
    assert StopTimes().ttl_s == LEASE_TTL_S == 30
    assert BEAT_S == 5
    check_times(StopTimes())


@pytest.mark.parametrize(
    "times",
    [
        StopTimes(fence_margin_s=0.0),
        StopTimes(fence_margin_s=-1.0),
        StopTimes(fence_margin_s=10.1),
        StopTimes(fence_margin_s=math.nan),
        StopTimes(ttl_s=14.9),
        StopTimes(ttl_s=0.0),
        StopTimes(ttl_s=-30.0),
        StopTimes(ttl_s=math.nan),
    ],
    ids=lambda times: f"{times.ttl_s}-{times.fence_margin_s}",
)
def test_figures_that_leave_no_room_for_the_fence_are_refused_by_name(times: StopTimes) -> None:
    with pytest.raises(ConfigError) as refused:
        check_times(times)
    assert f"{times.ttl_s:g} s" in refused.value.detail
    assert f"{times.fence_margin_s:g} s" in refused.value.detail


@unhurried
@given(any_number, any_number)
def test_a_fence_that_is_let_through_ends_before_its_lease_does(ttl_s: float, margin_s: float) -> None:
    times = StopTimes(ttl_s=ttl_s, fence_margin_s=margin_s)
    try:
        check_times(times)
    except ConfigError:
        return
    ladder = fence(renewal_sent_at=0.0, times=times)
    assert 0 < ladder.tell_at <= ladder.terminate_at <= ladder.kill_at < ttl_s


@unhurried
@given(st.floats(0, 1e6), st.floats(16, 600))
def test_every_attempt_is_told_before_half_and_killed_before_all_of_the_lease_is_over(
    sent: float, ttl_s: float
) -> None:
    times = StopTimes(ttl_s=ttl_s)
    check_times(times)
    ladder = fence(renewal_sent_at=sent, times=times)
    assert ladder.tell_at == pytest.approx(sent + ttl_s / 2)
    assert ladder.kill_at == pytest.approx(sent + ttl_s - 5)


def test_a_loop_that_stood_still_for_more_than_half_the_lease_is_wedged() -> None:
    assert is_wedged(loop_turned_at=100.0, now=114.9, times=StopTimes()) is False
    assert is_wedged(loop_turned_at=100.0, now=115.1, times=StopTimes()) is True
    assert is_wedged(loop_turned_at=100.0, now=103.1, times=StopTimes(ttl_s=6, fence_margin_s=1)) is True
