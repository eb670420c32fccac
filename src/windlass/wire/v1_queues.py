"""The native API's shapes for queues. See `v1`. Holds no rules beyond a field's own."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from windlass.core import limits


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks of a queue may run at once, and how many may be queued; null: nothing is said."""

    concurrency: int | None = None
    capacity: int | None = None


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """A queue: what is in it, and its limits.

    `depth`: tasks that are queued, those for later and those held included. `oldest_wait_s`: for how long that task
    has waited that could have started first. `started_per_s`: over the last minute. `concurrency` and `capacity` are
    what holds: `overrides`, where they say something, else `defaults`, which come from the settings.
    """

    name: str
    depth: int
    running: int
    oldest_wait_s: float | None
    started_per_s: float
    paused: bool
    paused_at: datetime | None
    pause_reason: str | None
    concurrency: int | None
    capacity: int | None
    defaults: QueueLimits
    overrides: QueueLimits


class QueueList(msgspec.Struct, frozen=True, kw_only=True):
    """All queues, by name."""

    queues: list[QueueView]


class QueueRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be changed of a queue; what is left out stays as it is."""

    paused: Annotated[bool, Meta(description="start none of its tasks; those that run go on")] | UnsetType = UNSET
    pause_reason: (
        Annotated[str, Meta(max_length=limits.NAME_CHARS, description="why it is paused, for people; null: none")]
        | UnsetType
        | None
    ) = UNSET
    concurrency: (
        Annotated[
            int,
            Meta(ge=1, le=limits.QUEUE_MAX, description="tasks of it that run at once; null: as the settings say"),
        ]
        | UnsetType
        | None
    ) = UNSET
    capacity: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=limits.QUEUE_MAX,
                description="tasks that may be queued in it; more are refused with 503; null: as the settings say",
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
