"""The Registry port in memory: the only server, worker processes, kinds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from windlass.contracts.registry import ServerLease, ServerRow, WorkerRow
from windlass.core.ids import ServerId
from windlass.core.kind import Kind
from windlass.store.tenure import Tenure


class MemoryRegistry:
    """The Registry port."""

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure
        self._lease: ServerLease | None = None
        self._workers: dict[WorkerRow, None] = {}
        self._kinds: dict[tuple[str, str, str], Kind] = {}

    async def enroll(self, server: ServerRow, *, ttl_s: float) -> None:
        """Give `server` the only lease; it does not run out."""
        del ttl_s
        self._lease = ServerLease(server=server, beat_at=server.started_at, is_live=True)
        self._tenure.begin()

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Renew the lease of `server`."""
        if self._lease is None or not self._is_held_by(server):
            return False
        self._lease = replace(self._lease, beat_at=now)
        return True

    async def leave(self, server: ServerId) -> None:
        """End the lease of `server`."""
        if self._lease is not None and self._is_held_by(server):
            self._lease = replace(self._lease, is_live=False)

    async def expire(self) -> Sequence[ServerRow]:
        """End none: the only server's lease does not run out."""
        return []

    async def servers(self) -> Sequence[ServerLease]:
        """Read the only server."""
        return [] if self._lease is None else [self._lease]

    async def serve(self, server: ServerId, kinds: Sequence[str]) -> None:
        """Note which kinds the workers of `server` know."""
        if self._lease is not None and self._is_held_by(server):
            self._lease = replace(self._lease, kinds=tuple(kinds))

    def _is_held_by(self, server: ServerId) -> bool:
        return self._lease is not None and self._lease.is_live and self._lease.server.id == server

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down."""
        self._workers[worker] = None

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process."""
        self._workers.pop(worker, None)

    async def workers(self, home: str) -> Sequence[WorkerRow]:
        """Read all recorded worker processes, in the order of their recording: there is one home."""
        del home
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
