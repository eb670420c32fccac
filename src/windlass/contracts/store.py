"""The store: its ports behind one transaction, and its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol

import msgspec

from windlass.contracts.events import Events
from windlass.contracts.keys import Keys
from windlass.contracts.registry import Registry
from windlass.contracts.tasks import Tasks
from windlass.contracts.wakes import Wakes


class StoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a store stands. Sizes in bytes; None where the store does not know.

    `has_room` is false when it has no space for anything but the ends of attempts.
    """

    kind: str
    place: str | None
    schema: int
    library: str
    size_bytes: int | None
    log_bytes: int | None
    has_room: bool


class Store(Protocol):
    """An open store."""

    @property
    def tasks(self) -> Tasks:
        """Tasks, and the turn."""
        ...

    @property
    def events(self) -> Events:
        """The durable log."""
        ...

    @property
    def registry(self) -> Registry:
        """Servers, workers, kinds."""
        ...

    @property
    def keys(self) -> Keys:
        """Who may call."""
        ...

    @property
    def wakes(self) -> Wakes:
        """Who else writes here."""
        ...

    async def status(self) -> StoreStatus:
        """Say how the store stands."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of everything. Idempotent."""
        ...


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a store is made of, for people. Sizes in bytes; None where the store has no such thing.

    `oldest_ended_at` is when the task ended that goes next.
    """

    place: str
    schema: int
    library: str
    size_bytes: int
    log_bytes: int | None
    reserve_bytes: int | None
    oldest_ended_at: datetime | None


class Snapshot(Protocol):
    """A store as it stood at one moment, for somebody who does not own it. Its ports refuse to write."""

    @property
    def tasks(self) -> Tasks:
        """Tasks."""
        ...

    @property
    def events(self) -> Events:
        """The durable log."""
        ...

    @property
    def registry(self) -> Registry:
        """Servers, workers, kinds."""
        ...

    async def refresh(self) -> None:
        """Move on to the present moment."""
        ...

    async def facts(self) -> StoreFacts:
        """Say what the store is made of."""
        ...

    def faults(self) -> AsyncIterator[str]:
        """Have the medium checked, and give what is wrong with it, in words."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...
