"""A server's queues, as Python sees them: how they stand, pausing, resuming, limits. Keeps none."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from windlass.client import exchange
from windlass.client.transport import Transport
from windlass.wire.v1_queues import QueueRequest, QueueView


class QueueCalls:
    """What can be asked about queues. To change one takes a key with the scope `operate`, where keys are needed.

    client.queues.pause("reports", reason="the database moves")
    client.queues.edit("reports", concurrency=4)
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Sequence[QueueView]:
        """Read all queues, by name."""
        request = exchange.list_queues()
        return exchange.read_answer(request, self._transport.send(request)).queues

    def get(self, name: str) -> QueueView:
        """Read one queue.

        Raises:
            NotFoundError: it has no tasks, not even ended ones, no kind runs in it, and nothing is set of it.
        """
        request = exchange.get_queue(name)
        return exchange.read_answer(request, self._transport.send(request))

    def pause(self, name: str, *, reason: str | None = None) -> QueueView:
        """Have none of its tasks started; those that run go on."""
        return self._edit(name, QueueRequest(paused=True, pause_reason=UNSET if reason is None else reason))

    def resume(self, name: str) -> QueueView:
        """Have its tasks started again."""
        return self._edit(name, QueueRequest(paused=False))

    def edit(
        self, name: str, *, concurrency: int | UnsetType | None = UNSET, capacity: int | UnsetType | None = UNSET
    ) -> QueueView:
        """Set how many of its tasks may run at once, and how many may be queued; None: as the server's settings say."""
        return self._edit(name, QueueRequest(concurrency=concurrency, capacity=capacity))

    def _edit(self, name: str, asked: QueueRequest) -> QueueView:
        request = exchange.edit_queue(name, asked)
        return exchange.read_answer(request, self._transport.send(request))
