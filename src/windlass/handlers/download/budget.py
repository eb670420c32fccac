"""How often one file is tried again: by class of failure, and by whether bytes still arrive.

Pure: time and chance are arguments.
"""

from __future__ import annotations

from windlass.core.backoff import RetryPolicy, backoff_s
from windlass.core.limits import KIB
from windlass.errors import WindlassError
from windlass.outbound.failure import FailureClass, TransferFailed, class_of

TRIES = 5
"""Tries in a row that bring the file no further."""
PROGRESS_BYTES = 64 * KIB
"""LIMIT: less than this beyond the furthest point so far is no progress, so that a byte a try cannot go on for ever."""
UNREACHABLE_TRIES = 3
UNREACHABLE_S = 9.0
"""A host that refuses or has no name is given up before ten seconds are over."""
BACKOFF = RetryPolicy(base_s=1.0, factor=2.0, cap_s=30.0, jitter=0.5)


class RetryBudget:
    """The tries that one file has left in this attempt of its task."""

    def __init__(self, *, stall_s: float) -> None:
        self._stall_s = stall_s
        self._furthest = 0
        self._failures = 0
        self._unreachable = 0
        self._unreachable_s = 0.0
        self._silent_s = 0.0
        self._is_restarted = False

    def next_delay_s(
        self, error: WindlassError, *, received: int, tried_s: float, silent_s: float, roll: float
    ) -> float | None:
        """Give the delay before the next try; None when there is none.

        `received` is how far the file has come, `tried_s` what the failed try took, `silent_s` how long it brought
        nothing at its end; `roll` is uniform in [0, 1).
        """
        match class_of(error):
            case FailureClass.UNREACHABLE if not received:
                return self._reach_again(tried_s)
            case FailureClass.TRANSIENT | FailureClass.UNREACHABLE:
                asked_s = error.retry_after_s if isinstance(error, TransferFailed) else None
                return self._go_on(received, tried_s, silent_s, roll, asked_s)
            case FailureClass.INTEGRITY if not self._is_restarted:
                self._is_restarted = True
                return 0.0
            case _:
                return None

    def _reach_again(self, tried_s: float) -> float | None:
        self._unreachable += 1
        delay_s = float(self._unreachable)
        self._unreachable_s += tried_s + delay_s
        # The next try is expected to take as long as this one did.
        is_over = self._unreachable >= UNREACHABLE_TRIES or self._unreachable_s + tried_s > UNREACHABLE_S
        return None if is_over else delay_s

    def _go_on(
        self, received: int, tried_s: float, silent_s: float, roll: float, asked_s: float | None
    ) -> float | None:
        if received >= self._furthest + PROGRESS_BYTES:
            self._furthest, self._failures = received, 0
        self._failures += 1
        self._silent_s = silent_s if silent_s < tried_s else self._silent_s + tried_s
        delay_s = backoff_s(BACKOFF, failures=self._failures, roll=roll, retry_after_s=asked_s)
        if self._failures >= TRIES or self._silent_s > self._stall_s:
            return None
        if asked_s is None:
            self._silent_s += delay_s  # a wait that the server asked for is not its silence
        return delay_s
