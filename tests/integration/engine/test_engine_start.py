"""What an engine says of itself before and after it is ready, and how it takes a store over."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from handlers_zoo import ZOO
from inner import engine_in
from live import command_of, is_alive, until
from msgspec.structs import replace
from stores import DURABLE, fresh_store

from windlass.config.schema import Settings
from windlass.contracts.engine_api import Submission
from windlass.contracts.registry import ServerRow
from windlass.contracts.tasks import Submit, Wanted
from windlass.core.state import Reason, State
from windlass.core.task import NewTask
from windlass.engine.clock import SystemClock, SystemIds
from windlass.engine.engine import Engine, EngineParts
from windlass.errors import InputError, NotReadyError
from windlass.link.census import identify
from windlass.link.workers import LocalWorkers
from windlass.store.open import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DURABLE)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with fresh_store(request.param) as database:
        yield database


async def test_a_kind_is_not_called_unknown_before_every_app_has_said_hello(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
):
    (tmp_path / "zoo_tasks.py").write_text(ZOO)
    monkeypatch.chdir(tmp_path)
    clock, ids = SystemClock(), SystemIds()
    store = await open_store(database, data=tmp_path, ids=ids)
    server = ids.server_id()
    settings = Settings(apps=["zoo_tasks:app"])
    workers = LocalWorkers(settings, registry=store.registry, server=server)
    engine = Engine(settings, EngineParts(store, workers, clock, ids, server, str(tmp_path)), version="test")
    hello = Submission(kind="hello", payload={"name": "x"})
    try:
        with pytest.raises(NotReadyError):
            await engine.submit(hello)
        assert not engine.health().is_ready
        await engine.start()
        with pytest.raises(NotReadyError):
            await engine.submit(hello)
        async with asyncio.timeout(15):
            while not engine.health().is_ready:
                await asyncio.sleep(0.01)
        assert (await engine.submit(hello)).task.state is State.QUEUED
        with pytest.raises(InputError):
            await engine.submit(Submission(kind="nobody_has_this", payload={}))
    finally:
        await engine.stop()
        await store.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # a store that is shared waits for the lease
async def test_what_an_earlier_server_left_running_is_handed_back_once_its_workers_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
):
    clock, ids = SystemClock(), SystemIds()
    store = await open_store(database, data=tmp_path, ids=ids)
    earlier = ids.server_id()
    await store.registry.enroll(ServerRow(id=earlier, host="h", pid=1, version="0", started_at=clock.now()), ttl_s=30.0)
    now = clock.now()
    new = NewTask(id=ids.task_id(), kind="hello", queue="default", payload=b'{"name":"x"}', created_at=now, run_at=now)
    wanted = Wanted(slots={"p": 1}, pools={"hello": ("p", "p")})
    turn = await store.tasks.turn([Submit(new)], wanted, now=now)
    assert turn.claimed[0].task.attempt == 1
    left = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    await store.registry.record_worker(identify(left.pid, earlier))
    await store.close()

    async with engine_in(tmp_path, database=database, monkeypatch=monkeypatch) as inner:
        assert not is_alive(left.pid)
        ended = await inner.until(turn.claimed[0].task)
        assert (ended.state, ended.attempt, ended.charged) == (State.SUCCEEDED, 2, 1)
        assert await inner.history(ended) == ["submitted", "started", "interrupted", "started", "succeeded"]
        assert all(row.server != earlier for row in await inner.store.registry.workers(inner.engine._home))
    await left.wait()


async def test_a_recorded_pid_that_is_somebody_elses_by_now_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
):
    ids = SystemIds()
    store = await open_store(database, data=tmp_path, ids=ids)
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    row = identify(stranger.pid, ids.server_id())
    await store.registry.record_worker(replace(row, started=row.started - 1))
    await store.close()
    async with engine_in(tmp_path, database=database, monkeypatch=monkeypatch) as inner:
        assert is_alive(stranger.pid)
        assert all(kept.pid != stranger.pid for kept in await inner.store.registry.workers(inner.engine._home))
    stranger.kill()
    await stranger.wait()


async def test_an_app_that_cannot_be_imported_is_told_and_its_tasks_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
):
    async with engine_in(tmp_path, database=database, monkeypatch=monkeypatch) as inner:
        task = await inner.submit("hello", {"name": "x"}, delay_s=3600.0)
    (tmp_path / "zoo_tasks.py").write_text("import a_module_nobody_has")
    clock, ids = SystemClock(), SystemIds()
    store = await open_store(database, data=tmp_path, ids=ids)
    server = ids.server_id()
    settings = Settings(apps=["zoo_tasks:app"])
    workers = LocalWorkers(settings, registry=store.registry, server=server)
    engine = Engine(settings, EngineParts(store, workers, clock, ids, server, str(tmp_path)), version="test")
    try:
        await engine.start()
        async with asyncio.timeout(15):
            while "a_module_nobody_has" not in str(engine.health().problems):
                await asyncio.sleep(0.01)
        assert not engine.health().is_ready
        again = (await engine.submit(Submission(kind="hello", payload={"name": "y"}))).task
        assert engine.waiting(again) == "no_worker"
        assert (await engine.get(task.id)).state is State.QUEUED
    finally:
        await engine.stop()
        await store.close()


async def test_a_worker_that_is_killed_from_outside_is_replaced_and_its_attempt_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
):
    async with engine_in(tmp_path, database=database, monkeypatch=monkeypatch) as inner:
        task = await inner.submit("sleep", {"seconds": 0.5})
        other = await inner.submit("sleep", {"seconds": 0.6})
        await inner.until_progress(task)
        await inner.until_progress(other)
        zoo = [row for row in await inner.store.registry.workers(inner.engine._home) if "zoo" in command_of(row.pid)]
        shared = min(zoo, key=lambda row: row.started)  # the first one becomes it; a spare solo worker came later
        os.kill(shared.pid, signal.SIGKILL)
        for each in (task, other):
            ended = await inner.until(each)
            assert (ended.state, ended.attempt, ended.charged, ended.lost) == (State.SUCCEEDED, 2, 1, 0)
            assert ended.solo
        events = await inner.store.events.history(task.number)
        assert [event.reason for event in events if event.name == "interrupted"] == [Reason.INTERRUPTED]
        until(lambda: inner.engine.health().is_ready, "a new worker is there")
