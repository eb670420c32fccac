"""windlass takes long work over HTTP, keeps it safely, and runs it on a bounded pool of workers.

The public names; nothing else. They are loaded when first used: a worker needs no client, a client no handlers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from windlass.app.app import App
    from windlass.app.context import AsyncContext, Context
    from windlass.app.signals import Fail, Retry, Snooze
    from windlass.client import Client, TaskHandle
    from windlass.core.backoff import RetryPolicy
    from windlass.errors import WindlassError

__version__ = "0.1.0"

__all__ = [
    "App",
    "AsyncContext",
    "Client",
    "Context",
    "Fail",
    "Retry",
    "RetryPolicy",
    "Snooze",
    "TaskHandle",
    "WindlassError",
    "__version__",
]

_HOMES = {
    "App": "windlass.app.app",
    "AsyncContext": "windlass.app.context",
    "Client": "windlass.client",
    "Context": "windlass.app.context",
    "Fail": "windlass.app.signals",
    "Retry": "windlass.app.signals",
    "RetryPolicy": "windlass.core.backoff",
    "Snooze": "windlass.app.signals",
    "TaskHandle": "windlass.client",
    "WindlassError": "windlass.errors",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"windlass has no public name '{name}'")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
