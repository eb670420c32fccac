"""The lanes of the store as the writing thread knows them, so that a submit need not look its own up.

Concurrency: the writing thread's alone.
"""

from __future__ import annotations

from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Connection


class Lanes:
    """Lanes by queue and kind, and back; read from the store when first needed."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._last = 0

    def load(self, connection: Connection) -> None:
        """Read the lanes, unless they are known."""
        if not self._names:
            for lane, queue, kind in connection.execute(sql.LANES):
                self._learn(lane, queue, kind)

    def forget(self) -> None:
        """Know nothing any more: a transaction that may have made lanes was undone."""
        self._numbers.clear()
        self._names.clear()
        self._last = 0

    def number(self, connection: Connection, queue: str, kind: str) -> int:
        """Find the lane of `kind` in `queue`, making it if there is none."""
        known = self._numbers.get((queue, kind))
        if known is not None:
            return known
        lane = self._last + 1
        connection.execute(sql.INSERT_LANE, (lane, queue, kind))
        self._learn(lane, queue, kind)
        return lane

    def name(self, lane: int) -> tuple[str, str]:
        """Give the queue and kind of a lane."""
        return self._names[lane]

    def _learn(self, lane: int, queue: str, kind: str) -> None:
        self._numbers[queue, kind] = lane
        self._names[lane] = (queue, kind)
        self._last = max(self._last, lane)
