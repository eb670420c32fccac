"""The Keys port on SQLite: who may call, by hashes. Judges nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from windlass.contracts.keys import AccessKey
from windlass.store.instants import from_micros, to_micros
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import transaction
from windlass.store.sqlite.database import DatabaseAccess
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.rows import instant, optional_micros
from windlass.wire.codec import decode_json, encode_json


class SqliteKeys:
    """The Keys port."""

    def __init__(self, database: DatabaseAccess) -> None:
        self._database = database

    async def add(self, key: AccessKey) -> None:
        """Keep a new key, durably."""
        await self._database.write(partial(_change, sql.ADD_KEY, [_key_row(key)]))

    async def revoke(self, id: str, *, at: datetime) -> bool:  # noqa: A002
        """Revoke a key; false when there is none such."""
        return await self._database.write(partial(_change, sql.REVOKE_KEY, [(id, to_micros(at))])) == 1

    async def touch(self, used: Sequence[tuple[str, datetime]]) -> None:
        """Note when keys were last used."""
        await self._database.write(partial(_change, sql.TOUCH_KEY, [(id, to_micros(at)) for id, at in used]))  # noqa: A001

    async def all(self) -> Sequence[AccessKey]:
        """Read all keys, by the time they were made."""
        return await self._database.read(_keys)


def _key_row(key: AccessKey) -> Row:
    scopes = encode_json(key.scopes).decode()
    instants = (to_micros(key.created_at), optional_micros(key.revoked_at), optional_micros(key.used_at))
    return (key.id, key.name, key.digest, scopes, *instants)


def _change(statement: str, rows: Sequence[Row], connection: Connection) -> int:
    """Run one statement for each of `rows` in a transaction; say how many rows it changed."""
    with transaction(connection):
        before = connection.total_changes()
        connection.executemany(statement, rows)
        return connection.total_changes() - before


def _keys(connection: Connection) -> Sequence[AccessKey]:
    return [
        AccessKey(
            id=id_,
            name=name,
            digest=digest,
            scopes=tuple(decode_json(scopes)),
            created_at=from_micros(created_at),
            revoked_at=instant(revoked_at),
            used_at=instant(used_at),
        )
        for id_, name, digest, scopes, created_at, revoked_at, used_at in connection.execute(sql.KEYS)
    ]
