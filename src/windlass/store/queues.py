"""What a write makes of queues, as far as that is the same in every store. Keeps nothing and counts no task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.core.queue import Queue


def declared(known: Mapping[str, Queue], write: DeclareQueues) -> Sequence[Queue]:
    """Give the queues that a declaration changes: those it names, and those that an earlier one named."""
    defaults = {default.name: default for default in write.queues}
    changed: list[Queue] = []
    for name in sorted(known.keys() | defaults.keys()):
        queue, default = known.get(name, Queue(name=name)), defaults.get(name)
        after = replace(
            queue,
            default_concurrency=None if default is None else default.concurrency,
            default_capacity=None if default is None else default.capacity,
        )
        if after != queue:
            changed.append(after)
    return changed


def set_of(queue: Queue, write: SetQueue) -> Queue:
    """Give the queue as an operator wants it."""
    changes: dict[str, Any] = {}
    if write.concurrency is not UNSET:
        changes["set_concurrency"] = write.concurrency
    if write.capacity is not UNSET:
        changes["set_capacity"] = write.capacity
    if write.is_paused is not UNSET:
        changes["paused_at"] = (queue.paused_at or write.at) if write.is_paused else None
    after = replace(queue, **changes)
    if not after.is_paused:
        return replace(after, pause_reason=None)
    return after if write.pause_reason is UNSET else replace(after, pause_reason=write.pause_reason)
