"""Claiming what free slots can take, on a transaction that is open.

Walks lanes, never tasks, and locks hardly more of them than can start: what waits behind the first ones, or for another
time or worker, or in a queue that has no room, is not looked at. What another turn has locked is left to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from windlass.contracts.tasks import Claimed, Wanted
from windlass.core.queue import slots_left
from windlass.core.state import State
from windlass.store.fairness import Pick, pick
from windlass.store.postgres import claim_statements as sql
from windlass.store.postgres.floors import ANY_LANE, Position
from windlass.store.postgres.groups import columns
from windlass.store.postgres.lanes import Lane
from windlass.store.postgres.ledger import Ledger
from windlass.store.postgres.ready import Dry, PostgresLane, Ready, Rotation
from windlass.store.postgres.start import Starter
from windlass.store.postgres.walk import Walk

_RUNNING: Final = State.RUNNING

_Pools = Mapping[str, tuple[str, str]]


class Claimer:
    """Claims for one turn, after its writes."""

    def __init__(self, ledger: Ledger, rotation: Rotation, starter: Starter) -> None:
        self._ledger = ledger
        self._connection = ledger.connection
        self._rotation = rotation
        self._starter = starter

    async def claim(self, wanted: Wanted) -> Sequence[Claimed]:
        """Start what `wanted` has room for, looking once more without floors where that was too little."""
        claimed: list[Claimed] = []
        free = Counter({pool: slots for pool, slots in wanted.slots.items() if slots > 0})
        while +free:
            found = await self._claim_of_all(free, wanted.pools)
            claimed += found
            free -= Counter(start.pool for start in found)
            if not +free or not self._ledger.floors.look_again():
                break
        return claimed

    async def _claim_of_all(self, free: Mapping[str, int], pools: _Pools) -> list[Claimed]:
        """Go through the lanes that fill a free slot, from where the last claim ended, until all slots are filled."""
        left = Counter(free)
        claimed: list[Claimed] = []
        rooms: dict[str, int] = {}
        kinds = {kind for kind, ways in pools.items() if any(left[pool] for pool in ways)}
        walk = Walk(self._ledger, self._rotation, kinds)
        while +left and (part := await walk.next_part(has_claimed=bool(claimed))):
            fitting = [lane for lane in part if left[pools[lane.kind][lane.solo]] > 0]
            await self._find_rooms(fitting, rooms)
            found = await self._claim_of([lane for lane in fitting if rooms.get(lane.queue, 1) > 0], pools, left, rooms)
            claimed += found
            left -= Counter(start.pool for start in found)
            for start in found:
                if start.task.queue in rooms:
                    rooms[start.task.queue] -= 1
        return claimed

    async def _find_rooms(self, lanes: Sequence[Lane], rooms: dict[str, int]) -> None:
        """Put into `rooms` how many tasks those queues may start in this turn that do not start as many as they like.

        Locked are those alone that have work and, as far as can be seen before, room for it.
        """
        known = self._ledger.queues.known
        named = {lane.queue: queue for lane in lanes if (queue := known.get(lane.queue)) is not None}
        unsure = {name: queue for name, queue in named.items() if not rooms.get(name)}
        rooms.update((name, 0) for name, queue in unsure.items() if queue.is_paused or queue.concurrency is not None)
        bounded = {name: queue.concurrency for name, queue in unsure.items() if not queue.is_paused}
        asked = [
            (
                lane.queue,
                limit - self._ledger.occupancy.change(lane.queue, _RUNNING),
                lane.number,
                *self._ledger.floors.after(lane.number),
            )
            for lane in lanes
            if (limit := bounded.get(lane.queue)) is not None
        ]
        if not asked:
            return
        names = [name for (name,) in await self._connection.fetch(sql.ROOMY_QUEUES, *columns(asked))]
        locked: Collection[str] = await self._ledger.queues.lock_for_claim(names) if names else ()
        await self._ledger.occupancy.load(locked)
        for name in locked:
            running = self._ledger.occupancy.count(name, _RUNNING)
            left = slots_left(known[name], running=running)
            if left is None:
                del rooms[name]
            else:
                rooms[name] = left

    # ── one look ───────────────────────────────────────────────────

    async def _claim_of(
        self,
        part: Sequence[Lane],
        pools: _Pools,
        left: Mapping[str, int],
        rooms: Mapping[str, int],
    ) -> Sequence[Claimed]:
        floors = self._ledger.floors
        lanes: list[PostgresLane] = []
        for lane in part:
            pool = pools[lane.kind][lane.solo]
            slots = left.get(pool, 0)
            most = min(slots, rooms.get(lane.queue, slots))
            lanes.append(PostgresLane(lane, pool, after=floors.after(lane.number), most=most))
        picks = await self._pick(lanes, left, rooms)
        for lane in lanes:
            last, first_left = lane.floor()
            if last is not None:
                floors.put(lane.lane.number, last)
            elif first_left is not None:
                floors.lower(lane.lane.number, first_left)
        if not picks:
            return []
        self._rotation.served = picks[-1].queue
        return await self._starter.start(picks)

    async def _pick(
        self, lanes: Sequence[PostgresLane], left: Mapping[str, int], rooms: Mapping[str, int]
    ) -> Sequence[Pick[Ready]]:
        """Pick by fairness, reading lanes on and picking anew for as long as one that matters has run dry."""
        while True:
            for lane in lanes:
                lane.rewind()
            try:
                return list(pick(lanes, left, rooms=rooms, served=self._rotation.served))
            except Dry:
                await self._read_on([lane for lane in lanes if lane.is_dry], lanes, left)

    async def _read_on(
        self, dry: Sequence[PostgresLane], lanes: Sequence[PostgresLane], left: Mapping[str, int]
    ) -> None:
        """Lock more of the lanes that are dry: of each its part of the slots that nothing is locked for yet."""
        locked, of_pool = Counter[str](), Counter[str]()
        for lane in lanes:
            locked[lane.pool] += lane.locked
        for lane in dry:
            of_pool[lane.pool] += 1
        asked = [
            (
                place,
                lane.lane.number,
                lane.ask(-(-(left[lane.pool] - locked[lane.pool]) // of_pool[lane.pool])),
                *lane.after,
            )
            for place, lane in enumerate(dry)
        ]
        floors = self._ledger.floors
        began = floors.began()
        rows = await self._connection.fetch(sql.READY_TASKS, *columns(asked))
        floors.judge(ANY_LANE, began, rows=len(rows))
        positions: defaultdict[int, list[Position]] = defaultdict(list)
        for place, run_at, number in rows:
            positions[place].append((run_at, number))
        for place, lane in enumerate(dry):
            lane.fill(positions[place])
