"""A store as benches fill it and look at it: through its own turns while no server has it, read-only beside one.

Changes nothing that a server owns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import apsw

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


async def open_ledger(directory: Path) -> Store:
    """Open the store that a server would open with `--data data` in `directory`."""
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    return await open_store("sqlite", data=data, ids=_IDS)


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


def fill(directory: Path, count: int, *, run_at: datetime) -> None:
    """Make a store in `directory`, with tasks that wait for `run_at`, and leave it to a server."""

    async def make() -> None:
        store = await open_ledger(directory)
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


async def task_lives_per_s(directory: Path, count: int, *, slots: int) -> float:
    """Take tasks through submit, claim and settlement in fused turns of `slots` each, to the last durable one."""
    store = await open_ledger(directory)
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


class Ledger(AbstractContextManager["Ledger"]):
    """A served store, read from outside."""

    def __init__(self, directory: Path) -> None:
        path = directory / "data" / "windlass.db"
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._connection.set_busy_timeout(5_000)

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def is_drained(self) -> bool:
        """Whether every task has ended, durably; looks into three small indexes, however many tasks there are."""
        return not self._read(
            "SELECT EXISTS (SELECT 1 FROM tasks WHERE state = 'running')"
            " OR EXISTS (SELECT 1 FROM tasks WHERE ready = 1)"
            " OR EXISTS (SELECT 1 FROM tasks WHERE state = 'queued' AND ready = 0 AND held = 0)"
        )

    def succeeded(self) -> int:
        """Count the tasks that have succeeded."""
        return self._read("SELECT count(*) FROM tasks WHERE state = 'succeeded'")

    def first_started_at(self) -> float:
        """Say when the first task was claimed, in seconds since 1970."""
        return self._read("SELECT min(started_at) FROM tasks") / 1e6

    def first_created_at(self) -> float:
        """Say when the first task was submitted, in seconds since 1970."""
        return self._read("SELECT created_at FROM specs ORDER BY number LIMIT 1") / 1e6

    def _read(self, statement: str) -> int:
        value = self._connection.execute(statement).fetchall()[0][0]
        assert isinstance(value, int), statement
        return value
