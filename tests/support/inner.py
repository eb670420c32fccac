"""An engine with a real store and real workers, in this process: what the server runs, without its HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from handlers_zoo import ZOO

from windlass.config.schema import Settings, Workers
from windlass.contracts.engine_api import Submission
from windlass.contracts.store import Store
from windlass.core.state import State
from windlass.core.task import Task
from windlass.engine.clock import SystemClock, SystemIds
from windlass.engine.engine import Engine, EngineParts
from windlass.link.workers import LocalWorkers
from windlass.store.open import open_store

PATIENCE_S = 15.0
"""A limit on hanging, not a measure of speed."""


class Inner:
    """A started engine, and what tests ask of it."""

    def __init__(self, engine: Engine, store: Store, workers: LocalWorkers) -> None:
        self.engine = engine
        self.store = store
        self.workers = workers

    async def submit(self, kind: str, payload: dict[str, Any] | None = None, **options: Any) -> Task:
        return (await self.engine.submit(Submission(kind=kind, payload=payload or {}, **options))).task

    async def until(self, task: Task, *states: State) -> Task:
        """Wait until the task is in one of `states` (by default: has ended)."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                now = await self.engine.get(task.number)
                if now.state in states or (not states and now.state.has_ended):
                    return now
                await self.engine.wait_for_change(task.number, version=now.version, timeout_s=PATIENCE_S)

    async def until_progress(self, task: Task) -> Task:
        """Wait until the handler has reported progress."""
        async with asyncio.timeout(PATIENCE_S):
            while (now := await self.engine.get(task.number)).progress is None:
                await self.engine.wait_for_change(task.number, version=now.version, timeout_s=PATIENCE_S)
            return now

    async def history(self, task: Task) -> list[str]:
        return [str(event.name) for event in await self.store.events.history(task.number)]


@contextlib.asynccontextmanager
async def engine_in(
    directory: Path,
    *,
    database: str = "sqlite",
    monkeypatch: Any,
    app: str = ZOO,
    wrap: Callable[[Store], Store] = lambda store: store,
    **settings: Any,
) -> AsyncIterator[Inner]:
    """Start an engine on `database` with the zoo (or `app`) as its app, and stop it at the end.

    `wrap` may put something between the engine and its store.
    """
    (directory / "zoo_tasks.py").write_text(app)
    monkeypatch.chdir(directory)
    chosen = Settings(apps=["zoo_tasks:app"], workers=settings.pop("workers", Workers()), **settings)
    clock, ids = SystemClock(), SystemIds()
    store = wrap(await open_store(database, data=directory, ids=ids, postgres=chosen.postgres))
    server = ids.server_id()
    workers = LocalWorkers(chosen, registry=store.registry, server=server)
    engine = Engine(chosen, EngineParts(store, workers, clock, ids, server, str(directory / "files")), version="test")
    try:
        await engine.start()
        async with asyncio.timeout(PATIENCE_S):
            while (problems := workers.problems()) and not any("cannot be used" in problem for problem in problems):
                await asyncio.sleep(0.01)
        yield Inner(engine, store, workers)
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await engine.stop()
        await store.close()
