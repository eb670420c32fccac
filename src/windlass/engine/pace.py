"""How often things have happened lately, from the events of each turn. Keeps counts, never events; reads no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from windlass.contracts.engine_api import Rates
from windlass.core.state import EventName
from windlass.core.task import Event
from windlass.engine.ring import LONGEST_S, Ring

_WINDOWS_S: Final = (60, LONGEST_S)


class Pace:
    """Counts of events by name over the last five minutes, since `now_s` at the earliest.

    Units: instants are seconds of the monotonic clock.
    """

    def __init__(self, now_s: float) -> None:
        self._ring: Ring[EventName] = Ring(now_s)

    def take(self, events: Iterable[Event], *, now_s: float) -> None:
        """Count the events of a turn."""
        self._ring.take((event.name for event in events), now_s=now_s)

    def rates(self, *, now_s: float) -> Sequence[Rates]:
        """Say how often a second what happened, over each window, or since the beginning where that is shorter."""
        return [self._over(window_s, now_s) for window_s in _WINDOWS_S]

    def _over(self, window_s: int, now_s: float) -> Rates:
        counts, covered_s = self._ring.over(window_s, now_s=now_s)
        return Rates(
            window_s=float(window_s),
            submitted=counts[EventName.SUBMITTED] / covered_s,
            started=counts[EventName.STARTED] / covered_s,
            succeeded=counts[EventName.SUCCEEDED] / covered_s,
            failed=counts[EventName.FAILED] / covered_s,
            cancelled=counts[EventName.CANCELLED] / covered_s,
        )
