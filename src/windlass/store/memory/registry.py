"""The Registry port in memory: the owning server, worker processes, kinds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.core.ids import ServerId
from windlass.core.kind import Kind


class MemoryRegistry:
    """The Registry port."""

    def __init__(self) -> None:
        self._owner: ServerRow | None = None
        self._workers: dict[WorkerRow, None] = {}
        self._kinds: dict[tuple[str, str, str], Kind] = {}

    async def enroll(self, server: ServerRow) -> None:
        """Make `server` the owner."""
        self._owner = server

    async def owner(self) -> ServerRow | None:
        """Read which server owns the store's leases."""
        return self._owner

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Say whether the store still belongs to `server`; `now` is of no use to a store that nobody else can see."""
        del now
        return self._owner is not None and server == self._owner.id

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down."""
        self._workers[worker] = None

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process."""
        self._workers.pop(worker, None)

    async def workers(self) -> Sequence[WorkerRow]:
        """Read all recorded worker processes, in the order of their recording."""
        return list(self._workers)

    async def keep_kinds(self, kinds: Sequence[Kind]) -> None:
        """Insert or replace kinds; the one kept last goes first among its name."""
        for kind in kinds:
            key = (kind.name, kind.app, kind.version)
            self._kinds.pop(key, None)
            self._kinds[key] = kind

    async def kinds(self) -> Sequence[Kind]:
        """Read all known kinds."""
        newest_first = list(reversed(self._kinds.values()))
        return sorted(newest_first, key=lambda kind: kind.name)
