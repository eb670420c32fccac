"""How often things have happened lately, from the events of each turn. Keeps counts, never events; reads no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from windlass.contracts.engine_api import Rates
from windlass.core.state import EventName
from windlass.core.task import Event

_SPAN_S: Final = 5
"""One count covers so long; a window is as exact as that."""
_WINDOWS_S: Final = (60, 300)


class Pace:
    """Counts of events by name over the last five minutes, since `now_s` at the earliest.

    Units: instants are seconds of the monotonic clock.
    """

    def __init__(self, now_s: float) -> None:
        self._begun_s = now_s
        self._spans: dict[int, Counter[EventName]] = {}

    def take(self, events: Iterable[Event], *, now_s: float) -> None:
        """Count the events of a turn."""
        names = Counter(event.name for event in events)
        if not names:
            return
        span = int(now_s // _SPAN_S)
        if span not in self._spans:
            oldest = span - max(_WINDOWS_S) // _SPAN_S
            self._spans = {at: counts for at, counts in self._spans.items() if at > oldest}
            self._spans[span] = Counter()
        self._spans[span].update(names)

    def rates(self, *, now_s: float) -> Sequence[Rates]:
        """Say how often a second what happened, over each window, or since the beginning where that is shorter."""
        return [self._over(window_s, now_s) for window_s in _WINDOWS_S]

    def _over(self, window_s: int, now_s: float) -> Rates:
        present = int(now_s // _SPAN_S)
        first = present - window_s // _SPAN_S + 1
        counts = sum((seen for span, seen in self._spans.items() if span >= first), Counter[EventName]())
        # The present span has only begun: what is counted reaches back to the beginning of the first.
        covered_s = max(1.0, min(now_s - first * _SPAN_S, now_s - self._begun_s))
        return Rates(
            window_s=float(window_s),
            submitted=counts[EventName.SUBMITTED] / covered_s,
            started=counts[EventName.STARTED] / covered_s,
            succeeded=counts[EventName.SUCCEEDED] / covered_s,
            failed=counts[EventName.FAILED] / covered_s,
            cancelled=counts[EventName.CANCELLED] / covered_s,
        )
