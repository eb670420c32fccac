"""Which ready tasks start next: queues take turns, within a queue the most urgent first.

Knows nothing of how a store keeps them; pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

Urgency = tuple[int, int, int]
"""How tasks of one queue are ordered, least first: (minus priority, run_at in microseconds, number)."""

CandidateT = TypeVar("CandidateT")
Candidate_co = TypeVar("Candidate_co", covariant=True)


class ReadyLane(Protocol[Candidate_co]):
    """The ready tasks of one queue that run in one pool for one kind, most urgent first."""

    @property
    def queue(self) -> str:
        """The queue they wait in."""
        ...

    @property
    def pool(self) -> str:
        """The pool they run in."""
        ...

    def head(self) -> Urgency | None:
        """Say how urgent the first one is; None when there is none left."""
        ...

    def take(self) -> Candidate_co:
        """Take the first one out. Only after `head` has seen it."""
        ...


class Pick(msgspec.Struct, Generic[CandidateT], frozen=True, gc=False):
    """A task that is to start, where, and out of which queue."""

    candidate: CandidateT
    pool: str
    queue: str


def pick(
    lanes: Iterable[ReadyLane[CandidateT]], slots: Mapping[str, int], *, rooms: Mapping[str, int], served: str | None
) -> Iterator[Pick[CandidateT]]:
    """Pick tasks until no lane has one that a free slot could take; never more per pool than `slots` says.

    `rooms` says how many of a queue may start, whatever their lanes; of one that is not in it, any number. `served` is
    the queue that started the last task before: the one after it, by name, is first now.
    """
    lanes = [lane for lane in lanes if rooms.get(lane.queue, 1) > 0]
    if len(lanes) == 1:
        free_slots = slots.get(lanes[0].pool, 0)
        yield from _pick_of_one(lanes[0], min(free_slots, rooms.get(lanes[0].queue, free_slots)))
        return
    free, left = dict(slots), dict(rooms)
    by_queue: dict[str, list[ReadyLane[CandidateT]]] = {}
    for lane in lanes:
        by_queue.setdefault(lane.queue, []).append(lane)
    line = deque(sorted(by_queue, key=lambda queue: (served is not None and queue <= served, queue)))
    while line and any(count > 0 for count in free.values()):
        queue = line.popleft()
        lane = _most_urgent(by_queue[queue], free)
        if lane is None:
            continue  # pools only fill up within a claim: what cannot start now cannot start later in it
        free[lane.pool] -= 1
        yield Pick(lane.take(), lane.pool, queue)
        if queue in left:
            left[queue] -= 1
        if left.get(queue, 1) > 0:
            line.append(queue)


def _pick_of_one(lane: ReadyLane[CandidateT], free: int) -> Iterator[Pick[CandidateT]]:
    """Pick from the only lane there is, which is the common case: there is nothing to compare."""
    pool, queue = lane.pool, lane.queue
    while free > 0 and lane.head() is not None:
        free -= 1
        yield Pick(lane.take(), pool, queue)


def _most_urgent(lanes: Iterable[ReadyLane[CandidateT]], free: Mapping[str, int]) -> ReadyLane[CandidateT] | None:
    """Find the lane whose first task is the most urgent of those that have a free slot."""
    best: ReadyLane[CandidateT] | None = None
    least: Urgency | None = None
    for lane in lanes:
        if free.get(lane.pool, 0) <= 0:
            continue
        urgency = lane.head()
        if urgency is not None and (least is None or urgency < least):
            best, least = lane, urgency
    return best
