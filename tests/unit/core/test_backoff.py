"""How long to wait before the next attempt."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy, backoff_s
from windlass.core.limits import MAX_ATTEMPTS

from .making import any_number, policies, rolls, unhurried

failures = st.integers(1, 10_000)


def test_the_default_waits_up_to_5_15_45_135_and_300_seconds() -> None:
    longest = [backoff_s(DEFAULT_RETRY, failures=n, roll=1.0) for n in range(1, 8)]
    assert longest == [5, 15, 45, 135, 300, 300, 300]
    shortest = [backoff_s(DEFAULT_RETRY, failures=n, roll=0.0) for n in range(1, 8)]
    assert shortest == [2.5, 7.5, 22.5, 67.5, 150, 150, 150]


def test_the_default_spends_at_most_200_seconds_waiting_in_five_attempts() -> None:
    waits = range(1, MAX_ATTEMPTS)
    assert sum(backoff_s(DEFAULT_RETRY, failures=n, roll=1.0) for n in waits) == 200
    assert sum(backoff_s(DEFAULT_RETRY, failures=n, roll=0.5) for n in waits) == 150


def test_without_jitter_the_roll_does_not_matter() -> None:
    policy = RetryPolicy(jitter=0.0)
    assert {backoff_s(policy, failures=2, roll=roll) for roll in (0.0, 0.3, 0.999)} == {15.0}


def test_with_full_jitter_the_roll_is_everything() -> None:
    policy = RetryPolicy(jitter=1.0)
    assert [backoff_s(policy, failures=2, roll=roll) for roll in (0.0, 0.5, 1.0)] == [0.0, 7.5, 15.0]


def test_a_cap_below_the_base_caps_the_first_delay_too() -> None:
    assert backoff_s(RetryPolicy(base_s=60, cap_s=10, jitter=0), failures=1, roll=0) == 10


@pytest.mark.parametrize("factor", [3, 3.0, 100.0, 1e300], ids=repr)
@pytest.mark.parametrize("count", [1_000, 100_000])
def test_a_huge_number_of_failures_waits_for_the_cap(factor: float, count: int) -> None:
    assert backoff_s(RetryPolicy(factor=factor, jitter=0), failures=count, roll=0) == 300


@pytest.mark.parametrize("count", [1, 10, 646, 647, 1_000, 100_000])
def test_a_policy_that_does_not_wait_never_does(count: int) -> None:
    assert backoff_s(RetryPolicy(base_s=0), failures=count, roll=0.9) == 0


def test_a_server_may_raise_the_delay_to_an_hour_and_never_lower_it() -> None:
    def delay(retry_after_s: float) -> float:
        return backoff_s(DEFAULT_RETRY, failures=5, roll=1.0, retry_after_s=retry_after_s)

    assert [delay(hint) for hint in (-math.inf, -1, 0, 299, 301, 3_600, 3_601, math.inf)] == [
        *(300, 300, 300, 300, 301, 3_600, 3_600, 3_600)
    ]
    assert delay(math.nan) == 300


@unhurried
@given(policies, failures, rolls)
def test_the_delay_is_a_rolled_share_of_the_step(policy: RetryPolicy, count: int, roll: float) -> None:
    exponent = count - 1
    growth = policy.factor**exponent if exponent * math.log(policy.factor) < 600 else math.inf
    step = 0.0 if policy.base_s == 0 else min(policy.cap_s, policy.base_s * growth)
    delay = backoff_s(policy, failures=count, roll=roll)
    assert delay == pytest.approx(step * (1 - policy.jitter) + step * policy.jitter * roll)
    assert delay <= policy.cap_s * (1 + 1e-9)


@unhurried
@given(policies, failures, rolls)
def test_a_later_failure_never_waits_less(policy: RetryPolicy, count: int, roll: float) -> None:
    delay = backoff_s(policy, failures=count, roll=roll)
    assert backoff_s(policy, failures=count + 1, roll=roll) >= delay


@unhurried
@given(policies, failures, rolls, any_number)
def test_a_hint_is_a_floor_with_a_ceiling(policy: RetryPolicy, count: int, roll: float, hint: float) -> None:
    plain = backoff_s(policy, failures=count, roll=roll)
    hinted = backoff_s(policy, failures=count, roll=roll, retry_after_s=hint)
    assert plain <= hinted <= max(plain, 3_600)
