"""All worker processes of this server, as the engine sees them; see `contracts.link.Workers`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence

import msgspec

from windlass.config.schema import Settings
from windlass.contracts.link import Hear, Seat
from windlass.contracts.registry import Registry, WorkerRow
from windlass.core.ids import ServerId, Token
from windlass.core.kind import BUILTIN_APP, Isolation, Kind
from windlass.link import census
from windlass.link.guardian import Guardian
from windlass.link.pool import AppPool, PoolTools

_LOOK_EVERY_S = 1.0
_FROZEN_S = 3.0
"""A pause between two looks that shows that this server itself stood still."""


class LocalWorkers:
    """Worker processes on this machine: a pool for the built-in kinds, and one for each of the user's apps."""

    def __init__(self, settings: Settings, *, registry: Registry, server: ServerId) -> None:
        self._settings = settings
        self._registry = registry
        self._server = server
        self._pools: dict[str, AppPool] = {}
        self._places: dict[str, tuple[AppPool, Isolation]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._guardian: Guardian | None = None

    async def start(self, *, on_room: Callable[[], None], on_kinds: Callable[[str, Sequence[Kind]], None]) -> None:
        """Spawn the first worker of each app, unless this server is to have none."""
        if not self._settings.with_workers:
            return
        limits = self._settings.workers
        told = msgspec.to_builtins(self._settings.for_workers)
        self._guardian = Guardian()
        tools = PoolTools(self._registry, self._server, limits, told, self._guardian, on_room, on_kinds)
        for app in (BUILTIN_APP, *self._settings.apps):
            slots = limits.builtin_slots if app == BUILTIN_APP else limits.shared_slots
            pool = self._pools[app] = AppPool(app, shared_slots=slots, tools=tools)
            self._places |= {name: (pool, role) for role, name in pool.names.items()}
            pool.start()
        self._looking = asyncio.create_task(self._look_after())

    async def _look_after(self) -> None:
        looked_at = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            now = asyncio.get_running_loop().time()
            was_frozen, looked_at = now - looked_at > _FROZEN_S, now
            for pool in self._pools.values():
                pool.look_after(was_frozen=was_frozen)

    def slots(self) -> Mapping[str, int]:
        """Say how many slots are free now, by pool."""
        free = {name: pool.free(role) for name, (pool, role) in self._places.items()}
        return {name: count for name, count in free.items() if count > 0}

    def pools(self) -> Mapping[str, tuple[str, str]]:
        """Say for each kind of a live app its pool, and its pool when it must run solo."""
        return {kind: places for pool in self._pools.values() for kind, places in pool.places.items()}

    def take(self, pool: str, token: Token, hear: Hear) -> Seat:
        """Take a free slot."""
        app, role = self._places[pool]
        return app.take(role, token, hear)

    def problems(self) -> Sequence[str]:
        """Say why not every app has said hello."""
        if not self._pools and self._settings.with_workers:
            return ["no worker has been started yet"]
        return [pool.problem for pool in self._pools.values() if pool.problem is not None]

    async def clear(self, workers: Sequence[WorkerRow]) -> None:
        """End worker processes of an earlier server and see them gone."""
        await asyncio.to_thread(census.clear, workers)

    def kill_all(self) -> None:
        """SIGKILL the process groups of all workers."""
        for member in [member for pool in list(self._pools.values()) for member in list(pool.members)]:
            member.is_discarded = True
            member.process.signal_group(signal.SIGKILL)

    async def stop(self) -> None:
        """End all workers and see them gone."""
        if self._looking is not None:
            self._looking.cancel()
        await asyncio.gather(*(pool.stop() for pool in self._pools.values()))
        if self._guardian is not None:
            await asyncio.to_thread(self._guardian.dismiss)
