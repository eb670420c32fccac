"""The Events port: the durable log that every state change appends one line to, in its own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from windlass.core.task import Event


class Events(Protocol):
    """Read access; only a turn writes events."""

    async def history(self, number: int, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of one task, rising by ordinal from above `after`."""
        ...

    async def log(self, *, after: int = 0, limit: int = 1_000) -> Sequence[Event]:
        """Read the events of all tasks, rising by seq from above `after`."""
        ...
