"""Tasks that flow through a PostgreSQL store by its own turns, and how long its claims take meanwhile."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from windlass.config.schema import Postgres
from windlass.contracts.tasks import Settle, Submit, Wanted
from windlass.core.decide import decide
from windlass.core.ids import TaskId
from windlass.core.outcome import Succeeded
from windlass.core.task import NewTask, Task
from windlass.engine.clock import SystemIds
from windlass.store.postgres.store import PostgresStore, open_postgres

KIND: Final = "noop"
_POOL: Final = "tasks:app/shared"
_POOLS: Final = {KIND: (_POOL, "tasks:app/solo")}
_AHEAD: Final = timedelta(microseconds=1)

_ids = SystemIds()


class Flow:
    """What flows through one store; `claims_s` is how long each of its claims has taken, BEGIN and COMMIT included."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.claims_s: list[float] = []
        self.started = 0
        self._settles: list[Settle] = []

    async def cycle(self, count: int, *, slots: int) -> None:
        """Submit so many tasks, half of which fall due a moment later, and end those of the last cycle; then claim as
        many at least, for so many free slots.
        """
        now = datetime.now(UTC)
        submits = [Submit(_new(now, now + _AHEAD * (place % 2))) for place in range(count)]
        await self.store.tasks.turn([*self._settles, *submits], Wanted(), now=now)
        await self._claim(slots, least=count)

    async def _claim(self, slots: int, *, least: int) -> None:
        wanted = Wanted(slots={_POOL: slots}, pools=_POOLS)
        now = datetime.now(UTC)
        began_at = time.perf_counter()
        turn = await self.store.tasks.turn([], wanted, now=now)
        self.claims_s.append(time.perf_counter() - began_at)
        assert least <= len(turn.claimed) <= slots
        self.started += len(turn.claimed)
        self._settles = [_success(claimed.task, now) for claimed in turn.claimed]

    async def end(self) -> None:
        """End what runs."""
        await self.store.tasks.turn(self._settles, Wanted(), now=datetime.now(UTC))
        self._settles = []


@asynccontextmanager
async def flowing(url: str) -> AsyncIterator[Flow]:
    """Open the store at `url`, as a server does, and end what runs in it when the block is left."""
    store = await open_postgres(url, ids=_ids, settings=Postgres())
    try:
        flow = Flow(store)
        yield flow
        await flow.end()
    finally:
        await store.close()


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """Give the value, in milliseconds, that so many of all do not exceed."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1e3


def told(name: str, flow: Flow) -> str:
    """Put the claims of a flow into words."""
    p50, p99, worst = (percentile_ms(flow.claims_s, share) for share in (0.5, 0.99, 1.0))
    return f"{name}: {len(flow.claims_s)} claims, p50 {p50:.2f}, p99 {p99:.2f}, worst {worst:.1f} ms"


def _new(now: datetime, run_at: datetime) -> NewTask:
    return NewTask(
        id=TaskId(_ids.task_id()),
        kind=KIND,
        queue="default",
        payload=b'{"n":1}',
        created_at=now,
        run_at=run_at,
        max_attempts=5,
        timeout_s=900.0,
    )


def _success(task: Task, now: datetime) -> Settle:
    assert task.token is not None
    return Settle(task.number, task.token, decide(task, Succeeded(b"null"), now=now, roll=0.5), 0.001)
