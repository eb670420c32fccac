"""Where a lane's live tasks begin: a hint that lets a claim step over what was claimed before, never the truth.

While another transaction holds the horizon, what was claimed stays in the index, and a claim would walk all of it. So
floors are used after a look that was slow, and only for a while, since other servers may put tasks before them. Most of
what they put there is hardly older than what was just claimed: so a floor is where claims had come to some time ago.
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
LAG_S: Final = 1.0
"""A floor is where claims had come to so long ago, or up to twice as long: what others commit late stands behind it."""
USED_S: Final = 5.0
"""LIMIT: a task that another server puts before a floor is not overlooked for longer."""
AGAIN_S: Final = 1.0
"""LIMIT: nor for longer than this where slots are free for it."""
SHARE: Final = 0.01
"""Both are stretched so far that slow looks without floors take no more than this share of the time."""


class Floors:
    """Floors by the numbers of lanes. Concurrency: the turn's alone."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._floors: dict[int, Position] = {}
        self._next: dict[int, Position] = {}
        self._reached: dict[int, Position] = {}
        self._slow_looks = Counter[int]()
        self._used_until = self._may_look_again_at = self._moved_at = -1e9

    def after(self, lane: int) -> Position:
        """Say after which position to look."""
        now = self._monotonic()
        if now - self._moved_at >= LAG_S:
            self._floors, self._next, self._moved_at = self._next, self._reached.copy(), now
        return self._floors.get(lane, LOWEST) if now < self._used_until else LOWEST

    @property
    def are_used(self) -> bool:
        """Whether looks go behind floors now."""
        return self._monotonic() < self._used_until

    def judge(self, line: int, began: float, *, rows: int) -> None:
        """Use floors for a while if looks at a line without them, of which this one began then and gave so many rows,
        are slow.
        """
        now = self._monotonic()
        if now < self._used_until:
            return
        took_s = now - began
        is_slow = took_s > SLOW_S + rows * ROW_S
        self._slow_looks[line] = self._slow_looks[line] + 1 if is_slow else 0
        if self._slow_looks[line] >= SLOW_LOOKS:
            self._used_until = now + max(USED_S, took_s / SHARE)
            self._may_look_again_at = now + max(AGAIN_S, took_s / SHARE)

    def put(self, lane: int, position: Position) -> None:
        """Note that what stands in a lane up to `position` is claimed."""
        self._reached[lane] = position

    def lower(self, lane: int, position: Position) -> None:
        """Note that a task waits at `position`."""
        for floors in (self._floors, self._next, self._reached):
            if position <= floors.get(lane, LOWEST):
                del floors[lane]

    def look_again(self) -> bool:
        """Whether one that found too little shall look once more, now without floors."""
        now = self._monotonic()
        if now >= self._used_until or not self._floors or now < self._may_look_again_at:
            return False
        self._used_until, self._may_look_again_at = now, now + AGAIN_S
        return True

    def began(self) -> float:
        """Read the clock at the beginning of a look."""
        return self._monotonic()
