"""Keeps the slots busy: says what the next turn may claim, starts what it has claimed, rests until more is due.

Never claims more than there are free slots, and holds nothing back for later.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from windlass.contracts.clock import Clock, Ids
from windlass.contracts.link import Workers
from windlass.contracts.tasks import Claimed, Turn, Wanted
from windlass.engine.alarm import Alarm
from windlass.engine.settler import Settler

_POLL_S = 5.0
"""With nothing to wait for, look again about this often: a wake is only a hint."""


class Feeder:
    """What may be claimed, and when to look again.

    Concurrency: of one event loop.
    """

    def __init__(
        self, settler: Settler, workers: Workers, *, run: Callable[[Claimed], None], clock: Clock, ids: Ids
    ) -> None:
        self._settler = settler
        self._workers = workers
        self._run_attempt = run
        self._clock = clock
        self._ids = ids
        self._open = False
        self._alarm = Alarm(clock, self._look_again)

    def open(self) -> None:
        """Let turns claim."""
        self._open = True
        self._look_again()

    def close(self) -> None:
        """Claim nothing more."""
        self._open = False
        self._alarm.clear()

    def on_room(self) -> None:
        """Take in that a slot is free, or that a kind can run now."""
        if self._open:
            self._settler.kick()

    def on_work(self) -> None:
        """Take in that another server has told of work: look, if a slot is free for it."""
        if self._open and self._workers.slots():
            self._settler.kick()

    def wanted(self) -> Wanted:
        """Say what the next turn may claim."""
        if not self._open:
            return Wanted()
        return Wanted(slots=self._workers.slots(), pools=self._workers.pools())

    def placed(self, turn: Turn) -> None:
        """Start what a turn has claimed, and rest until the next task is due, but not for ever."""
        for claimed in turn.claimed:
            self._run_attempt(claimed)
        if self._open:
            self._alarm.set(self._clock.monotonic() + self._pause_s(turn.next_due_at))

    def _look_again(self) -> None:
        self._settler.kick()
        self._alarm.set(self._clock.monotonic() + _POLL_S)  # LIMIT: a turn that fails is not asked for again at once

    def _pause_s(self, next_due_at: datetime | None) -> float:
        pause_s = _POLL_S * (0.5 + self._ids.roll())
        if next_due_at is not None:
            pause_s = min(pause_s, max(0.0, (next_due_at - self._clock.now()).total_seconds()))
        return pause_s
