"""A server that comes back to its home on a shared database: what it waits for before the earlier lease ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from live import is_alive
from postgres import database

from windlass.config.schema import Settings
from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.engine.clock import SystemClock, SystemIds
from windlass.engine.engine import Engine, EngineParts
from windlass.link.census import identify
from windlass.link.workers import LocalWorkers
from windlass.store.open import open_store

pytestmark = pytest.mark.anyio


async def test_the_lease_of_the_earlier_server_ends_only_once_its_workers_are_seen_gone(tmp_path: Path) -> None:
    clock, ids, settings = SystemClock(), SystemIds(), Settings(with_workers=False)
    with database() as url:
        earlier = await open_store(url, data=tmp_path, ids=ids)
        row = ServerRow(id=ids.server_id(), host="h", pid=1, version="0", started_at=clock.now(), home="here")
        await earlier.registry.enroll(row, ttl_s=30.0)
        left = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
        await earlier.registry.record_worker(identify(left.pid, row.id))
        seen: list[tuple[bool, bool]] = []

        class Watched(LocalWorkers):
            async def clear(self, workers: Sequence[WorkerRow]) -> None:
                await super().clear(workers)
                seen.append((is_alive(left.pid), await earlier.registry.beat(row.id, now=clock.now())))

        store = await open_store(url, data=tmp_path, ids=ids)
        server = ids.server_id()
        workers = Watched(settings, registry=store.registry, server=server)
        parts = EngineParts(store, workers, clock, ids, server, str(tmp_path / "files"), home="here")
        engine = Engine(settings, parts, version="test")
        try:
            await engine.start()
            assert seen == [(False, True)]
            assert not await earlier.registry.beat(row.id, now=clock.now())
            assert await store.registry.workers("here") == []
        finally:
            await engine.stop()
            await store.close()
            await earlier.close()
            await left.wait()
