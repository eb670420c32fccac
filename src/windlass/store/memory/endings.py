"""Ended tasks in the order of their ends: what goes first, and what a list shows last. Holds numbers, never tasks."""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from itertools import islice

from windlass.core.state import ENDED, State
from windlass.core.task import Task
from windlass.store.instants import to_micros
from windlass.store.pages import Ending


class Endings:
    """For each ended state its tasks, the one that ended first in front."""

    def __init__(self) -> None:
        self._lines: dict[State, list[Ending]] = {state: [] for state in ENDED}

    def put(self, task: Task) -> None:
        """Take in a task, if it has ended."""
        if task.finished_at is not None:
            insort(self._lines[task.state], _ending(task))

    def drop(self, task: Task) -> None:
        """Take out a task as it was put in."""
        if task.finished_at is not None:
            line = self._lines[task.state]
            del line[bisect_left(line, _ending(task))]

    def first(self, states: Iterable[State], *, before: Ending, limit: int) -> Sequence[int]:
        """Name the tasks of `states` that ended first, and before an end."""
        lines = [self._lines.get(state, []) for state in dict.fromkeys(states)]
        early = (islice(line, bisect_left(line, before)) for line in lines)
        return [number for _, number in islice(heapq.merge(*early), limit)]

    def stretch(self, state: State | None, *, low: Ending, top: Ending, rows: int) -> Sequence[Ending]:
        """Give the last `rows` ends of a state from `low` up to `top`, which is not included, falling."""
        line = [] if state is None else self._lines.get(state, [])
        high = bisect_left(line, top)
        return line[max(bisect_left(line, low), high - rows) : high][::-1]


def _ending(task: Task) -> Ending:
    assert task.finished_at is not None
    return to_micros(task.finished_at), task.number
