"""The stores under contract, as one fixture: a new store adds a name to `STORES`, and no test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from postgres import database
from store_cases import Bench
from store_ids import SeededIds
from stores import STORES, fresh_store, is_pooled

from windlass.config.schema import Postgres
from windlass.store.open import open_store


@asynccontextmanager
async def on_the_bench(database: str, data: Path) -> AsyncIterator[Bench]:
    ids = SeededIds()
    store = await open_store(database, data=data, ids=ids, postgres=Postgres(pooler=is_pooled()))
    try:
        yield Bench(store, ids)
    finally:
        await store.close()


@pytest.fixture(params=STORES)
async def bench(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Bench]:
    with fresh_store(request.param) as setting:
        async with on_the_bench(setting, tmp_path) as bench:
            yield bench


@pytest.fixture
async def sqlite_bench(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Bench]:
    async with on_the_bench("sqlite", tmp_path) as bench:
        yield bench


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """Give a fresh database, for tests that open it more than once or reach below the store."""
    with database() as url:
        yield url


@pytest.fixture
async def postgres_bench(postgres_url: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Bench]:
    async with on_the_bench(postgres_url, tmp_path) as bench:
        yield bench
