"""Several stores on one PostgreSQL database, as several servers have them; and a way in beside them. Fixtures alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from store_cases import Bench
from store_ids import SeededIds

from windlass.store.open import open_store

Open = Callable[[], Awaitable[Bench]]


@pytest.fixture
async def opened(postgres_url: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Open]:
    """Give what opens one more store on the same database, with names and tokens of its own."""
    async with AsyncExitStack() as stack:
        seeds = iter(range(100, 10_000, 100))

        async def one_more() -> Bench:
            ids = SeededIds(next(seeds))
            store = await open_store(postgres_url, data=tmp_path, ids=ids)
            stack.push_async_callback(store.close)
            return Bench(store, ids)

        yield one_more


@pytest.fixture
async def raw(postgres_url: str, anyio_backend: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection beside those of the stores."""
    connection = await asyncpg.connect(postgres_url)
    try:
        yield connection
    finally:
        await connection.close()
