"""The Events port in memory: the log, and the history of each task that is still there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

from windlass.core.task import Event
from windlass.store.moves import Change


class MemoryEvents:
    """The Events port.

    Events of a removed task stay in the log, unseen, until they are half of it.
    """

    def __init__(self) -> None:
        self._log: list[Event] = []
        self._histories: dict[int, list[Event]] = {}
        self._seq = 0
        self._unseen = 0
        self._fresh: list[Event] = []

    def append(self, change: Change) -> None:
        """Write down what has happened to a task."""
        task = change.task
        history = self._histories.setdefault(task.number, [])
        self._seq += 1
        event = Event(
            seq=self._seq,
            number=task.number,
            task_id=task.id,
            kind=task.kind,
            ordinal=len(history) + 1,
            at=change.at,
            name=change.event,
            state=task.state,
            attempt=task.attempt,
            reason=change.reason,
            token=change.token,
            data=change.data,
        )
        self._log.append(event)
        self._fresh.append(event)
        history.append(event)

    def remove(self, number: int) -> None:
        """Take the history of a task away."""
        self._unseen += len(self._histories.pop(number))
        if self._unseen * 2 > len(self._log):
            self._log = [event for event in self._log if event.number in self._histories]
            self._unseen = 0

    def take_fresh(self) -> Sequence[Event]:
        """Give what has been appended since the last time, be its task there or not."""
        fresh, self._fresh = self._fresh, []
        return fresh

    async def history(self, number: int, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of one task."""
        return self._histories.get(number, [])[after : after + limit]

    async def log(self, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of all tasks."""
        first = bisect_right(self._log, after, key=lambda event: event.seq)
        later = (self._log[place] for place in range(first, len(self._log)))
        return list(islice((event for event in later if event.number in self._histories), limit))
