"""What a store does about a database that was away, that is slow to have its way, or that has another past now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest
from postgres import database as fresh_database
from store_cases import Bench

from windlass.config.schema import Postgres
from windlass.errors import StoreUnavailable
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.database import Database
from windlass.store.postgres.driver import Connection
from windlass.store.postgres.partitions import LOCK

pytest_plugins = ["store_fixtures", "store_servers"]
pytestmark = pytest.mark.anyio

Open = Callable[[], Awaitable[Bench]]

_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_FORGET = """
SET session_replication_role = replica;
DELETE FROM windlass.lanes WHERE queue = 'lost';
DELETE FROM windlass.tasks WHERE number = {number};
DELETE FROM windlass.specs WHERE number = {number};
DELETE FROM windlass.events WHERE number = {number};
DELETE FROM windlass.counts WHERE lane NOT IN (SELECT lane FROM windlass.lanes);
ALTER TABLE windlass.lanes ALTER lane RESTART WITH 2;
SET session_replication_role = origin"""
_WAITS_LONG = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND clock_timestamp() - query_start > $1"""


async def test_a_primary_without_the_last_commits_is_met_anew(opened: Open, raw: asyncpg.Connection) -> None:
    bench, other = await opened(), await opened()
    await bench.submit(queue="first")
    gone = await bench.submit(queue="lost")
    await raw.execute(_CUT)
    await raw.execute(_FORGET.format(number=gone.number))
    task = await bench.submit(queue="lost")
    await other.submit(kind="other", queue="second")
    assert await other.task(task.number) == task


async def test_a_key_that_others_keep_taking_is_no_reason_to_end(postgres_url: str) -> None:
    async def be_late(connection: Connection) -> None:
        await connection.execute("DO $$ BEGIN RAISE unique_violation; END $$")

    hasty = Postgres(connect_s=0.1)
    database = Database(Connector(postgres_url, Postgres()), hasty)
    try:
        await database.open()
        with pytest.raises(StoreUnavailable):
            await database.write(be_late)
    finally:
        await database.close()


async def test_a_schema_that_another_makes_is_waited_for_longer_than_for_any_answer() -> None:
    hasty = Postgres(statement_s=0.1)
    with fresh_database(empty=True) as url:
        maker, watcher = await asyncpg.connect(url), await asyncpg.connect(url)
        database = Database(Connector(url, hasty), hasty)
        try:
            making = maker.transaction()
            await making.start()
            await maker.execute(LOCK)
            opening = asyncio.create_task(database.open())
            while not opening.done() and not await watcher.fetchval(_WAITS_LONG, timedelta(seconds=1.3)):
                await asyncio.sleep(0.02)
            await making.commit()
            await opening
        finally:
            await database.close()
            await maker.close()
            await watcher.close()
