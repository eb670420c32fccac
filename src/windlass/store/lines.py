"""Where the memory store keeps queued tasks, so that a claim looks at none but those it may start.

Holds numbers and their order, never tasks.
"""

from __future__ import annotations

from heapq import heappop, heappush

from windlass.core.state import State
from windlass.core.task import Task
from windlass.store.fairness import Urgency
from windlass.store.instants import to_micros

Lane = tuple[str, str, bool]
"""Queue, kind, and whether the task must run solo."""


class Lines:
    """Ready tasks by lane and priority, and tasks that only wait for their time.

    A heap's entry counts only while the dictionary beside it says the same: taking a task out of the middle is
    forgetting it there, and its entry is dropped when it comes up.
    """

    def __init__(self) -> None:
        self._heaps: dict[Lane, dict[int, list[Urgency]]] = {}
        self._ready: dict[int, tuple[Lane, Urgency]] = {}
        self._counts: dict[Lane, int] = {}
        self._by_time: list[tuple[int, int]] = []
        self._scheduled: dict[int, tuple[int, Lane, Urgency]] = {}

    def put(self, task: Task, now: int) -> None:
        """Bring the place of `task` up to date with its state; `now` in microseconds."""
        self._leave(task.number)
        self._scheduled.pop(task.number, None)
        if task.state is not State.QUEUED or task.held:
            return
        run_at = to_micros(task.run_at)
        lane = (task.queue, task.kind, task.solo)
        urgency = (-task.priority, run_at, task.number)
        if run_at <= now:
            self._make_ready(lane, urgency)
        else:
            self._scheduled[task.number] = (run_at, lane, urgency)
            heappush(self._by_time, (run_at, task.number))

    def promote(self, now: int, *, limit: int) -> None:
        """Make ready at most `limit` of the tasks that are due at `now`, the earliest first."""
        for _ in range(limit):
            due_at = self.next_due_at()
            if due_at is None or due_at > now:
                return
            _, number = heappop(self._by_time)
            _, lane, urgency = self._scheduled.pop(number)
            self._make_ready(lane, urgency)

    def next_due_at(self) -> int | None:
        """Say when the earliest task that only waits for its time is due, in microseconds."""
        while self._by_time:
            run_at, number = self._by_time[0]
            entry = self._scheduled.get(number)
            if entry is not None and entry[0] == run_at:
                return run_at
            heappop(self._by_time)
        return None

    def is_scheduled(self, number: int) -> bool:
        """Whether a task waits for nothing but its time."""
        return number in self._scheduled

    def lanes(self) -> list[Lane]:
        """Name the lanes that hold a ready task."""
        return list(self._counts)

    def head(self, lane: Lane) -> Urgency | None:
        """Say how urgent the first ready task of `lane` is; None when there is none."""
        heaps = self._heaps.get(lane)
        while heaps:
            rank = min(heaps)
            if (first := self._first(lane, rank)) is not None:
                return first
            del heaps[rank]
        return None

    def ready_since(self, queue: str) -> int | None:
        """Say when the task of `queue` that has been ready for longest was due, in microseconds."""
        firsts = (self._first(lane, rank) for lane in self._counts if lane[0] == queue for rank in self._heaps[lane])
        return min((first[1] for first in firsts if first is not None), default=None)

    def take(self, lane: Lane) -> int:
        """Take the first ready task of `lane` out; only after `head` has seen it."""
        heaps = self._heaps[lane]
        _, _, number = heappop(heaps[min(heaps)])
        self._leave(number)
        return number

    def _make_ready(self, lane: Lane, urgency: Urgency) -> None:
        self._ready[urgency[2]] = (lane, urgency)
        self._counts[lane] = self._counts.get(lane, 0) + 1
        heappush(self._heaps.setdefault(lane, {}).setdefault(urgency[0], []), urgency)

    def _first(self, lane: Lane, rank: int) -> Urgency | None:
        """Say how urgent the first ready task of `lane` with a priority of minus `rank` is; None when there is none."""
        heap = self._heaps[lane][rank]
        while heap:
            if self._ready.get(heap[0][2]) == (lane, heap[0]):
                return heap[0]
            heappop(heap)
        return None

    def _leave(self, number: int) -> None:
        """Take a task out of its lane, if it is ready; a lane that holds none is forgotten."""
        entry = self._ready.pop(number, None)
        if entry is None:
            return
        lane, _ = entry
        self._counts[lane] -= 1
        if not self._counts[lane]:
            del self._counts[lane], self._heaps[lane]
