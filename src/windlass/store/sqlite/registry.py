"""The Registry port on SQLite: the owning server, worker processes, kinds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

import msgspec

from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.core.ids import ServerId
from windlass.core.kind import Kind
from windlass.store.instants import from_micros, to_micros
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import transaction
from windlass.store.sqlite.database import DatabaseAccess
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.rows import blob_id, id_blob
from windlass.wire.codec import decode_json, encode_json


class SqliteRegistry:
    """The Registry port."""

    def __init__(self, database: DatabaseAccess) -> None:
        self._database = database

    async def enroll(self, server: ServerRow) -> None:
        """Make `server` the owner."""
        values = (id_blob(server.id), server.host, server.pid, server.version, to_micros(server.started_at))
        await self._database.write(partial(_change, sql.ENROLL, values))

    async def owner(self) -> ServerRow | None:
        """Read which server owns the store's leases."""
        return await self._database.read(_owner)

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Renew all leases of `server`; false when the store belongs to another. Sees that the file is still there."""
        await self._database.check_file()
        return await self._database.write(partial(_change, sql.BEAT, (id_blob(server), to_micros(now)))) == 1

    async def record_worker(self, worker: WorkerRow) -> None:
        """Write a worker process down."""
        await self._database.write(partial(_change, sql.RECORD_WORKER, _worker_values(worker)))

    async def forget_worker(self, worker: WorkerRow) -> None:
        """Strike a worker process."""
        await self._database.write(partial(_change, sql.FORGET_WORKER, _worker_values(worker)))

    async def workers(self) -> Sequence[WorkerRow]:
        """Read all recorded worker processes, in the order of their recording."""
        return await self._database.read(_workers)

    async def keep_kinds(self, kinds: Sequence[Kind]) -> None:
        """Insert or replace kinds; the one kept last goes first among its name."""
        await self._database.write(partial(_keep_kinds, kinds))

    async def kinds(self) -> Sequence[Kind]:
        """Read all known kinds."""
        return await self._database.read(_kinds)


def _owner(connection: Connection) -> ServerRow | None:
    row = connection.execute(sql.OWNER).fetchone()
    if row is None:
        return None
    server, host, pid, version, started_at = row
    return ServerRow(
        id=ServerId(blob_id(server)), host=host, pid=pid, version=version, started_at=from_micros(started_at)
    )


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
