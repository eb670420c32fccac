"""The Registry port: which servers hold leases, which worker processes they have started, which kinds are known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from windlass.core.ids import ServerId
from windlass.core.kind import Kind


class ServerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One enrolment of a server.

    `home` names the data directory and the machine it is on: who holds the directory's lock knows that every other
    server of that home is gone.
    """

    id: ServerId
    host: str
    pid: int
    version: str
    started_at: datetime
    home: str = ""


class ServerLease(msgspec.Struct, frozen=True, kw_only=True):
    """A server and its lease, which holds for all attempts it runs.

    `beat_at` is its last renewal, by the store's clock; `kinds` are those its workers know.
    """

    server: ServerRow
    beat_at: datetime
    is_live: bool
    kinds: tuple[str, ...] = ()


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

    async def enroll(self, server: ServerRow, *, ttl_s: float) -> None:
        """Give `server` a lease, under which this store claims from now on, and end those of servers provably gone.

        Gone are, in a store that one server owns, all others; in one that several share, those of the same home. Where
        several share it, the lease runs out `ttl_s` after the last beat, by the store's clock alone.
        """
        ...

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Renew the lease of `server`; false when it has ended: what it ran may be another's by now.

        Concurrency: may be called from any event loop, and waits for no turn.
        """
        ...

    async def leave(self, server: ServerId) -> None:
        """End the lease of `server`, which runs nothing any more. Idempotent."""
        ...

    async def expire(self) -> Sequence[ServerRow]:
        """End the leases that have run out, by the store's clock; give whose they were."""
        ...

    async def servers(self) -> Sequence[ServerLease]:
        """Read the servers that hold a lease, and those whose lease has ended lately, by the time they began."""
        ...

    async def serve(self, server: ServerId, kinds: Sequence[str]) -> None:
        """Note which kinds the workers of `server` know, in place of those it knew before."""
        ...

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down, durably, before it gets any work."""
        ...

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process that is gone."""
        ...

    async def workers(self, home: str) -> Sequence[WorkerRow]:
        """Read the recorded worker processes, those of earlier servers included; where several servers share the store,
        those of `home` alone. Works before this server has enrolled, which ends the leases of earlier ones.
        """
        ...

    async def keep_kinds(self, kinds: Sequence[Kind]) -> None:
        """Insert or replace kinds by (name, app, version). Unchanged ones cost no write."""
        ...

    async def kinds(self) -> Sequence[Kind]:
        """Read all known kinds, by name, the version kept last first."""
        ...
