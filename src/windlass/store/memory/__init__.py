"""The store without a disk: everything a store does, and nothing of it outlives the process.

Not a mock: it claims, refuses and remembers exactly as the others do, which the contract suite proves.
"""

from windlass.store.memory.registry import MemoryRegistry
from windlass.store.memory.store import MemoryStore
from windlass.store.memory.tasks import MemoryTasks

__all__ = ["MemoryRegistry", "MemoryStore", "MemoryTasks"]
