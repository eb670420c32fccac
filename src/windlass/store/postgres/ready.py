"""The ready tasks of one lane as a claim sees them, and whose turn it is between claims. Runs no SQL."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import msgspec

from windlass.store.fairness import Urgency
from windlass.store.instants import to_micros
from windlass.store.postgres.floors import Position
from windlass.store.postgres.lanes import Lane


class Rotation:
    """Whose turn it is, between claims: after which queue, and after which lane."""

    def __init__(self) -> None:
        self.served: str | None = None
        self.lane = 0

    def copy(self) -> Rotation:
        """Give one for a turn to change, which counts when that is committed."""
        return copy(self)


class Ready(msgspec.Struct, frozen=True, gc=False):
    """A ready task that this turn has locked."""

    number: int
    position: Position
    lane: Lane


class Dry(Exception):
    """A lane must be read on before it can be said which task is next."""


class PostgresLane:
    """One lane as a claim sees it: what of it is locked, and whether there may be more."""

    def __init__(self, lane: Lane, pool: str, *, after: Position, most: int) -> None:
        self.lane = lane
        self.queue = lane.queue
        self.pool = pool
        self.after = after
        self.share = 0
        self._most = most
        self._rows: list[Ready] = []
        self._taken = 0
        self._has_more = most > 0

    @property
    def locked(self) -> int:
        """How many of its tasks are locked."""
        return len(self._rows)

    @property
    def is_dry(self) -> bool:
        """Whether nobody can say what is next, if anything is."""
        return self._has_more and self._taken == len(self._rows)

    def head(self) -> Urgency | None:
        """Say how urgent the first ready task is.

        Raises:
            Dry: it must be read on before.
        """
        if self._taken < len(self._rows):
            run_at, number = self._rows[self._taken].position
            return (-self.lane.priority, to_micros(run_at), number)
        if self._has_more:
            raise Dry
        return None

    def take(self) -> Ready:
        """Take the first ready task out."""
        self._taken += 1
        return self._rows[self._taken - 1]

    def rewind(self) -> None:
        """Put all that was taken back."""
        self._taken = 0

    def ask(self, share: int) -> int:
        """Say how many more to read when about `share` are hoped for: more each time, and never beyond its bound."""
        self.share = min(max(share, 2 * self.share, 1), self._most - self.locked)
        return self.share

    def fill(self, positions: Sequence[Position]) -> None:
        """Take in what was read and locked when asked for `share` more."""
        self._rows += [Ready(position[1], position, self.lane) for position in positions]
        self._has_more = len(positions) == self.share and self.locked < self._most
        if positions:
            self.after = positions[-1]

    def floor(self) -> tuple[Position | None, Position | None]:
        """Give the last position that was taken, and the first that was left."""
        last = self._rows[self._taken - 1].position if self._taken else None
        return last, self._rows[self._taken].position if self._taken < len(self._rows) else None
