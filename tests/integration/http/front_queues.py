"""The queues of the engine in `http_front`: counted from its tasks, with what is set of them forgotten at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from windlass.contracts.engine_api import QueueChange, QueueStatus
from windlass.contracts.queues import QueueRow
from windlass.core.queue import Queue
from windlass.core.state import State
from windlass.core.task import Task


class DictQueues:
    """`QueueControl` over a dict of tasks."""

    tasks: dict[int, Task]

    async def queues(self) -> Sequence[QueueStatus]:
        return [await self.queue(name) for name in sorted({task.queue for task in self.tasks.values()})]

    async def queue(self, name: str) -> QueueStatus:
        return await self.set_queue(name, QueueChange())

    async def set_queue(self, name: str, change: QueueChange) -> QueueStatus:
        states = [task.state for task in self.tasks.values() if task.queue == name]
        queue = Queue(
            name=name,
            default_concurrency=3,
            set_concurrency=change.concurrency or None,
            paused_at=datetime.now(UTC) if change.is_paused is True else None,
            pause_reason=change.pause_reason or None,
        )
        counts = {"queued": states.count(State.QUEUED), "running": states.count(State.RUNNING)}
        return QueueStatus(row=QueueRow(queue=queue, ready_since=None, **counts), oldest_wait_s=None, started_per_s=0.5)
