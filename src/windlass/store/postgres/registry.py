"""The Registry port on PostgreSQL: leases by the database's clock, worker processes by home, kinds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, cast

import msgspec

from windlass.config.schema import Postgres
from windlass.contracts.registry import ServerLease, ServerRow, WorkerRow
from windlass.core.ids import ServerId
from windlass.core.kind import Kind
from windlass.core.limits import LEASE_TTL_S
from windlass.store.postgres import leases as sql
from windlass.store.postgres.database import DatabaseAccess
from windlass.store.postgres.driver import Connection, Record
from windlass.store.postgres.heart import Heart
from windlass.store.postgres.wakes import PostgresWakes
from windlass.wire.codec import decode_json, encode_json

_BEATS_PER_LEASE: Final = 3
"""A beat that takes longer than this part of a lease is given up, so that another can be tried within it."""

_RECORD_WORKER: Final = """-- Write a worker process down.
INSERT INTO windlass.workers (home, server, pid, started, boot) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"""

_FORGET_WORKER: Final = """-- Strike a worker process.
DELETE FROM windlass.workers WHERE server = $1 AND pid = $2 AND started = $3 AND boot = $4"""

_WORKERS: Final = """-- The worker processes of a home, in the order of their recording.
SELECT server, pid, started, boot FROM windlass.workers WHERE home = $1 ORDER BY recorded"""

_KEEP_KIND: Final = """-- Keep a kind, as the newest of its name.
INSERT INTO windlass.kinds (name, app, version, kept, definition)
VALUES ($1, $2, $3, nextval('windlass.kinds_kept'), $4)
ON CONFLICT (name, app, version) DO UPDATE SET kept = excluded.kept, definition = excluded.definition"""

_KINDS: Final = """-- All kinds, the version kept last first.
SELECT name, definition FROM windlass.kinds ORDER BY name, kept DESC"""


class PostgresRegistry:
    """The Registry port."""

    def __init__(self, database: DatabaseAccess, heart: Heart, wakes: PostgresWakes, settings: Postgres) -> None:
        self._database = database
        self._heart = heart
        self._wakes = wakes
        self._connect_s = settings.connect_s
        self._ttl_s = LEASE_TTL_S
        self._home = ""

    async def enroll(self, server: ServerRow, *, ttl_s: float) -> None:
        """Give `server` a lease under which this store claims, and end those of its home."""
        await self._database.write(partial(_enroll, server, ttl_s))
        self._database.server = server.id
        self._home = server.home
        self._ttl_s = ttl_s
        self._wakes.tell(has_news=True)

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Renew the lease of `server`, by the database's clock."""
        del now
        return await self._heart.beat(server, within_s=min(self._connect_s, self._ttl_s / _BEATS_PER_LEASE))

    async def leave(self, server: ServerId) -> None:
        """End the lease of `server`."""
        await self._database.write(partial(_run, sql.LEAVE, (server,)))
        self._wakes.tell(has_work=True, has_news=True)

    async def expire(self) -> Sequence[ServerRow]:
        """End the leases that have run out."""
        rows = await self._database.write(partial(_all, sql.EXPIRE, ()))
        if rows:
            self._wakes.tell(has_news=True)
        return [_server_of(row) for row in rows]

    async def servers(self) -> Sequence[ServerLease]:
        """Read the servers, those of late included."""
        return [_lease_of(row) for row in await self._database.read(partial(_all, sql.SERVERS, ()))]

    async def serve(self, server: ServerId, kinds: Sequence[str]) -> None:
        """Note which kinds the workers of `server` know."""
        await self._database.write(partial(_run, sql.SERVE, (server, list(kinds))))
        self._wakes.tell(has_news=True)

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down, as one of this home."""
        await self._database.write(partial(_run, _RECORD_WORKER, (self._home, *_worker_values(worker))))

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process."""
        await self._database.write(partial(_run, _FORGET_WORKER, _worker_values(worker)))

    async def workers(self, home: str) -> Sequence[WorkerRow]:
        """Read the recorded worker processes of `home`."""
        rows = await self._database.read(partial(_all, _WORKERS, (home,)))
        return [
            WorkerRow(server=ServerId(str(server)), pid=pid, started=started, boot=boot)
            for server, pid, started, boot in rows
        ]

    async def keep_kinds(self, kinds: Sequence[Kind]) -> None:
        """Insert or replace kinds; the one kept last goes first among its name."""
        definitions = [(kind, encode_json(kind).decode()) for kind in kinds]
        if _changed(definitions, await self._newest()):
            await self._database.write(partial(_keep_kinds, definitions))
            self._wakes.tell(has_news=True)

    async def kinds(self) -> Sequence[Kind]:
        """Read all known kinds."""
        return [
            msgspec.convert(decode_json(definition), Kind)
            for _, definition in await self._database.read(partial(_all, _KINDS, ()))
        ]

    async def _newest(self) -> dict[str, str]:
        return _newest_of(await self._database.read(partial(_all, _KINDS, ())))


async def _enroll(server: ServerRow, ttl_s: float, connection: Connection) -> None:
    await connection.execute(sql.END_HOME, server.home, server.id)
    values = (server.id, server.host, server.pid, server.version, server.home, server.started_at, ttl_s)
    await connection.execute(sql.ENROLL, *values)


async def _run(statement: str, values: Sequence[Any], connection: Connection) -> None:
    await connection.execute(statement, *values)


async def _all(statement: str, values: Sequence[Any], connection: Connection) -> Sequence[Record]:
    return await connection.fetch(statement, *values)


async def _keep_kinds(definitions: Sequence[tuple[Kind, str]], connection: Connection) -> None:
    """Keep those that differ from the newest of their name, which another server may have kept by now."""
    newest = _newest_of(await connection.fetch(_KINDS))
    for kind, definition in definitions:
        if newest.get(kind.name) != definition:
            await connection.execute(_KEEP_KIND, kind.name, kind.app, kind.version, definition)
            newest[kind.name] = definition


def _changed(definitions: Sequence[tuple[Kind, str]], newest: dict[str, str]) -> bool:
    return any(newest.get(kind.name) != definition for kind, definition in definitions)


def _newest_of(rows: Sequence[Record]) -> dict[str, str]:
    """Map the names of kinds to the definitions kept last."""
    return dict(cast(Iterable[tuple[str, str]], reversed(rows)))


def _server_of(row: Record) -> ServerRow:
    return ServerRow(
        id=ServerId(str(row["id"])),
        host=row["host"],
        pid=row["pid"],
        version=row["version"],
        started_at=row["started_at"],
        home=row["home"],
    )


def _lease_of(row: Record) -> ServerLease:
    return ServerLease(
        server=_server_of(row), beat_at=row["beat_at"], is_live=row["is_live"], kinds=tuple(row["kinds"])
    )


def _worker_values(worker: WorkerRow) -> tuple[str, int, int, str]:
    return (worker.server, worker.pid, worker.started, worker.boot)
