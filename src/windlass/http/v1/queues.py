"""Queues over HTTP: how they stand, and what operators set of them. Parses, asks the engine, renders."""

from __future__ import annotations

from msgspec import UNSET

from windlass.contracts.engine_api import QueueChange, QueueStatus
from windlass.errors import InputError
from windlass.http.call import Call
from windlass.http.reply import Reply, json_reply
from windlass.http.v1.submission import check_reason
from windlass.wire.v1_queues import QueueLimits, QueueList, QueueRequest, QueueView


async def page(call: Call) -> Reply:
    """List all queues."""
    return json_reply(200, QueueList(queues=[_view(status) for status in await call.engine.queues()]))


async def show(call: Call) -> Reply:
    """Give one queue."""
    return json_reply(200, _view(await call.engine.queue(call.parameter("queue"))))


async def edit(call: Call) -> Reply:
    """Pause or resume a queue, or change its limits."""
    request = await call.struct(QueueRequest)
    if request.pause_reason is not UNSET:
        check_reason(request.pause_reason, pointer="/pause_reason")
        if request.paused is False:
            raise InputError("pause_reason belongs to a pause", code="exclusive_fields", pointer="/pause_reason")
    change = QueueChange(
        is_paused=request.paused,
        pause_reason=request.pause_reason,
        concurrency=request.concurrency,
        capacity=request.capacity,
    )
    return json_reply(200, _view(await call.engine.set_queue(call.parameter("queue"), change)))


def _view(status: QueueStatus) -> QueueView:
    row = status.row
    queue = row.queue
    return QueueView(
        name=queue.name,
        depth=row.queued,
        running=row.running,
        oldest_wait_s=status.oldest_wait_s,
        started_per_s=status.started_per_s,
        paused=queue.is_paused,
        paused_at=queue.paused_at,
        pause_reason=queue.pause_reason,
        concurrency=queue.concurrency,
        capacity=queue.capacity,
        defaults=QueueLimits(concurrency=queue.default_concurrency, capacity=queue.default_capacity),
        overrides=QueueLimits(concurrency=queue.set_concurrency, capacity=queue.set_capacity),
    )
