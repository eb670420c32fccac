"""A server whose lease cannot be renewed, or has ended, and turns whose answer is lost: on one shared database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inner import Inner, engine_in
from postgres import database
from shared_room import QUICK, Between, RealTurn, Wanted, Writes, eventually

from windlass.contracts.tasks import Settle, Submit, Turn
from windlass.core.ids import ServerId
from windlass.core.state import Reason, State
from windlass.core.task import NewTask
from windlass.engine.clock import SystemClock, SystemIds
from windlass.errors import StoreUnavailable, StoreUncertain
from windlass.store.open import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def url() -> AsyncIterator[str]:
    with database() as url:
        yield url


async def live_server(inner: Inner) -> ServerId:
    [lease] = [lease for lease in await inner.store.registry.servers() if lease.is_live]
    return lease.server.id


async def test_a_server_whose_lease_has_ended_ends_all_it_runs_and_comes_back_under_another_name(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_in(tmp_path, database=url, monkeypatch=monkeypatch, lease=QUICK) as inner:
        first = await live_server(inner)
        tasks = [await inner.submit("sleep"), await inner.submit("sleep_blocking")]
        for task in tasks:
            await inner.until(task, State.RUNNING)
        await inner.until_progress(tasks[0])
        other = await open_store(url, data=tmp_path, ids=SystemIds())
        await other.registry.leave(first)
        await other.close()

        async def run_again() -> bool:
            return [(await inner.engine.get(task.id)).attempt for task in tasks] == [2, 2]

        await eventually(run_again, "both run again")
        assert await live_server(inner) != first
        assert not inner.engine.failed.done()
        for task in tasks:
            now = await inner.engine.get(task.id)
            assert now.error is not None
            assert (now.charged, now.reason, now.lost) == (1, None, 0)
            assert not now.solo
            await inner.engine.cancel(task.id, grace_s=0.0)
            assert (await inner.until(task)).state is State.CANCELLED
        assert inner.engine.health().is_ready


async def test_a_lease_that_cannot_be_renewed_stops_attempts_and_claims_until_it_can(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_cut = False

    async def beat(real: Any, *values: Any, **options: Any) -> bool:
        if is_cut:
            raise StoreUnavailable("nobody answers")
        return await real(*values, **options)

    def wrap(store: Any) -> Any:
        return Between(store, beat=beat)

    async with engine_in(tmp_path, database=url, monkeypatch=monkeypatch, wrap=wrap, lease=QUICK) as inner:
        task = await inner.submit("sleep")
        await inner.until_progress(task)
        is_cut = True
        stopped = await inner.until(task, State.QUEUED)
        assert (stopped.reason, stopped.charged, stopped.attempt) == (Reason.INTERRUPTED, 0, 1)
        assert stopped.error is not None
        assert "could not renew its lease" in stopped.error.message
        late = await inner.submit("hello", {"name": "x"})
        assert "lease" in str(inner.engine.health().problems)
        assert (await inner.engine.get(late.id)).state is State.QUEUED
        is_cut = False
        assert (await inner.until(late)).state is State.SUCCEEDED
        assert (await inner.until(task, State.RUNNING)).attempt == 2
        assert inner.engine.health().is_ready
        await inner.engine.cancel(task.id)


async def test_what_a_turn_has_claimed_whose_answer_was_lost_is_given_back_and_run(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []

    async def turn(real: RealTurn, writes: Writes, wanted: Wanted, **options: Any) -> Turn:
        done = await real(writes, wanted, **options)
        if done.claimed and not lost:
            lost.extend(claimed.task.number for claimed in done.claimed)
            raise StoreUncertain("the answer to the commit was lost")
        return done

    def wrap(store: Any) -> Any:
        return Between(store, turn=turn)

    async with engine_in(tmp_path, database=url, monkeypatch=monkeypatch, wrap=wrap) as inner:
        with pytest.raises(StoreUncertain):
            await inner.submit("hello", {"name": "x"})
        [number] = lost
        task = await inner.engine.get(number)
        assert not inner.engine.failed.done()
        ended = await inner.until(task)
        assert (ended.state, ended.attempt, ended.charged) == (State.SUCCEEDED, 2, 1)


async def test_what_a_turn_claims_that_is_committed_long_after_its_answer_was_lost_is_given_back_and_run(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Callable[[], Awaitable[Turn]]] = []
    looks = 0

    async def turn(real: RealTurn, writes: Writes, wanted: Wanted, **options: Any) -> Turn:
        if not late and any(isinstance(write, Submit) for write in writes):
            late.append(partial(real, writes, wanted, **options))
            raise StoreUncertain("the answer to the commit was lost")
        return await real(writes, wanted, **options)

    async def leased(real: Any, **options: Any) -> Any:
        nonlocal looks
        found = await real(**options)
        looks += 1
        return found

    def wrap(store: Any) -> Any:
        return Between(store, turn=turn, leased=leased)

    async with engine_in(tmp_path, database=url, monkeypatch=monkeypatch, wrap=wrap) as inner:
        with pytest.raises(StoreUncertain):
            await inner.submit("hello", {"name": "x"})

        async def has_looked() -> bool:
            return looks > 0

        await eventually(has_looked, "the server has looked, and found nothing")
        [claimed] = (await late[0]()).claimed
        ended = await inner.until(claimed.task)
        assert (ended.state, ended.attempt, ended.charged) == (State.SUCCEEDED, 2, 1)
        assert inner.engine._settler.stale_writes == 0


async def test_what_runs_under_the_lease_and_is_known_to_nobody_is_found_within_two_leases(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_in(tmp_path, database=url, monkeypatch=monkeypatch, lease=QUICK) as inner:
        now = SystemClock().now()
        name = SystemIds().task_id()
        new = NewTask(id=name, kind="hello", queue="default", payload=b'{"name":"x"}', created_at=now, run_at=now)
        wanted = Wanted(slots=inner.workers.slots(), pools=inner.workers.pools())
        [claimed] = (await inner.store.tasks.turn([Submit(new)], wanted, now=now)).claimed
        ended = await inner.until(claimed.task)
        assert (ended.state, ended.attempt, ended.charged) == (State.SUCCEEDED, 2, 1)
        assert SystemClock().now() - now < timedelta(seconds=2 * QUICK.ttl_s + 2)


async def test_a_settlement_whose_answer_was_lost_is_written_again_and_counts_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[Settle] = []

    async def turn(real: RealTurn, writes: Writes, wanted: Wanted, **options: Any) -> Turn:
        done = await real(writes, wanted, **options)
        if not lost and (settles := [write for write in writes if isinstance(write, Settle)]):
            lost.extend(settles)
            raise StoreUncertain("the answer to the commit was lost")
        return done

    def wrap(store: Any) -> Any:
        return Between(store, turn=turn)

    async with engine_in(tmp_path, database=url, monkeypatch=monkeypatch, wrap=wrap) as inner:
        task = await inner.submit("hello", {"name": "x"})
        ended = await inner.until(task)
        assert lost
        async with asyncio.timeout(10):
            await inner.engine.drain()
        assert await inner.history(ended) == ["submitted", "started", "succeeded"]
        assert inner.engine._settler.stale_writes == 0
