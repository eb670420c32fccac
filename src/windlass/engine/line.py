"""The writes that wait for the next turns: in order, and bounded. Writes nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from windlass.contracts.tasks import Report, Save, Settle, Submit, SubmitBatch, Write, WriteResult
from windlass.core.limits import LINE_BYTES, LINE_WRITES, TURN_BYTES, TURN_WRITES
from windlass.errors import StoreError

Told = Callable[[WriteResult | StoreError], None]
"""Who is told what has become of a write: what the store said, or why it could not be asked."""


class Entry(NamedTuple):
    """A write in the line. `tasks` is how many it is about, `size` the bytes it brings; `by_attempt` is false for one
    that settles what somebody else ran.
    """

    write: Write
    told: Told | None
    tasks: int
    size: int
    by_attempt: bool = True


class Line:
    """First come, first served.

    LIMIT: in tasks, and for submits in bytes; an empty line takes any batch.
    Concurrency: of one event loop.
    """

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._size = 0
        self.tasks = 0

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, write: Write, told: Told, *, by_attempt: bool = True) -> bool:
        """Put `write` at the end; false when there is no room."""
        entry = _entry(write, told)
        if not by_attempt:
            entry = entry._replace(by_attempt=False)
        _, _, tasks, size, _ = entry
        if self._entries:
            if self.tasks + tasks > LINE_WRITES:
                return False
            if self._size + size > LINE_BYTES and isinstance(write, Submit | SubmitBatch):
                return False
        self._entries.append(entry)
        self.tasks += tasks
        self._size += size
        return True

    def add_note(self, write: Report) -> None:
        """Put `write` at the end, for nobody who waits.

        LIMIT: progress must not crowd out submits and settlements: it is dropped when the line is half full.
        """
        if self.tasks < LINE_WRITES // 2:
            self._entries.append(_entry(write, None))
            self.tasks += 1

    def take(self) -> list[Entry]:
        """Take the next writes: as many as a turn may hold, at least one if there is one."""
        taken: list[Entry] = []
        tasks = size = 0
        while self._entries:
            entry = self._entries[0]
            tasks, size = tasks + entry.tasks, size + entry.size
            if taken and (tasks > TURN_WRITES or size > TURN_BYTES):
                break
            taken.append(self._entries.popleft())
            self.tasks -= entry.tasks
            self._size -= entry.size
        return taken

    def clear(self) -> list[Entry]:
        """Take all."""
        taken = list(self._entries)
        self._entries.clear()
        self.tasks = self._size = 0
        return taken


def _entry(write: Write, told: Told | None) -> Entry:
    match write:
        case Settle(settlement=settlement):
            return Entry(write, told, 1, len(settlement.result or b""))
        case Submit(task=task):
            return Entry(write, told, 1, len(task.payload))
        case SubmitBatch(tasks=tasks):
            return Entry(write, told, len(tasks), sum(len(task.payload) for task in tasks))
        case Save(checkpoint=checkpoint):
            return Entry(write, told, 1, len(checkpoint))
        case _:
            return Entry(write, told, 1, 0)
