"""A store as benches fill it, through its own turns, while no server has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from bench.beds import Place
from windlass.contracts.store import Store
from windlass.contracts.tasks import Claimed, Hold, Settle, Submit, Wanted
from windlass.core.decide import decide
from windlass.core.ids import TaskId
from windlass.core.limits import MAX_ATTEMPTS, TIMEOUT_S
from windlass.core.outcome import Succeeded
from windlass.core.task import NewTask
from windlass.engine.clock import SystemIds
from windlass.store.open import open_store

POOL: Final = "benched:app/shared"
POOLS: Final = {"noop": (POOL, "benched:app/solo")}
_GROUP = 500

_IDS = SystemIds()


async def open_ledger(place: Place) -> Store:
    """Open the store that a server would open in `place` with `--data data`."""
    data = place.directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    return await open_store(place.database, data=data, ids=_IDS)


def new_task(now: datetime, *, run_at: datetime | None = None) -> NewTask:
    """Make a task of the benched app, as a submit with defaults makes it."""
    return NewTask(
        id=TaskId(_IDS.task_id()),
        kind="noop",
        queue="default",
        payload=b'{"n":1}',
        created_at=now,
        run_at=run_at or now,
        max_attempts=MAX_ATTEMPTS,
        timeout_s=TIMEOUT_S,
    )


def settle_all(claimed: Sequence[Claimed]) -> list[Settle]:
    """Decide the success of claimed tasks."""
    settles: list[Settle] = []
    for task in (each.task for each in claimed):
        assert task.token is not None
        settlement = decide(task, Succeeded(b"null"), now=datetime.now(UTC), roll=0.5)
        settles.append(Settle(task.number, task.token, settlement, 0.001))
    return settles


async def lay_in(store: Store, count: int, *, run_at: datetime | None = None, held: bool = False) -> None:
    """Store tasks that wait: for a slot, for `run_at`, or for their release."""
    while count > 0:
        now = datetime.now(UTC)
        submits = [Submit(new_task(now, run_at=run_at)) for _ in range(min(_GROUP, count))]
        holds = [Hold(submit.task.id, now) for submit in submits] if held else []
        await store.tasks.turn([*submits, *holds], Wanted(), now=now)
        count -= len(submits)


def fill(place: Place, count: int, *, run_at: datetime) -> None:
    """Make a store in `place`, with tasks that wait for `run_at`, and leave it to a server."""

    async def make() -> None:
        store = await open_ledger(place)
        await lay_in(store, count, run_at=run_at)
        await store.close()

    asyncio.run(make())


async def lay_in_finished(store: Store, count: int) -> None:
    """Store tasks that have been through their whole life. Nothing else may wait in the store."""
    wanted = Wanted(slots={POOL: _GROUP}, pools=POOLS)
    settles: list[Settle] = []
    while count > 0 or settles:
        now = datetime.now(UTC)
        submits = [Submit(new_task(now)) for _ in range(min(_GROUP, count))]
        turn = await store.tasks.turn([*settles, *submits], wanted, now=now)
        count -= len(submits)
        settles = settle_all(turn.claimed)


async def task_lives_per_s(place: Place, count: int, *, slots: int) -> float:
    """Take tasks through submit, claim and settlement in fused turns of `slots` each, to the last durable one."""
    store = await open_ledger(place)
    wanted = Wanted(slots={POOL: slots}, pools=POOLS)
    settles: list[Settle] = []
    left, settled = count, 0
    began_at = time.perf_counter()
    while settled < count:
        now = datetime.now(UTC)
        submits = [Submit(new_task(now)) for _ in range(min(slots, left))]
        left -= len(submits)
        turn = await store.tasks.turn([*settles, *submits], wanted, now=now)
        settled += len(settles)
        settles = settle_all(turn.claimed)
    took_s = time.perf_counter() - began_at
    await store.close()
    return count / took_s


def soon(after_s: float) -> datetime:
    """Name the instant so far from now."""
    return datetime.now(UTC) + timedelta(seconds=after_s)
