"""The Registry port: which server owns the store, which worker processes it started, which kinds are known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from windlass.core.ids import ServerId
from windlass.core.kind import Kind


class ServerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a server."""

    id: ServerId
    host: str
    pid: int
    version: str
    started_at: datetime


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process, as it must be known to end it after its server is gone.

    `started` is the kernel's start time of the process (clock ticks since boot): a pid alone may be somebody else's
    by now. `boot` names the boot it was counted from.
    """

    server: ServerId
    pid: int
    started: int
    boot: str


class Registry(Protocol):
    """Servers, workers and kinds in a store."""

    async def enroll(self, server: ServerRow) -> None:
        """Make `server` the one that owns the store's leases from now on."""
        ...

    async def owner(self) -> ServerRow | None:
        """Read which server owns the store's leases: the last one that enrolled; None when none ever has."""
        ...

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Renew all leases of `server` at once; false when the store belongs to another by now."""
        ...

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down, durably, before it gets any work."""
        ...

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process that is gone."""
        ...

    async def workers(self) -> Sequence[WorkerRow]:
        """Read all recorded worker processes, those of earlier servers included."""
        ...

    async def keep_kinds(self, kinds: Sequence[Kind]) -> None:
        """Insert or replace kinds by (name, app, version). Unchanged ones cost no write."""
        ...

    async def kinds(self) -> Sequence[Kind]:
        """Read all known kinds, by name, the version kept last first."""
        ...
