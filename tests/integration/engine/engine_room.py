"""What single parts of the engine are tested with: the memory store, made to fail on demand, and tasks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from windlass.contracts.tasks import Applied, Submit, Turn, Wanted, Write
from windlass.core.task import NewTask, Task
from windlass.engine.clock import SystemClock, SystemIds
from windlass.store.memory import MemoryStore, MemoryTasks

PATIENCE_S = 10.0
"""A limit on hanging, not a measure of speed."""
CLOCK, IDS = SystemClock(), SystemIds()
WANTED = Wanted(slots={"p": 10}, pools={"work": ("p", "p")})

Mishap = Callable[[Sequence[Write]], Awaitable[None]]


class TurningTasks:
    """The tasks of a memory store; each turn is kept, and may first meet with a mishap."""

    def __init__(self) -> None:
        self.store = MemoryStore(IDS)
        self.real: MemoryTasks = self.store.tasks
        self.turns: list[Sequence[Write]] = []
        self.mishaps: list[Mishap | None] = []
        self.held: Turn | None = None
        """What the next turn gives, as a mishap has done it already."""

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        self.turns.append(writes)
        mishap = self.mishaps.pop(0) if self.mishaps else None
        if mishap is not None:
            await mishap(writes)
        if (held := self.held) is not None:
            self.held = None
            return held
        return await self.real.turn(writes, wanted, now=now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def raising(error: BaseException) -> Mishap:
    """Make a turn fail."""

    async def mishap(_: Sequence[Write]) -> None:
        raise error

    return mishap


class Gate:
    """Holds a turn until it is opened; then it goes on, or fails."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        self._error = error

    async def __call__(self, _: Sequence[Write]) -> None:
        self.reached.set()
        await self.open.wait()
        if self._error is not None:
            raise self._error


def new_task(*, delay_to: datetime | None = None, **fields: Any) -> NewTask:
    """Make a task that is due, or will be at `delay_to`."""
    due_at = CLOCK.now() - timedelta(seconds=1)
    made: dict[str, Any] = {"payload": b"{}", "created_at": due_at, "run_at": delay_to or due_at} | fields
    return NewTask(id=IDS.task_id(), kind="work", queue="default", **made)


async def running_tasks(tasks: TurningTasks, count: int, **fields: Any) -> list[Task]:
    """Store tasks and start them."""
    wanted = Wanted(slots={"p": count}, pools={"work": ("p", "p")})
    turn = await tasks.real.turn([Submit(new_task(**fields)) for _ in range(count)], wanted, now=CLOCK.now())
    assert len(turn.claimed) == count
    return [claimed.task for claimed in turn.claimed]


def stored(result: object) -> Task:
    """Give the task of an applied write."""
    assert isinstance(result, Applied)
    assert result.task is not None
    return result.task


class Slots:
    """Workers as the feeder sees them: figures."""

    def __init__(self, free: int = 0) -> None:
        self.free = free

    def slots(self) -> Mapping[str, int]:
        return {"p": self.free} if self.free else {}

    def pools(self) -> Mapping[str, tuple[str, str]]:
        return {"work": ("p", "p")}


async def until(holds: Callable[[], Any]) -> Any:
    """Let the loop turn until `holds()` is true, and give what it gave."""
    async with asyncio.timeout(PATIENCE_S):
        while not (value := holds()):
            await asyncio.sleep(0)
    return value
