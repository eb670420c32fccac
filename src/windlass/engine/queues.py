"""The queues as this server knows them: their limits, how many of their tasks run, how fast they drain.

Decides nothing: limits hold in the store's turn, `core.queue` and `core.waiting` say what they mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import UNSET

from windlass.contracts.clock import Clock
from windlass.contracts.engine_api import QueueChange, QueueStatus
from windlass.contracts.queues import DeclareQueues, QueueRow, SetQueue
from windlass.contracts.tasks import Applied, Tasks, Turn
from windlass.core.ids import is_name
from windlass.core.limits import QUEUE_FULL_MAX_S
from windlass.core.queue import Queue, QueueDefaults
from windlass.core.state import EventName, State
from windlass.engine.ring import Ring
from windlass.engine.settler import Settler
from windlass.errors import InputError, NotFoundError, SaturatedError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_WINDOW_S: Final = 60
# Named once: an enumeration takes 0.07 µs to find a member.
_STARTED, _RUNNING = EventName.STARTED, State.RUNNING


class QueueBoard:
    """What is known of each queue. `others` names queues that have nothing in them yet, but may be asked for.

    Concurrency: of one event loop. Cancel-safe, as the settler is.
    """

    def __init__(self, tasks: Tasks, settler: Settler, clock: Clock, *, others: Callable[[], Iterable[str]]) -> None:
        self._tasks = tasks
        self._settler = settler
        self._clock = clock
        self._others = others
        self._known: dict[str, Queue] = {}
        self._starts: Ring[str] = Ring(clock.monotonic())
        self._running: dict[int, str] = {}
        self._counts: Counter[str] = Counter()
        self._elsewhere: Counter[str] = Counter()
        """How many ran on other servers at the last look."""

    async def declare(self, defaults: Sequence[QueueDefaults]) -> None:
        """Keep what the settings say of queues, and read what is set of them besides."""
        await self._settler.write(DeclareQueues(tuple(defaults)))
        self._known = {row.queue.name: row.queue for row in await self._tasks.queues()}

    async def refresh(self) -> None:
        """Read again what is set of the queues, and how many of their tasks run on other servers of the store."""
        rows = await self._tasks.queues()
        self._known = {row.queue.name: row.queue for row in rows}
        self._elsewhere = Counter({row.queue.name: row.running for row in rows}) - self._counts

    def forget_running(self) -> None:
        """Count none of this server's tasks as running: its lease has ended, and what became of them others know."""
        self._running.clear()
        self._counts.clear()

    def take(self, turn: Turn) -> None:
        """Take in what a turn has started and ended."""
        queues = {claimed.task.number: claimed.task.queue for claimed in turn.claimed}
        for event in turn.events:
            if event.name is _STARTED:
                self._running[event.number] = queues[event.number]
                self._counts[queues[event.number]] += 1
            elif event.state is not _RUNNING and (queue := self._running.pop(event.number, None)) is not None:
                self._counts[queue] -= 1
                if not self._counts[queue]:
                    del self._counts[queue]
        self._starts.take(queues.values(), now_s=self._clock.monotonic())

    def find(self, name: str) -> tuple[Queue, int]:
        """Give what is set of a queue, and how many of its tasks run."""
        return self._known.get(name) or Queue(name=name), self._counts[name] + self._elsewhere[name]

    async def statuses(self) -> Sequence[QueueStatus]:
        """Describe all queues, by name."""
        rows = {row.queue.name: row for row in await self._tasks.queues()}
        for name in self._others():
            rows.setdefault(name, QueueRow(queue=Queue(name=name), queued=0, running=0, ready_since=None))
        return [self._status(rows[name]) for name in sorted(rows)]

    async def status(self, name: str) -> QueueStatus:
        """Describe one queue.

        Raises:
            NotFoundError: it has no tasks, not even ended ones, no kind runs in it, and nothing is set of it.
        """
        for status in await self.statuses():
            if status.row.queue.name == name:
                return status
        raise NotFoundError(
            f"there is no queue {name[:64]}: it has no tasks, no kind runs in it, and nothing is set of it",
            code="queue_not_found",
        )

    async def set(self, name: str, change: QueueChange) -> QueueStatus:
        """Set what an operator wants of a queue, and describe it as it is then."""
        if not is_name(name):
            raise InputError(
                "a queue is named by 1-64 letters, digits, dots, underscores or hyphens",
                code="invalid_value",
                pointer="/name",
            )
        paused = self.find(name)[0].is_paused if change.is_paused is UNSET else change.is_paused
        if change.pause_reason not in (UNSET, None) and not paused:
            raise InputError(
                f"the queue {name} is not paused: pause it to say why", code="invalid_value", pointer="/pause_reason"
            )
        write = SetQueue(
            name=name,
            at=self._clock.now(),
            is_paused=change.is_paused,
            pause_reason=change.pause_reason,
            concurrency=change.concurrency,
            capacity=change.capacity,
        )
        result = await self._settler.write(write)
        assert isinstance(result, Applied), result
        assert result.queue is not None
        queue = self._known[name] = result.queue
        if result.created:
            _log.info(
                words.QUEUE_SET,
                queue=name,
                paused=queue.is_paused,
                reason=queue.pause_reason,
                concurrency=queue.concurrency,
                capacity=queue.capacity,
            )
        rows = {row.queue.name: row for row in await self._tasks.queues()}
        return self._status(rows.get(name) or QueueRow(queue=queue, queued=0, running=0, ready_since=None))

    def full(self, name: str) -> SaturatedError:
        """Say that a queue takes no more tasks, and when it may have drained at the rate of the last minute."""
        depth = self.find(name)[0].capacity or 0
        rate = self._drain_rate(name)
        wait_s = (depth + 1) / rate if rate > 0 else QUEUE_FULL_MAX_S
        return SaturatedError(
            f"the queue {name} is full: its capacity is {depth:,}; try again later",
            code="queue_full",
            retry_after_s=min(QUEUE_FULL_MAX_S, max(1.0, wait_s)),
        )

    def _status(self, row: QueueRow) -> QueueStatus:
        wait_s = None
        if row.ready_since is not None:
            wait_s = max(0.0, (self._clock.now() - row.ready_since).total_seconds())
        return QueueStatus(row=row, oldest_wait_s=wait_s, started_per_s=self._drain_rate(row.queue.name))

    def _drain_rate(self, name: str) -> float:
        counts, covered_s = self._starts.over(_WINDOW_S, now_s=self._clock.monotonic())
        return counts[name] / covered_s
