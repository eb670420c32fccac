"""The open store: ties its ports together, no more."""

from __future__ import annotations

import platform

from windlass.contracts.clock import Ids
from windlass.contracts.store import StoreStatus
from windlass.store.memory.events import MemoryEvents
from windlass.store.memory.keys import MemoryKeys
from windlass.store.memory.registry import MemoryRegistry
from windlass.store.memory.tasks import MemoryTasks
from windlass.store.tenure import Tenure
from windlass.store.wakes import NoWakes


class MemoryStore:
    """A store of dictionaries."""

    def __init__(self, ids: Ids) -> None:
        self.events = MemoryEvents()
        tenure = Tenure()
        self.tasks = MemoryTasks(ids, self.events, tenure)
        self.registry = MemoryRegistry(tenure)
        self.wakes = NoWakes()
        self.keys = MemoryKeys()

    async def status(self) -> StoreStatus:
        """Say what it is; of its size it knows nothing."""
        return StoreStatus(
            kind="memory",
            place=None,
            schema=0,
            library=f"Python {platform.python_version()}",
            size_bytes=None,
            log_bytes=None,
            has_room=True,
        )

    async def close(self) -> None:
        """Take no more turns. Idempotent."""
        self.tasks.close()
