"""The Keys port on PostgreSQL: who may call, by hashes. Judges nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from windlass.contracts.keys import AccessKey
from windlass.store.postgres.database import DatabaseAccess
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.wakes import PostgresWakes

_ADD: Final = """-- Keep a new key.
INSERT INTO windlass.keys (id, name, digest, scopes, created_at, revoked_at, used_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)"""

_REVOKE: Final = """-- Revoke a key; its first time stays.
UPDATE windlass.keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1"""

_TOUCH: Final = """-- Note when keys were last used, by whichever server.
UPDATE windlass.keys SET used_at = greatest(used_at, used.at)
FROM unnest($1::text[], $2::timestamptz[]) AS used (id, at) WHERE keys.id = used.id"""

_KEYS: Final = """-- All keys, by the time they were made.
SELECT id, name, digest, scopes, created_at, revoked_at, used_at FROM windlass.keys ORDER BY created_at, id"""


class PostgresKeys:
    """The Keys port."""

    def __init__(self, database: DatabaseAccess, wakes: PostgresWakes) -> None:
        self._database = database
        self._wakes = wakes

    async def add(self, key: AccessKey) -> None:
        """Keep a new key, durably."""
        instants = (key.created_at, key.revoked_at, key.used_at)
        values = (key.id, key.name, key.digest, list(key.scopes), *instants)
        await self._database.write(partial(_change, _ADD, values))
        self._wakes.tell(has_news=True)

    async def revoke(self, id: str, *, at: datetime) -> bool:  # noqa: A002
        """Revoke a key; false when there is none such."""
        is_there = await self._database.write(partial(_change, _REVOKE, (id, at)))
        self._wakes.tell(has_news=True)
        return is_there

    async def touch(self, used: Sequence[tuple[str, datetime]]) -> None:
        """Note when keys were last used."""
        values = ([id_ for id_, _ in used], [at for _, at in used])
        await self._database.write(partial(_change, _TOUCH, values))

    async def all(self) -> Sequence[AccessKey]:
        """Read all keys, by the time they were made."""
        return await self._database.read(_keys)


async def _change(statement: str, values: Sequence[Any], connection: Connection) -> bool:
    """Run one statement; say whether it changed anything."""
    tag = await connection.execute(statement, *values)
    return not tag.endswith(" 0")


async def _keys(connection: Connection) -> Sequence[AccessKey]:
    return [
        AccessKey(
            id=id_,
            name=name,
            digest=digest,
            scopes=tuple(scopes),
            created_at=created_at,
            revoked_at=revoked_at,
            used_at=used_at,
        )
        for id_, name, digest, scopes, created_at, revoked_at, used_at in await connection.fetch(_KEYS)
    ]
