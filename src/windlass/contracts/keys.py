"""The Keys port: who may call this server. Holds hashes, never a secret."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key to the API. `id` is its public part, `digest` the SHA-256 of its secret, `scopes` what it allows."""

    id: str
    name: str
    digest: bytes
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None = None
    used_at: datetime | None = None


class Keys(Protocol):
    """Keys in a store, revoked ones included: few, and read whole."""

    async def add(self, key: AccessKey) -> None:
        """Keep a new key, durably."""
        ...

    async def revoke(self, id: str, *, at: datetime) -> bool:  # noqa: A002
        """Revoke a key, durably; false when there is none such. Applied again: its first time stays."""
        ...

    async def touch(self, used: Sequence[tuple[str, datetime]]) -> None:
        """Note when keys were last used; said now and then, not with every use."""
        ...

    async def all(self) -> Sequence[AccessKey]:
        """Read all keys, by the time they were made."""
        ...
