"""One timer, set to the instant that matters next. Knows no tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from windlass.contracts.clock import Clock

_TICK_S = 0.001
"""A loop's timer may be early by as much; whoever is rung too early sets the alarm again."""


class Alarm:
    """Rings once, at its instant on the monotonic clock.

    Concurrency: of one event loop.
    """

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self.at: float | None = None

    def set(self, at: float) -> None:
        """Ring at `at`, whatever was set before."""
        self.clear()
        self.at = at
        pause_s = max(_TICK_S, at - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._come_due, at)

    def set_by(self, at: float) -> None:
        """Ring at `at` at the latest."""
        if self.at is None or at < self.at:
            self.set(at)

    def clear(self) -> None:
        """Do not ring."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.at = None

    def _come_due(self, at: float) -> None:
        # RACE: what has arrived while this process stood still happened before, and is heard before: on every loop two
        # turns later whatever was there to be read has been read.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._go_off, at)

    def _go_off(self, at: float) -> None:
        if self.at == at:  # RACE: cleared, or set to another instant, since it came due
            self.clear()
            self._ring()
