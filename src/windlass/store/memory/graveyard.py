"""What is left of deleted tasks, and of requests that were answered. Holds no task."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import datetime
from heapq import heappop, heappush

from msgspec.structs import replace

from windlass.contracts.tasks import Applied, Refusal, Refused, Replay, TaskRef, Tombstone, WriteResult
from windlass.core.ids import TaskId
from windlass.core.task import Task


class Graveyard:
    """The tombstones."""

    def __init__(self) -> None:
        self._stones: dict[int, Tombstone] = {}
        self._numbers: dict[TaskId, int] = {}
        self._unswept: list[int] = []
        self._swept: list[tuple[datetime, int]] = []

    def bury(self, task: Task, at: datetime) -> None:
        """Leave a tombstone."""
        self._stones[task.number] = Tombstone(task.number, task.id, at, is_swept=False)
        self._numbers[task.id] = max(task.number, self._numbers.get(task.id, 0))
        insort(self._unswept, task.number)

    def find(self, ref: TaskRef) -> Tombstone | None:
        """Find a tombstone."""
        number = ref if isinstance(ref, int) else self._numbers.get(ref)
        return None if number is None else self._stones.get(number)

    def unswept(self, limit: int) -> Sequence[Tombstone]:
        """Give tombstones of tasks whose files may still be there, rising by number."""
        return [self._stones[number] for number in self._unswept[:limit]]

    def sweep(self, number: int) -> bool:
        """Note that the files of a deleted task are gone; false when there is nothing to note."""
        stone = self._stones.get(number)
        if stone is None or stone.is_swept:
            return False
        self._stones[number] = replace(stone, is_swept=True)
        del self._unswept[bisect_left(self._unswept, number)]
        insort(self._swept, (stone.deleted_at, number))
        return True

    def forget(self, before: datetime, *, limit: int) -> int:
        """Remove swept tombstones made before a time, the oldest first; say how many."""
        count = min(limit, bisect_left(self._swept, (before, 0)))
        for _, number in self._swept[:count]:
            stone = self._stones.pop(number)
            if self._numbers.get(stone.id) == number:
                del self._numbers[stone.id]
        del self._swept[:count]
        return count


class Replays:
    """What was answered to requests with an Idempotency-Key."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], tuple[Replay, Applied]] = {}
        self._by_time: list[tuple[datetime, str, str]] = []

    def answer(self, replay: Replay | None, now: datetime) -> WriteResult | None:
        """Answer a request that is known and not past its time."""
        known = None if replay is None else self._answers.get((replay.scope, replay.key))
        if replay is None or known is None or known[0].until <= now:
            return None
        first, answer = known
        return replace(answer, replayed=True) if first.fingerprint == replay.fingerprint else Refused(Refusal.REPLAY)

    def keep(self, replay: Replay | None, result: WriteResult) -> None:
        """Keep what is answered first; a refusal has stored nothing, and nothing is kept of it."""
        if replay is not None and isinstance(result, Applied):
            self._answers[replay.scope, replay.key] = (replay, result)
            heappush(self._by_time, (replay.until, replay.scope, replay.key))

    def forget(self, at: datetime, *, limit: int) -> int:
        """Remove those past their time, the oldest first; say how many."""
        count = 0
        while count < limit and self._by_time and self._by_time[0][0] <= at:
            until, scope, key = heappop(self._by_time)
            known = self._answers.get((scope, key))
            if known is not None and known[0].until == until:  # or it has been answered anew since
                del self._answers[scope, key]
                count += 1
        return count
