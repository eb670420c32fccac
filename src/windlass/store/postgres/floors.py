"""Where a lane's live tasks begin: a hint that lets a claim step over what was claimed before, never the truth.

While another transaction holds the horizon, what was claimed stays in the index, and a claim would walk all of it. So
floors are used after a look that was slow, and only for a while, since other servers may put tasks before them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

Position = tuple[datetime, int]
"""A place in a lane: run_at and number."""

LOWEST: Final[Position] = (datetime(1, 1, 1, tzinfo=UTC), 0)
"""Before every task."""
DUE: Final = 0
"""Stands for the line of tasks that wait for their time; no lane has this number."""
ANY_LANE: Final = -1
"""Stands for all lanes where it is judged how long a look takes."""

SLOW_S: Final = 0.005
ROW_S: Final = 0.000_05
"""A look that takes longer than this, and this for each row it gives, walks over something else."""
SLOW_LOOKS: Final = 2
"""That is so when it happens so often in a row: a first look is planned, and any may have to wait for a processor."""
USED_S: Final = 5.0
"""LIMIT: a task that another server puts before a floor is not overlooked for longer."""
AGAIN_S: Final = 1.0
"""LIMIT: nor for longer than this where slots are free for it."""


class Floors:
    """Floors by the numbers of lanes. Concurrency: the turn's alone."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._floors: dict[int, Position] = {}
        self._slow_looks = Counter[int]()
        self._used_until = self._looked_again_at = -1e9

    def after(self, lane: int) -> Position:
        """Say after which position to look."""
        return self._floors.get(lane, LOWEST) if self._monotonic() < self._used_until else LOWEST

    def judge(self, line: int, began: float, *, rows: int) -> None:
        """Use floors for a while if looks at a line without them, of which this one began then and gave so many rows,
        are slow.
        """
        now = self._monotonic()
        if now < self._used_until:
            return
        is_slow = now - began > SLOW_S + rows * ROW_S
        self._slow_looks[line] = self._slow_looks[line] + 1 if is_slow else 0
        if self._slow_looks[line] >= SLOW_LOOKS:
            self._used_until = now + USED_S

    def put(self, lane: int, position: Position) -> None:
        """Note that what stands in a lane up to `position` is claimed."""
        self._floors[lane] = position

    def lower(self, lane: int, position: Position) -> None:
        """Note that a task waits at `position`."""
        if position <= self._floors.get(lane, LOWEST):
            del self._floors[lane]

    def look_again(self) -> bool:
        """Whether one that found too little shall look once more, now without floors."""
        now = self._monotonic()
        if now >= self._used_until or not self._floors or now - self._looked_again_at < AGAIN_S:
            return False
        self._used_until, self._looked_again_at = now, now
        return True

    def began(self) -> float:
        """Read the clock at the beginning of a look."""
        return self._monotonic()
