"""Tasks by the dialect they came through, and the numbers they have there. Holds numbers, never tasks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from windlass.core.task import Task


class Origins:
    """For each origin its tasks, rising by number."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}
        self._numbers: dict[str, list[int]] = {}
        self._by_origin_number: dict[tuple[str, int], int] = {}

    def give(self, origin: str | None) -> int | None:
        """Give out a number that no task of `origin` has ever had."""
        if origin is None:
            return None
        self._given[origin] = self._given.get(origin, 0) + 1
        return self._given[origin]

    def put(self, task: Task) -> None:
        """Take in a new task, if it has an origin."""
        if task.origin is not None and task.origin_number is not None:
            self._numbers.setdefault(task.origin, []).append(task.number)
            self._by_origin_number[task.origin, task.origin_number] = task.number

    def drop(self, task: Task) -> None:
        """Take a task out."""
        if task.origin is not None and task.origin_number is not None:
            numbers = self._numbers[task.origin]
            del numbers[bisect_left(numbers, task.number)]
            del self._by_origin_number[task.origin, task.origin_number]

    def find(self, origin: str, origin_number: int) -> int | None:
        """Find a task by its number there."""
        return self._by_origin_number.get((origin, origin_number))

    def stretch(self, origin: str, low: int, high: int) -> Sequence[int]:
        """Give the tasks of an origin from `low` to `high`, both included, rising."""
        numbers = self._numbers.get(origin, [])
        return numbers[bisect_left(numbers, low) : bisect_right(numbers, high)]
