"""How long to wait before the next attempt. No clock, no randomness: the roll is an argument."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from windlass.core.limits import DELAY_MAX_S, RETRY_AFTER_MAX_S

_Delay = Annotated[float, Meta(ge=0, le=DELAY_MAX_S)]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exponential backoff with jitter. Durations in seconds.

    `jitter` is the share of the delay that is rolled: 0 none, 1 anything from 0 to the whole delay.
    """

    base_s: _Delay = 5.0
    factor: Annotated[float, Meta(ge=1, le=100)] = 3.0
    cap_s: _Delay = 300.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.5


DEFAULT_RETRY = RetryPolicy()


def backoff_s(policy: RetryPolicy, *, failures: int, roll: float, retry_after_s: float | None = None) -> float:
    """Give the delay after the `failures`-th failure (from 1), `roll` uniform in [0, 1).

    A server's `retry_after_s` raises the delay, up to an hour.
    Source: x = min(cap, base * factor^(n-1)); delay uniform in [x(1-j), x].

    >>> [backoff_s(DEFAULT_RETRY, failures=n, roll=1.0) for n in (1, 2, 3, 4, 5, 5000)]
    [5.0, 15.0, 45.0, 135.0, 300.0, 300.0]
    >>> backoff_s(DEFAULT_RETRY, failures=1, roll=0.0)
    2.5
    >>> backoff_s(DEFAULT_RETRY, failures=1, roll=0.0, retry_after_s=90)
    90.0
    """
    try:
        full = min(policy.cap_s, policy.base_s * policy.factor ** max(0, failures - 1))
    except OverflowError:
        full = policy.cap_s if policy.base_s > 0 else 0.0
    delay = full * (1.0 - policy.jitter) + full * policy.jitter * roll
    if retry_after_s is not None:
        delay = max(delay, min(float(retry_after_s), RETRY_AFTER_MAX_S))
    return delay
