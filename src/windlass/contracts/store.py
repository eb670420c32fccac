"""The store: its ports behind one transaction, and its end."""

from __future__ import annotations

from typing import Protocol

from windlass.contracts.events import Events
from windlass.contracts.registry import Registry
from windlass.contracts.tasks import Tasks


class Store(Protocol):
    """An open store."""

    @property
    def tasks(self) -> Tasks:
        """Tasks, and the turn."""
        ...

    @property
    def events(self) -> Events:
        """The durable log."""
        ...

    @property
    def registry(self) -> Registry:
        """Servers, workers, kinds."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of everything. Idempotent."""
        ...
