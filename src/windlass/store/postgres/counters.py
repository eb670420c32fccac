"""How many tasks of each lane are in each state, and their sizes: gathered over a turn, inserted once at its end.

Counts no rows: a counter changes by what a write has done, in the transaction of that write.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from windlass.store.postgres.driver import Values


class Counters:
    """What one turn adds to and takes from the counters."""

    def __init__(self) -> None:
        self._changes: defaultdict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
        """Tasks and bytes by lane and state."""

    def add(self, lane: int, state: str, size: int) -> None:
        """Count one task more, of `size` bytes."""
        change = self._changes[lane, state]
        change[0] += 1
        change[1] += size

    def drop(self, lane: int, state: str, size: int) -> None:
        """Count one task less."""
        change = self._changes[lane, state]
        change[0] -= 1
        change[1] -= size

    def changes(self, state: str) -> Iterator[tuple[int, int]]:
        """Say for each lane how many tasks more are in `state` than the store has counted."""
        return ((lane, tasks) for (lane, counted), (tasks, _) in self._changes.items() if counted == state)

    def rows(self) -> Sequence[Values]:
        """Lay out what has been gathered: lane, state, tasks, bytes."""
        return [
            (lane, state, tasks, size_bytes)
            for (lane, state), (tasks, size_bytes) in self._changes.items()
            if tasks or size_bytes
        ]
