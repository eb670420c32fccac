"""What is asked of one server, run by another and watched at a third: nobody can tell how many there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from postgres import database
from shared_room import QUICK, Join, eventually, shared_engines

from windlass.config.schema import Postgres
from windlass.contracts.engine_api import QueueChange
from windlass.contracts.registry import ServerRow
from windlass.contracts.tasks import Submit, Wanted
from windlass.core.state import State
from windlass.core.task import NewTask
from windlass.core.waiting import Waiting
from windlass.engine.clock import SystemClock, SystemIds
from windlass.store.open import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Join]:
    with database() as url:
        async with shared_engines(url, tmp_path, monkeypatch) as join:
            yield join


async def test_a_task_is_taken_at_one_server_run_at_another_and_waited_for_at_a_third(join: Join) -> None:
    await join()
    front, third = await join(with_workers=False), await join(with_workers=False)
    assert front.engine.health().is_ready
    task = await front.submit("hello", {"name": "you"})
    ended = await third.engine.wait_for_end(task.id, timeout_s=10.0)
    assert (ended.state, await third.engine.result(ended)) == (State.SUCCEEDED, b'"hello you"')


async def test_a_wait_for_a_change_sees_what_another_server_has_changed(join: Join) -> None:
    worker, front = await join(), await join(with_workers=False)
    task = await front.submit("sleep", {"seconds": 600.0})
    running = await front.until(task, State.RUNNING)
    waiting = asyncio.create_task(
        front.engine.wait_for_change(task.number, version=(await front.until_progress(running)).version, timeout_s=10.0)
    )
    await asyncio.sleep(0)
    await worker.engine.cancel(task.number)
    assert (await waiting).cancel_requested_at is not None
    assert (await front.until(task)).state is State.CANCELLED


async def test_a_cancel_at_one_server_stops_the_handler_at_another(join: Join) -> None:
    await join()
    front, third = await join(with_workers=False), await join(with_workers=False)
    task = await front.submit("sleep", {"seconds": 600.0})
    await front.until_progress(task)
    asked = await third.engine.cancel(task.id, reason="too slow")
    assert asked.state is State.RUNNING
    ended = await front.engine.wait_for_end(task.id, timeout_s=8.0)
    assert (ended.state, ended.cancel_outcome, ended.cancel_reason) == (State.CANCELLED, "stopped", "too slow")


async def test_servers_that_cannot_wake_each_other_look_for_themselves(join: Join) -> None:
    alone = Postgres(notify=False)
    worker, front = await join(postgres=alone), await join(with_workers=False, postgres=alone)
    task = await worker.submit("sleep", {"seconds": 600.0})
    running = await front.until(task, State.RUNNING)
    waiting = asyncio.create_task(front.engine.wait_for_end(running.id, timeout_s=10.0))
    await asyncio.sleep(0)
    await front.engine.cancel(task.id)
    async with asyncio.timeout(6):  # long before it would look again by itself
        assert (await waiting).state is State.CANCELLED
    idle = await front.submit("hello", {"name": "you"})
    assert (await front.engine.wait_for_end(idle.id, timeout_s=4.0)).state is State.SUCCEEDED


async def test_kinds_of_another_server_are_known_and_live_as_long_as_it_serves_them(join: Join) -> None:
    front = await join(with_workers=False)
    assert not await front.engine.kinds()
    worker = await join()

    async def live_kinds() -> set[str]:
        return {status.kind.name for status in await front.engine.kinds() if status.is_live}

    async def all_live() -> bool:
        return {"hello", "simulate"} <= await live_kinds()

    await eventually(all_live, "the front has heard of the kinds of both apps")
    await worker.engine.drain()
    await worker.engine.stop()

    async def none_live() -> bool:
        return not await live_kinds()

    await eventually(none_live, "the front has heard that they are gone")
    task = await front.submit("hello", {"name": "later"})
    assert front.engine.waiting(task) is Waiting.NO_WORKER


async def test_a_queue_that_one_server_has_paused_is_paused_at_all(join: Join) -> None:
    worker, front = await join(), await join(with_workers=False)
    await front.engine.set_queue("default", QueueChange(is_paused=True))
    task = await front.submit("hello", {"name": "you"})

    async def is_told() -> bool:
        return worker.engine.waiting(task) is Waiting.PAUSED

    await eventually(is_told, "the other server knows of the pause")
    await worker.engine.set_queue("default", QueueChange(is_paused=False))
    assert (await front.until(task)).state is State.SUCCEEDED


async def test_what_runs_at_another_server_counts_against_the_limit_that_a_task_waits_for(join: Join) -> None:
    await join()
    front = await join(with_workers=False)
    await front.engine.set_queue("default", QueueChange(concurrency=1))
    running = await front.submit("sleep", {"seconds": 600.0})
    await front.until(running, State.RUNNING)
    task = await front.submit("hello", {"name": "you"})

    async def waits_for_the_limit() -> bool:
        return front.engine.waiting(await front.engine.get(task.id)) is Waiting.LIMIT

    await eventually(waits_for_the_limit, "the front has counted what runs elsewhere")
    await front.engine.cancel(running.id)
    assert (await front.until(task)).state is State.SUCCEEDED


async def test_what_a_server_that_is_silent_for_its_lease_has_left_is_run_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, ids = SystemClock(), SystemIds()
    with database() as url:
        async with shared_engines(url, tmp_path, monkeypatch) as join:
            worker = await join(lease=QUICK)
            silent = await open_store(url, data=tmp_path, ids=ids)
            now = clock.now()
            row = ServerRow(id=ids.server_id(), host="h", pid=1, version="0", started_at=now, home="silent")
            began_at = clock.monotonic()
            await silent.registry.enroll(row, ttl_s=1.0)
            payload = b'{"name":"x"}'
            new = NewTask(id=ids.task_id(), kind="hello", queue="default", payload=payload, created_at=now, run_at=now)
            wanted = Wanted(slots={"p": 1}, pools={"hello": ("p", "p")})
            [claimed] = (await silent.tasks.turn([Submit(new)], wanted, now=now)).claimed
            ended = await worker.until(claimed.task)
            assert (ended.state, ended.attempt, ended.charged) == (State.SUCCEEDED, 2, 1)
            assert 1.0 < clock.monotonic() - began_at < 1.0 + 5.0
            assert not await silent.registry.beat(row.id, now=clock.now())
            await silent.close()
