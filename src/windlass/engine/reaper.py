"""Takes back what an earlier server left running, once its workers are seen gone.

Engine code, not a task: nothing can keep it from running. Judges nobody by a task's age.
"""

from __future__ import annotations

from windlass.contracts.clock import Clock, Ids
from windlass.contracts.tasks import Applied, Refusal, Settle, Tasks
from windlass.core.decide import decide
from windlass.core.outcome import Interrupted
from windlass.core.task import Error, Task
from windlass.engine.settler import Settler

_PAGE = 500


class Reaper:
    """Settles attempts whose server is gone, as interrupted."""

    def __init__(self, tasks: Tasks, settler: Settler, *, clock: Clock, ids: Ids) -> None:
        self._tasks = tasks
        self._settler = settler
        self._clock = clock
        self._ids = ids

    async def recover(self) -> int:
        """Settle every running task; give how many. Idempotent: each settlement names the token it ends.

        Concurrency: before the first claim of this server, and after the earlier one's workers are gone.
        """
        after = recovered = 0
        while page := await self._tasks.orphans(after=after, limit=_PAGE):
            for task in page:
                recovered += await self._settle(task)
            after = page[-1].number
        return recovered

    async def _settle(self, task: Task) -> bool:
        error = Error(type="ServerGone", message="its server ended while the attempt ran")
        current: Task | None = task
        while current is not None and current.token is not None:
            settlement = decide(current, Interrupted(error), now=self._clock.now(), roll=self._ids.roll())
            result = await self._settler.write(Settle(current.number, current.token, settlement, 0.0))
            if isinstance(result, Applied):
                return True
            current = result.task if result.why is Refusal.CHANGED else None
        return False
