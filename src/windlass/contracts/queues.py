"""Queues as the Tasks port knows them: what is written of them in a turn, and what is read.

Their tasks are written by other writes; `windlass.core.queue` says what limits mean.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from windlass.core.queue import Queue, QueueDefaults
from windlass.core.state import State


class DeclareQueues(msgspec.Struct, frozen=True):
    """Keep what the settings say of queues, in place of what they said before; what an operator has set stays."""

    queues: tuple[QueueDefaults, ...]


class SetQueue(msgspec.Struct, frozen=True, kw_only=True):
    """Set what an operator wants of a queue, whether it has tasks or not. UNSET stays as it is.

    None takes a limit back: the settings' holds again. `pause_reason` belongs to a pause and goes with it. Already so:
    nothing changes. What runs goes on, whatever the new limit; what is queued stays.
    """

    name: str
    at: datetime
    is_paused: bool | UnsetType = UNSET
    pause_reason: str | UnsetType | None = UNSET
    concurrency: int | UnsetType | None = UNSET
    capacity: int | UnsetType | None = UNSET


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """A queue and what is in it. `ready_since`: when that of its tasks that could start now and has waited for longest
    was due.
    """

    queue: Queue
    queued: int
    running: int
    ready_since: datetime | None


class Count(msgspec.Struct, frozen=True):
    """How many tasks of a queue and kind are in a state, and the bytes of their payloads, results and errors."""

    queue: str
    kind: str
    state: State
    tasks: int
    size_bytes: int
