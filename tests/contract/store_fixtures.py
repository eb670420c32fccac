"""The stores under contract, as one fixture: a new store adds a line to `STORES`, and no test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_cases import Bench
from store_ids import SeededIds

from windlass.store.open import open_store

STORES = ("memory", "sqlite")


@pytest.fixture(params=STORES)
async def bench(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Bench]:
    ids = SeededIds()
    store = await open_store(request.param, data=tmp_path, ids=ids)
    try:
        yield Bench(store, ids)
    finally:
        await store.close()
