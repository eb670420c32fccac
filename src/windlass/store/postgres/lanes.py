"""The lanes of the store as the writing connection knows them, so that a turn need not look each of its own up.

Lanes are only ever added, one turn at a time and under a lock, so that who knows all up to one learns the rest by
asking for those above it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from windlass.store.postgres import statements as sql
from windlass.store.postgres.driver import Connection, Record, Values
from windlass.store.postgres.groups import columns

LATELY: Final = 1_024
"""LIMIT: of the lanes that are remembered to have had work lately."""

LaneKey = tuple[str, str, int, bool]
"""What makes a lane: queue, kind, priority, and whether its tasks must run alone."""


class Lane(msgspec.Struct, frozen=True, gc=False):
    """A lane and its number."""

    number: int
    queue: str
    kind: str
    priority: int
    solo: bool

    @property
    def key(self) -> LaneKey:
        """What makes it."""
        return (self.queue, self.kind, self.priority, self.solo)


class Lanes:
    """Lanes by what makes them, by number and by kind. Concurrency: the turn's alone."""

    def __init__(self) -> None:
        self._by_key: dict[LaneKey, Lane] = {}
        self._by_number: dict[int, Lane] = {}
        self._by_kind: dict[str, list[Lane]] = {}
        self._lately: dict[int, None] = {}
        self.last = 0
        """The highest number that is known."""

    def learn(self, rows: Iterable[Record | Values]) -> None:
        """Take in lanes that are in the store: number, queue, kind, priority, solo."""
        for row in rows:
            lane = Lane(*row)
            if lane.number in self._by_number:
                continue
            self._by_key[lane.key] = lane
            self._by_number[lane.number] = lane
            self._by_kind.setdefault(lane.kind, []).append(lane)
            self.last = max(self.last, lane.number)
            self.seen([lane.number])

    async def ensure(self, connection: Connection, keys: Iterable[LaneKey]) -> None:
        """Make the lanes of `keys` that there are not yet."""
        missing = sorted({key for key in keys if key not in self._by_key})
        if not missing:
            return
        await connection.execute(sql.LOCK_LANES)
        self.learn(await connection.fetch(sql.LANES, self.last))
        missing = [key for key in missing if key not in self._by_key]
        if missing:
            self.learn(await connection.fetch(sql.INSERT_LANES, *columns(missing)))

    async def meet(self, connection: Connection, numbers: Iterable[int]) -> None:
        """Know the lanes of tasks that were found, also those that another server has made since the turn began."""
        if any(number > self.last for number in numbers):
            self.learn(await connection.fetch(sql.LANES, self.last))

    def number(self, key: LaneKey) -> int:
        """Give the number of a lane that is known."""
        return self._by_key[key].number

    def lane(self, number: int) -> Lane:
        """Give a lane by its number."""
        return self._by_number[number]

    def seen(self, numbers: Iterable[int]) -> None:
        """Remember that these have work, or had it just now."""
        for number in numbers:
            self._lately.pop(number, None)
            self._lately[number] = None
        while len(self._lately) > LATELY:
            del self._lately[next(iter(self._lately))]

    def lately_of_kinds(self, kinds: Collection[str]) -> Sequence[Lane]:
        """Give the lanes of some kinds that had work lately."""
        return [lane for number in self._lately if (lane := self._by_number.get(number)) and lane.kind in kinds]

    def count_of_kinds(self, kinds: Iterable[str]) -> int:
        """Count the lanes of some kinds, with work or without."""
        return sum(len(self._by_kind.get(kind, ())) for kind in kinds)

    def of_kinds(self, kinds: Iterable[str]) -> Sequence[Lane]:
        """Give the lanes of some kinds, in one order at all times."""
        return sorted((lane for kind in kinds for lane in self._by_kind.get(kind, ())), key=attrgetter("number"))
