"""The stores under contract, as one fixture: a new store adds a line to `STORES`, and no test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from store_cases import Bench
from store_ids import SeededIds

from windlass.store.open import open_store

STORES = ("memory", "sqlite")


@asynccontextmanager
async def on_the_bench(database: str, data: Path) -> AsyncIterator[Bench]:
    ids = SeededIds()
    store = await open_store(database, data=data, ids=ids)
    try:
        yield Bench(store, ids)
    finally:
        await store.close()


@pytest.fixture(params=STORES)
async def bench(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Bench]:
    async with on_the_bench(request.param, tmp_path) as bench:
        yield bench


@pytest.fixture
async def sqlite_bench(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Bench]:
    async with on_the_bench("sqlite", tmp_path) as bench:
        yield bench
