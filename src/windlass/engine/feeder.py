"""Keeps the slots busy: says what the next turn may claim, starts what it has claimed, sleeps until more is due.

Never claims more than there are free slots, and holds nothing back for later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from windlass.contracts.clock import Clock, Ids
from windlass.contracts.link import Workers
from windlass.contracts.tasks import Claimed, Turn, Wanted
from windlass.engine.service import OnFailure, Service
from windlass.engine.settler import Settler

_POLL_S = 5.0
"""With nothing to wait for, look again about this often: a wake is only a hint."""


class Feeder:
    """What may be claimed, and when to look again.

    Concurrency: of one event loop.
    """

    def __init__(
        self,
        settler: Settler,
        workers: Workers,
        *,
        run: Callable[[Claimed], None],
        clock: Clock,
        ids: Ids,
        on_failure: OnFailure,
    ) -> None:
        self._settler = settler
        self._workers = workers
        self._run_attempt = run
        self._clock = clock
        self._ids = ids
        self._open = False
        self._next_due_at: datetime | None = None
        self._changed = asyncio.Event()
        self._service = Service("feeder", self._run, on_failure)

    def open(self) -> None:
        """Let turns claim."""
        self._open = True
        self._service.start()
        self._settler.kick()

    async def close(self) -> None:
        """Claim nothing more."""
        self._open = False
        await self._service.stop()

    def on_room(self) -> None:
        """Take in that a slot is free, or that a kind can run now."""
        if self._open:
            self._settler.kick()

    def wanted(self) -> Wanted:
        """Say what the next turn may claim."""
        if not self._open:
            return Wanted()
        return Wanted(slots=self._workers.slots(), pools=self._workers.pools())

    def placed(self, turn: Turn) -> None:
        """Start what a turn has claimed, and note when the next task is due."""
        for claimed in turn.claimed:
            self._run_attempt(claimed)
        self._next_due_at = turn.next_due_at
        self._changed.set()

    async def _run(self) -> None:
        """Kick a turn when the next task is due, and now and then in any case."""
        while True:
            self._changed.clear()
            if not await self._changes_within(self._pause_s()):
                self._settler.kick()
                await self._changes_within(_POLL_S)  # LIMIT: a turn that fails is not asked for again at once

    async def _changes_within(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._changed.wait()
        except TimeoutError:
            return False

    def _pause_s(self) -> float:
        pause_s = _POLL_S * (0.5 + self._ids.roll())
        if self._next_due_at is not None:
            pause_s = min(pause_s, max(0.0, (self._next_due_at - self._clock.now()).total_seconds()))
        return pause_s
