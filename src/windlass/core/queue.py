"""Queues: what the settings say of them, what an operator has set, and how much room that leaves. Reads no store."""

from __future__ import annotations

from datetime import datetime

import msgspec


class QueueDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings of a server say of a queue, until an operator says otherwise.

    `concurrency` bounds the tasks that run at once, `capacity` those that are queued; None: no bound.
    """

    name: str
    concurrency: int | None = None
    capacity: int | None = None


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a queue; one of which nothing is kept has no bounds and is not paused.

    `default_…` is what the settings say, `set_…` what an operator has set, which wins. `paused_at` is set while it is
    paused.
    """

    name: str
    default_concurrency: int | None = None
    default_capacity: int | None = None
    set_concurrency: int | None = None
    set_capacity: int | None = None
    paused_at: datetime | None = None
    pause_reason: str | None = None

    @property
    def concurrency(self) -> int | None:
        """How many of its tasks may run at once; None: no bound."""
        return self.default_concurrency if self.set_concurrency is None else self.set_concurrency

    @property
    def capacity(self) -> int | None:
        """How many of its tasks may be queued; None: no bound."""
        return self.default_capacity if self.set_capacity is None else self.set_capacity

    @property
    def is_paused(self) -> bool:
        """Whether it starts nothing."""
        return self.paused_at is not None

    @property
    def is_plain(self) -> bool:
        """Whether it is like one of which nothing is kept."""
        return self == Queue(name=self.name)


def slots_left(queue: Queue, *, running: int) -> int | None:
    """Say how many more tasks may start while `running` run; None: no bound.

    >>> slots_left(Queue(name="q", default_concurrency=4, set_concurrency=2), running=1)
    1
    """
    if queue.is_paused:
        return 0
    return None if queue.concurrency is None else max(0, queue.concurrency - running)


def places_left(queue: Queue, *, queued: int) -> int | None:
    """Say how many more tasks may be submitted while `queued` are queued; None: no bound. What comes back does not ask.

    >>> places_left(Queue(name="q", default_capacity=64), queued=70)
    0
    """
    return None if queue.capacity is None else max(0, queue.capacity - queued)
