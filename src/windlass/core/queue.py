"""Queues: the limits a server's settings give them. Holds no rows and reads no store."""

from __future__ import annotations

import msgspec


class QueueDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings of a server say of a queue, until an operator says otherwise.

    `concurrency` bounds the tasks that run at once, `capacity` those that are queued; None: no bound.
    """

    name: str
    concurrency: int | None = None
    capacity: int | None = None
