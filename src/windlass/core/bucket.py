"""A token bucket: how often something may happen, in bursts and in the long run. Pure; time is handed in."""

from __future__ import annotations

import msgspec


class Rate(msgspec.Struct, frozen=True):
    """`burst` at once, and `per_s` in the long run."""

    burst: int
    per_s: float


class Bucket(msgspec.Struct, frozen=True):
    """What is left at `at_s`, on a monotonic clock in seconds."""

    tokens: float
    at_s: float

    @classmethod
    def full(cls, rate: Rate, *, now_s: float) -> Bucket:
        """Begin with a full bucket."""
        return cls(float(rate.burst), now_s)

    def take(self, rate: Rate, *, now_s: float) -> tuple[Bucket, float]:
        """Take one token; give what is left, and 0, or in how many seconds there will be one.

        >>> rate = Rate(burst=1, per_s=0.5)
        >>> bucket, wait_s = Bucket.full(rate, now_s=10.0).take(rate, now_s=10.0)
        >>> wait_s, bucket.take(rate, now_s=11.0)[1], bucket.take(rate, now_s=12.0)[1]
        (0.0, 1.0, 0.0)
        """
        # A clock that steps back gives nothing.
        tokens = min(float(rate.burst), self.tokens + max(0.0, now_s - self.at_s) * rate.per_s)
        if tokens >= 1.0:
            return Bucket(tokens - 1.0, now_s), 0.0
        return Bucket(tokens, now_s), (1.0 - tokens) / rate.per_s
