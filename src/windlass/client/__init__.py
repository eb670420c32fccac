"""Calling a windlass server from Python: `Client`, what it gives, and what it raises.

Imports its parts when they are first named, so that a handler or a server pays nothing for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass.client.errors import (
        AccessDenied,
        ServerError,
        ServerUnreachable,
        TaskCancelled,
        TaskFailed,
        UnexpectedAnswer,
        WaitTimeout,
    )
    from windlass.client.sync import Client, TaskHandle
    from windlass.wire.v1 import EditRequest, RetryOptions, SubmitRequest, TaskView
    from windlass.wire.v1_many import BulkRequest, BulkView, PlacedView, StatsView, TaskFilter
    from windlass.wire.v1_queues import QueueView

__all__ = [
    "AccessDenied",
    "BulkRequest",
    "BulkView",
    "Client",
    "EditRequest",
    "PlacedView",
    "QueueView",
    "RetryOptions",
    "ServerError",
    "ServerUnreachable",
    "StatsView",
    "SubmitRequest",
    "TaskCancelled",
    "TaskFailed",
    "TaskFilter",
    "TaskHandle",
    "TaskView",
    "UnexpectedAnswer",
    "WaitTimeout",
]

_HOMES = {
    "Client": "windlass.client.sync",
    "TaskHandle": "windlass.client.sync",
    "BulkRequest": "windlass.wire.v1_many",
    "BulkView": "windlass.wire.v1_many",
    "EditRequest": "windlass.wire.v1",
    "PlacedView": "windlass.wire.v1_many",
    "QueueView": "windlass.wire.v1_queues",
    "RetryOptions": "windlass.wire.v1",
    "StatsView": "windlass.wire.v1_many",
    "SubmitRequest": "windlass.wire.v1",
    "TaskFilter": "windlass.wire.v1_many",
    "TaskView": "windlass.wire.v1",
}


def __getattr__(name: str) -> Any:
    """Import what `name` names."""
    if name not in __all__:
        raise AttributeError(f"module 'windlass.client' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES.get(name, "windlass.client.errors")), name)
