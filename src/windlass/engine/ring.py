"""How often things of some name have happened lately. Keeps counts for a few minutes; reads no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

_SPAN_S: Final = 5
"""One count covers so long; a window is as exact as that."""
LONGEST_S: Final = 300
"""No window is longer."""

NameT = TypeVar("NameT", bound=Hashable)


class Ring(Generic[NameT]):
    """Counts by name over the last five minutes, since `now_s` at the earliest.

    Units: instants are seconds of the monotonic clock.
    """

    def __init__(self, now_s: float) -> None:
        self._begun_s = now_s
        self._spans: dict[int, Counter[NameT]] = {}

    def take(self, names: Iterable[NameT], *, now_s: float) -> None:
        """Count what has just happened."""
        counted = Counter(names)
        if not counted:
            return
        span = int(now_s // _SPAN_S)
        if span not in self._spans:
            oldest = span - LONGEST_S // _SPAN_S
            self._spans = {at: counts for at, counts in self._spans.items() if at > oldest}
            self._spans[span] = Counter()
        self._spans[span].update(counted)

    def over(self, window_s: int, *, now_s: float) -> tuple[Counter[NameT], float]:
        """Give the counts of a window, or since the beginning where that is shorter, and how long they cover."""
        present = int(now_s // _SPAN_S)
        first = present - window_s // _SPAN_S + 1
        counts = sum((seen for span, seen in self._spans.items() if span >= first), Counter[NameT]())
        # The present span has only begun: what is counted reaches back to the beginning of the first.
        return counts, max(1.0, min(now_s - first * _SPAN_S, now_s - self._begun_s))
