"""The Registry port on SQLite: the owning server, worker processes, kinds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import msgspec
from msgspec.structs import replace

from windlass.contracts.registry import ServerLease, ServerRow, WorkerRow
from windlass.core.ids import ServerId
from windlass.core.kind import Kind
from windlass.store.instants import from_micros, to_micros
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import transaction
from windlass.store.sqlite.database import DatabaseAccess
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.rows import blob_id, id_blob
from windlass.store.tenure import Tenure
from windlass.wire.codec import decode_json, encode_json


class SqliteRegistry:
    """The Registry port."""

    def __init__(self, database: DatabaseAccess, tenure: Tenure) -> None:
        self._database = database
        self._tenure = tenure
        self._served: tuple[str, ...] = ()

    async def enroll(self, server: ServerRow, *, ttl_s: float) -> None:
        """Give `server` the only lease; it does not run out."""
        del ttl_s
        values = (id_blob(server.id), server.host, server.pid, server.version, to_micros(server.started_at))
        await self._database.write(partial(_change, sql.ENROLL, values))
        self._served = ()
        self._tenure.begin()

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Renew the lease of `server`; false when the store belongs to another. Sees that the file is still there."""
        await self._database.check_file()
        return await self._database.write(partial(_change, sql.BEAT, (id_blob(server), to_micros(now)))) == 1

    async def leave(self, server: ServerId) -> None:
        """Do nothing: the lease ends with the hold on the directory, or where the next server enrolls."""

    async def expire(self) -> Sequence[ServerRow]:
        """End none: the only server's lease does not run out."""
        return []

    async def servers(self) -> Sequence[ServerLease]:
        """Read the only server."""
        lease = await self._database.read(_lease)
        return [] if lease is None else [replace(lease, kinds=self._served)]

    async def serve(self, server: ServerId, kinds: Sequence[str]) -> None:
        """Note which kinds the workers of `server` know; for as long as this store is open, as nobody else asks."""
        if any(lease.server.id == server for lease in await self.servers()):
            self._served = tuple(kinds)

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down."""
        await self._database.write(partial(_change, sql.RECORD_WORKER, _worker_values(worker)))

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process."""
        await self._database.write(partial(_change, sql.FORGET_WORKER, _worker_values(worker)))

    async def workers(self, home: str) -> Sequence[WorkerRow]:
        """Read all recorded worker processes, in the order of their recording: there is one home."""
        del home
        return await self._database.read(_workers)

    async def keep_kinds(self, kinds: Sequence[Kind]) -> None:
        """Insert or replace kinds; the one kept last goes first among its name."""
        await self._database.write(partial(_keep_kinds, kinds))

    async def kinds(self) -> Sequence[Kind]:
        """Read all known kinds."""
        return await self._database.read(_kinds)


def _lease(connection: Connection) -> ServerLease | None:
    row = connection.execute(sql.OWNER).fetchone()
    if row is None:
        return None
    server, host, pid, version, started_at, beat_at = row
    owner = ServerRow(
        id=ServerId(blob_id(server)), host=host, pid=pid, version=version, started_at=from_micros(started_at)
    )
    return ServerLease(server=owner, beat_at=from_micros(beat_at), is_live=True)


def _worker_values(worker: WorkerRow) -> Row:
    return (id_blob(worker.server), worker.pid, worker.started, worker.boot)


def _change(statement: str, values: Row, connection: Connection) -> int:
    """Run one statement in a transaction; say how many rows it changed."""
    with transaction(connection):
        connection.execute(statement, values)
        return connection.changes()


def _workers(connection: Connection) -> Sequence[WorkerRow]:
    return [
        WorkerRow(server=ServerId(blob_id(server)), pid=pid, started=started, boot=boot)
        for server, pid, started, boot in connection.execute(sql.WORKERS)
    ]


def _keep_kinds(kinds: Sequence[Kind], connection: Connection) -> None:
    with transaction(connection):
        for kind in kinds:
            definition = encode_json(kind).decode()
            if connection.execute(sql.LAST_KIND, (kind.name,)).fetchone() != (definition,):
                connection.execute(sql.KEEP_KIND, (kind.name, kind.app, kind.version, definition))


def _kinds(connection: Connection) -> Sequence[Kind]:
    return [msgspec.convert(decode_json(definition), Kind) for (definition,) in connection.execute(sql.KINDS)]
