"""A limit that is set while other servers are in the middle of a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from store_cases import ALL, Bench

from windlass.contracts.queues import SetQueue
from windlass.contracts.tasks import Submit
from windlass.store.postgres import statements as sql

pytest_plugins = ["store_fixtures", "store_servers"]
pytestmark = pytest.mark.anyio

Open = Callable[[], Awaitable[Bench]]
_WAITING = """
SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'windlass.queues'::regclass"""


async def test_a_limit_is_set_once_no_turn_goes_by_the_one_before(opened: Open, raw: asyncpg.Connection) -> None:
    bench, other = await opened(), await opened()
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    turn_under_way = raw.transaction()
    await turn_under_way.start()
    await raw.execute(sql.GO_BY_QUEUES)
    setting = asyncio.create_task(bench.turn(SetQueue(name="default", at=bench.now, concurrency=2)))
    while not setting.done() and not await raw.fetchval(_WAITING):
        await asyncio.sleep(0.01)
    assert not setting.done()
    await turn_under_way.commit()
    await setting
    assert len((await other.turn(slots=ALL)).claimed) == 2


async def test_a_turn_under_way_goes_by_the_queues_as_they_are(opened: Open, raw: asyncpg.Connection) -> None:
    bench = await opened()
    change_under_way = raw.transaction()
    await change_under_way.start()
    await raw.execute(sql.CHANGE_QUEUES)
    await raw.execute("INSERT INTO windlass.queues (name, set_concurrency) VALUES ('default', 1)")
    submits = [Submit(bench.new()) for _ in range(3)]
    claiming = asyncio.create_task(bench.turn(*submits, slots=ALL))
    while not claiming.done() and not await raw.fetchval(_WAITING):
        await asyncio.sleep(0.01)
    assert not claiming.done()
    await change_under_way.commit()
    turn = await claiming
    assert len(turn.claimed) == 1
