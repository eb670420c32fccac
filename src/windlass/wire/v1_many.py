"""The native API's shapes for what concerns many tasks: batches, bulk actions, counters. See `v1`.

Holds no rules beyond a field's own.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from windlass.core import limits
from windlass.core.bulk import BulkAction
from windlass.core.state import State
from windlass.wire.v1 import Instant, Name, SubmitRequest


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks to be done: all of them are stored, or none."""

    tasks: Annotated[list[SubmitRequest], Meta(min_length=1, max_length=limits.BATCH_TASKS)]


class PlacedView(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a batch: stored, or met by its key."""

    id: str
    number: int
    state: State


class PlacedList(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch, in its order."""

    tasks: list[PlacedView]


class TaskFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which tasks: those that match all that is given. Bounds of time are exclusive."""

    state: State | None = None
    kind: Name | None = None
    queue: Name | None = None
    key: Annotated[str, Meta(min_length=1, max_length=limits.KEY_CHARS)] | None = None
    tag: Annotated[str, Meta(max_length=limits.TAG_CHARS + 65, description="`name:value`")] | None = None
    waiting: (
        Annotated[
            Literal["until", "retry", "dependencies", "hold"],
            Meta(description="why a queued task does not run; the other reasons are answered per queue and kind"),
        ]
        | None
    ) = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    finished_after: Instant | None = None
    finished_before: Instant | None = None
    q: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=limits.KEY_CHARS,
                description="an id, a number or a key, or the beginning of a name",
            ),
        ]
        | None
    ) = None


class BulkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing to be done to all tasks that match a filter, each by itself.

    Without a state in the filter: to those in a state that allows it. Works through at most `limit` tasks and then says
    where to go on: send the same again with `cursor`. `reason` and `grace_s` are those of cancel.
    """

    action: BulkAction
    filter: TaskFilter = TaskFilter()
    all: Annotated[bool, Meta(description="needed where the filter is empty: all tasks there are")] = False
    dry_run: Annotated[bool, Meta(description="only count what matches")] = False
    limit: (
        Annotated[int, Meta(ge=1, le=limits.BULK_TASKS, description=f"{limits.BULK_TASKS:,} where it is left out")]
        | None
    ) = None
    cursor: Annotated[str, Meta(max_length=256, description="`next_cursor` of the request before")] | None = None
    reason: Annotated[str, Meta(max_length=limits.NAME_CHARS)] | None = None
    grace_s: Annotated[float, Meta(ge=0, le=limits.GRACE_MAX_S)] | None = None


class BulkView(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks matched; of these, how many were changed, were so already, or had moved on and were refused.

    `next_cursor`: where to go on; null when that is all.
    """

    action: BulkAction
    dry_run: bool
    matched: int
    changed: int
    unchanged: int
    refused: int
    next_cursor: str | None


class StateCounts(msgspec.Struct, kw_only=True):
    """Tasks by state."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


class QueueStats(msgspec.Struct, kw_only=True):
    """The tasks of a queue; `size_bytes` is that of their payloads, results and errors."""

    name: str
    tasks: StateCounts
    size_bytes: int


class RatesView(msgspec.Struct, frozen=True, kw_only=True):
    """How often a second something happened to a task on this server, on average over the last `window_s`."""

    window_s: float
    submitted: float
    started: float
    succeeded: float
    failed: float
    cancelled: float


class StoreView(msgspec.Struct, frozen=True, kw_only=True):
    """The store; sizes are null where it does not know. Without `has_room` it takes the ends of attempts alone."""

    kind: str
    size_bytes: int | None
    log_bytes: int | None
    has_room: bool


class StatsView(msgspec.Struct, frozen=True, kw_only=True):
    """Counters, kept with every change, and what has happened lately on this server since it was started."""

    version: str
    uptime_s: float
    tasks: StateCounts
    size_bytes: int
    queues: list[QueueStats]
    rates: list[RatesView]
    store: StoreView
