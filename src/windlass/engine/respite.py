"""How long a stop may wait: a store that says nothing must not keep a server from its end.

Stops nothing itself; what is given up here is what the next server takes back.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable


class Respite:
    """The time that a server has from the moment it is told to stop; before that, all the time there is.

    Concurrency: of one event loop.
    """

    def __init__(self) -> None:
        self._ends_at = math.inf
        self._waits: dict[asyncio.Timeout, float] = {}

    def begin(self, within_s: float) -> None:
        """Have it end `within_s` from now, for those too who wait already; an earlier end stays. Idempotent."""
        ends_at = asyncio.get_running_loop().time() + within_s
        if ends_at < self._ends_at:
            self._ends_at = ends_at
            for wait, beyond_s in self._waits.items():
                wait.reschedule(ends_at + beyond_s)

    async def spend(self, step: Awaitable[None], *, beyond_s: float = 0.0) -> bool:
        """Wait for `step` until the end, or `beyond_s` longer; then it is cancelled. Give whether it was done."""
        wait = asyncio.timeout_at(None if self._ends_at == math.inf else self._ends_at + beyond_s)
        try:
            async with wait:
                self._waits[wait] = beyond_s
                await step
        except TimeoutError:
            if not wait.expired():
                raise
            return False
        finally:
            self._waits.pop(wait, None)
        return True
