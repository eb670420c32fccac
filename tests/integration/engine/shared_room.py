"""Several engines on one PostgreSQL database, each with a data directory of its own, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from inner import PATIENCE_S, Inner, engine_in

from windlass.config.schema import Lease
from windlass.contracts.store import Store
from windlass.contracts.tasks import Turn, Wanted, Write

QUICK = Lease(ttl_s=3.0, margin_s=0.5)
"""A lease that runs out while a test waits, and is long enough for a busy machine."""

Join = Callable[..., Awaitable[Inner]]
"""Starts one more engine on the database; its arguments are settings."""


@contextlib.asynccontextmanager
async def shared_engines(url: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Join]:
    """Give what starts one more engine on the database at `url`, and stop them all at the end."""
    async with contextlib.AsyncExitStack() as stack:
        count = 0

        async def join(**settings: Any) -> Inner:
            nonlocal count
            count += 1
            (home := directory / f"server{count}").mkdir()
            starting = engine_in(home, database=url, monkeypatch=monkeypatch, **settings)
            return await stack.enter_async_context(starting)

        yield join


async def eventually(holds: Callable[[], Awaitable[Any]], what: str, *, within_s: float = PATIENCE_S) -> Any:
    """Look until `holds()` is true, and give what it gave."""
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + within_s
    while not (value := await holds()):
        assert loop.time() < give_up_at, f"waited {within_s:g} s until {what}"
        await asyncio.sleep(0.02)
    return value


class Between:
    """A real store of which single calls pass through what a test says; everything else is the store's own."""

    def __init__(self, store: Store, **calls: Callable[..., Any]) -> None:
        self._store = store
        self._calls = calls
        self.tasks, self.registry = _Port(store.tasks, calls), _Port(store.registry, calls)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _Port:
    def __init__(self, port: Any, calls: dict[str, Callable[..., Any]]) -> None:
        self._port = port
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._port, name)
        instead = self._calls.get(name)
        if instead is None:
            return real
        return lambda *values, **options: instead(real, *values, **options)


RealTurn = Callable[..., Awaitable[Turn]]
Writes = list[Write]
__all__ = ["QUICK", "Between", "Join", "RealTurn", "Wanted", "Writes", "eventually", "shared_engines"]
