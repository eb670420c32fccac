"""All that is kept of tasks in memory, and kept in step: rows, indexes, counters. Applies no write.

Where a task stands in lines, ends and counters follows from the task alone, whenever it is put.
"""

from __future__ import annotations

from datetime import datetime

from windlass.contracts.tasks import TaskRef
from windlass.core.ids import TaskId
from windlass.core.queue import Queue
from windlass.core.state import State
from windlass.core.task import FileRow, NewTask, Task
from windlass.store.batches import Key, key_of
from windlass.store.lines import Lines
from windlass.store.memory.endings import Endings
from windlass.store.memory.events import MemoryEvents
from windlass.store.memory.graveyard import Graveyard, Replays
from windlass.store.memory.origins import Origins
from windlass.store.moves import Change
from windlass.wire.codec import encode_view

Counted = tuple[str, str, State]
"""What a counter counts: the tasks of a queue and kind in a state."""


class Shelf:
    """The tasks of a store."""

    def __init__(self, events: MemoryEvents) -> None:
        self.events = events
        self.tasks: dict[int, Task] = {}
        self.ids: dict[TaskId, int] = {}
        self.keys: dict[Key, int] = {}
        self.payloads: dict[int, bytes] = {}
        self.results: dict[int, bytes] = {}
        self.checkpoints: dict[int, bytes] = {}
        self.running: set[int] = set()
        self.origins = Origins()
        self.queues: dict[str, Queue] = {}
        self.lines = Lines()
        self.endings = Endings()
        self.graveyard = Graveyard()
        self.replays = Replays()
        self.counts: dict[Counted, tuple[int, int]] = {}
        self._files: dict[int, dict[int, FileRow]] = {}
        self._sizes: dict[int, int] = {}
        self._number = 0

    def next_number(self) -> int:
        """Give out a number that no task has ever had."""
        self._number += 1
        return self._number

    def find(self, ref: TaskRef) -> Task | None:
        """Find a task."""
        number = ref if isinstance(ref, int) else self.ids.get(ref)
        return None if number is None else self.tasks.get(number)

    def files_of(self, number: int) -> list[FileRow]:
        """Give the files of a task, by index."""
        return [file for _, file in sorted(self._files.get(number, {}).items())]

    def keep_file(self, number: int, file: FileRow) -> None:
        """Put a file of a task at its index."""
        self._files.setdefault(number, {})[file.index] = file

    def add(self, task: Task, new: NewTask) -> None:
        """Put what does not change of a new task."""
        self.ids[task.id] = task.number
        self.payloads[task.number] = new.payload
        if (key := key_of(task)) is not None:
            self.keys[key] = task.number
        self.origins.put(task)

    def keep(self, change: Change, now: int) -> None:
        """Put a task that is new, or has changed its state or place, with the event that says so."""
        task = change.task
        if (before := self.tasks.get(task.number)) is not None:
            self._take_out(before)
        self.tasks[task.number] = task
        self.lines.put(task, now)
        self.endings.put(task)
        if task.state is State.RUNNING:
            self.running.add(task.number)
        self._sizes[task.number] = self._size(task)
        self._count(task, 1)
        self.events.append(change)

    def remove(self, task: Task, at: datetime) -> int:
        """Remove an ended task with all that belongs to it, and leave a tombstone; give its size in bytes."""
        number = task.number
        self._take_out(task)
        del self.tasks[number], self.ids[task.id], self.payloads[number]
        if (key := key_of(task)) is not None:
            del self.keys[key]
        self.origins.drop(task)
        for part in (self.results, self.checkpoints, self._files):
            part.pop(number, None)
        self.events.remove(number)
        self.graveyard.bury(task, at)
        return self._sizes.pop(number)

    def count(self, queue: str, state: State) -> int:
        """Count the tasks of a queue in a state; looks at counters alone."""
        return sum(tasks for counted, (tasks, _) in self.counts.items() if (counted[0], counted[2]) == (queue, state))

    def _take_out(self, task: Task) -> None:
        self.endings.drop(task)
        self.running.discard(task.number)
        self._count(task, -1)

    def _count(self, task: Task, by: int) -> None:
        counted = (task.queue, task.kind, task.state)
        tasks, size = self.counts.pop(counted, (0, 0))
        if tasks + by:
            self.counts[counted] = (tasks + by, size + by * self._sizes[task.number])

    def _size(self, task: Task) -> int:
        error = b"" if task.error is None else encode_view(task.error)
        return len(self.payloads[task.number]) + len(self.results.get(task.number, b"")) + len(error)
