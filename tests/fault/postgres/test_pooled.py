"""Through a transaction pooler: nothing a store does may stand on a session that is its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pg_life import Life, open_bench
from pooler import Pooler, pooler_to
from postgres import database, database_name, shared_postgres
from store_cases import Bench
from stores import POOLED

from windlass.config.schema import Postgres

pytestmark = pytest.mark.anyio

BEHIND_A_POOLER = Postgres(pooler=True)
CONTRACT = Path(__file__).parents[2] / "contract"


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    with pooler_to(shared_postgres().port) as pooler:
        yield pooler


@pytest.mark.timeout(60)
async def test_a_life_through_a_pooler_is_the_same_and_so_are_many_at_once(pooler: Pooler) -> None:
    with database("pooled") as url:
        async with open_bench(url) as straight:
            due = await Life(straight, "straight").live()
        through = shared_postgres().url(database_name(url), port=pooler.port)
        async with open_bench(through, BEHIND_A_POOLER, seed=10) as bench:
            assert await Life(bench, "pooled").live() == due

            async def look(bench: Bench) -> int:
                return len(await bench.store.events.log())

            assert len(set(await asyncio.gather(*[look(bench) for _ in range(20)]))) == 1
        assert pooler.refused == []
        assert pooler.transactions > 20


@pytest.mark.prove
@pytest.mark.timeout(1_200)
def test_the_whole_contract_holds_through_a_pooler() -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", str(CONTRACT), "-q", "-k", "postgres and not transcripts"]
    command += ["--ignore", str(CONTRACT / "model"), "--ignore", str(CONTRACT / "dialects"), "-p", "no:cacheprovider"]
    done = subprocess.run(command, env={**environ, POOLED: "1"}, capture_output=True, text=True, check=False)
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-6000:]
