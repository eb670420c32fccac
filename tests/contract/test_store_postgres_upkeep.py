"""What upkeep does with what it did not expect: it goes on, touches nothing that is not ours, and holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import structlog
from store_ids import SeededIds

from windlass.config.schema import Postgres
from windlass.errors import StoreUnavailable
from windlass.store.open import open_store
from windlass.store.postgres import partitions, upkeep
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.database import Database

pytest_plugins = ["store_fixtures", "store_servers"]
pytestmark = pytest.mark.anyio

SETTINGS = Postgres()


@pytest.fixture
async def database(postgres_url: str, anyio_backend: str) -> AsyncIterator[Database]:
    database = Database(Connector(postgres_url, SETTINGS), SETTINGS)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


async def attach(raw: asyncpg.Connection, name: str, first: str, last: str) -> None:
    await raw.execute(
        f"CREATE TABLE windlass.{name} PARTITION OF windlass.ended FOR VALUES FROM ('{first}') TO ('{last}')"
    )


async def is_there(raw: asyncpg.Connection, name: str) -> bool:
    return await raw.fetchval("SELECT to_regclass($1) IS NOT NULL", f"windlass.{name}")


async def test_a_partition_that_somebody_else_has_attached_is_left_alone(
    database: Database, raw: asyncpg.Connection
) -> None:
    await attach(raw, "ended_2020_archive", "2020-01-01", "2021-01-01")
    await attach(raw, "ended_20019999", "2001-03-01", "2001-03-02")
    await attach(raw, "ended_20010101", "2001-01-01", "2001-01-02")
    await upkeep.tidy(database)
    assert await is_there(raw, "ended_2020_archive")
    assert await is_there(raw, "ended_20019999")
    assert not await is_there(raw, "ended_20010101")


async def test_a_day_that_takes_long_to_look_through_is_given_up_before_others_wait_long(
    database: Database, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await attach(raw, "ended_20010101", "2001-01-01", "2001-01-02")
    drop = partial(partitions.drop_day, name="ended_20010101")
    with monkeypatch.context() as patched:
        patched.setattr(partitions, "_IS_EMPTY", "SELECT pg_sleep(3) IS NOT NULL AND $1::timestamptz < $2::timestamptz")
        with pytest.raises(StoreUnavailable, match="ended_20010101 is not dropped yet"):
            await database.write(drop)
    assert await is_there(raw, "ended_20010101")
    assert await database.write(drop)
    assert not await is_there(raw, "ended_20010101")


async def test_upkeep_goes_on_after_an_error_that_nobody_thought_of(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_FIRST_S", "_FOLD_EVERY_S", "_TIDY_EVERY_S"):
        monkeypatch.setattr(upkeep, name, 0.01)
    has_gone_on = asyncio.Event()
    errors = iter([ValueError("unthought of")])

    async def fold(database: Database) -> int:
        for error in errors:
            raise error
        has_gone_on.set()
        return 0

    monkeypatch.setattr(upkeep, "fold", fold)
    with structlog.testing.capture_logs() as lines:
        store = await open_store(postgres_url, data=tmp_path, ids=SeededIds())
        try:
            async with asyncio.timeout(5):
                await has_gone_on.wait()
        finally:
            await store.close()
    (line,) = [line for line in lines if line["event"] == "store.upkeep_failed"]
    assert (line["what"], "unthought of" in line["error"]) == ("fold", True)
