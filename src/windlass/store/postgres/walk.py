"""Which lanes a claim looks at: those that have work, whatever number of others there are.

Finds lanes, not tasks, and locks nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from windlass.store.postgres import claim_statements as sql
from windlass.store.postgres.lanes import Lane
from windlass.store.postgres.ledger import Ledger
from windlass.store.postgres.ready import Rotation

FEW_LANES: Final = 32
"""So few are looked at without being looked for: it is one statement less."""
LANES_AT_ONCE: Final = 256
"""LIMIT: of the lanes one look goes through; with more of them, looks begin where the last one ended."""
LOOKS: Final = 32
"""LIMIT: of the looks of a claim that has started something; the next one, which will come when that ends, goes on."""
_LAST: Final = 2**31 - 1
_FOUND: Final = -2
"""Stands for the search for lanes where it is judged how long a look takes."""


class Walk:
    """One claim's way through the lanes, part by part, from where the last claim ended.

    While floors are used, a search would step on all that they lead past: then known lanes are looked at, those with
    work lately. A task that another server puts into one of the others is found when floors are used no more, like one
    that is put before a floor.
    """

    def __init__(self, ledger: Ledger, rotation: Rotation, kinds: Collection[str]) -> None:
        self._ledger = ledger
        self._rotation = rotation
        self._kinds = kinds
        self._looks = 0
        self._known: Sequence[Lane] | None = None
        self._spans = deque[tuple[int, int]]()
        """What is still to be searched: lanes above one, up to another."""
        lanes = ledger.lanes
        if lanes.count_of_kinds(kinds) <= FEW_LANES:
            self._known = lanes.of_kinds(kinds)
        elif ledger.floors.are_used:
            self._known = self._in_turn(lanes.lately_of_kinds(kinds))
        else:
            self._spans.extend([(rotation.lane, _LAST), (0, rotation.lane)])

    async def next_part(self, *, has_claimed: bool) -> Sequence[Lane]:
        """Give the lanes of the next look; none when there are no more, or enough for a claim that has found some."""
        while self._looks < LOOKS or not has_claimed:
            self._looks += 1
            is_first = self._looks == 1
            if self._known is not None:
                part, self._known = self._known[:LANES_AT_ONCE], self._known[LANES_AT_ONCE:]
                self._note(part, is_all=is_first and not self._known)
                return part
            numbers = await self._search()
            if not numbers:
                break
            lanes = self._ledger.lanes
            await lanes.meet(self._ledger.connection, numbers)
            found = [lanes.lane(number) for number in numbers]
            self._note(found, is_all=is_first and not self._spans)
            if part := [lane for lane in found if lane.kind in self._kinds]:
                lanes.seen(lane.number for lane in part)
                return part
        return []

    async def _search(self) -> Sequence[int]:
        """Find the next lanes with ready tasks, as many as one look goes through."""
        floors = self._ledger.floors
        found: list[int] = []
        while self._spans and len(found) < LANES_AT_ONCE:
            above, upto = self._spans.popleft()
            if above == upto:
                continue
            left = LANES_AT_ONCE - len(found)
            began = floors.began()
            rows = await self._ledger.connection.fetch(sql.READY_LANES, above, upto, left)
            floors.judge(_FOUND, began, rows=len(rows))
            found += [lane for (lane,) in rows]
            if len(rows) == left:
                self._spans.appendleft((found[-1], upto))
        return found

    def _in_turn(self, lanes: Sequence[Lane]) -> Sequence[Lane]:
        last = self._rotation.lane
        return sorted(lanes, key=lambda lane: (lane.number <= last, lane.number))

    def _note(self, part: Sequence[Lane], *, is_all: bool) -> None:
        """Note where the next claim shall begin; it matters only if one look does not go through all lanes."""
        if part:
            self._rotation.lane = 0 if is_all else part[-1].number
