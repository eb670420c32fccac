"""The Keys port in memory: who may call, by hashes. Judges nobody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from windlass.contracts.keys import AccessKey
from windlass.errors import StoreError


class MemoryKeys:
    """The Keys port."""

    def __init__(self) -> None:
        self._keys: dict[str, AccessKey] = {}

    async def add(self, key: AccessKey) -> None:
        """Keep a new key."""
        if key.id in self._keys:
            raise StoreError(f"there is a key {key.id} already: make one with another id")
        self._keys[key.id] = key

    async def revoke(self, id: str, *, at: datetime) -> bool:  # noqa: A002
        """Revoke a key; false when there is none such."""
        key = self._keys.get(id)
        if key is not None and key.revoked_at is None:
            self._keys[id] = replace(key, revoked_at=at)
        return key is not None

    async def touch(self, used: Sequence[tuple[str, datetime]]) -> None:
        """Note when keys were last used."""
        for id_, at in used:
            key = self._keys.get(id_)
            if key is not None and (key.used_at is None or key.used_at < at):
                self._keys[id_] = replace(key, used_at=at)

    async def all(self) -> Sequence[AccessKey]:
        """Read all keys, by the time they were made."""
        return sorted(self._keys.values(), key=lambda key: (key.created_at, key.id))
