"""A primary that others have failed over from, and that goes on as if it were one: nothing of ours stays with it."""

from __future__ import annotations

import asyncio

import pytest
from live import until
from pg_life import open_bench
from standby import primary_and_standby

from windlass.config.schema import Postgres

pytestmark = pytest.mark.anyio

READERS = 3
OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'windlass %'"


@pytest.mark.timeout(60)
async def test_no_session_that_slept_through_a_failover_is_used_again() -> None:
    """What was submitted since is read, whichever session reads it; and what is told is told at the new primary."""
    settings = Postgres(connections=READERS, notify=True, connect_s=2.0, statement_s=1.0)
    with primary_and_standby() as pair:
        old, new = pair.primary, pair.standby
        old.ask("CREATE DATABASE thawed")
        async with open_bench(pair.url("thawed"), settings) as bench:
            await bench.store.wakes.listen(lambda _wake: None)
            before = await bench.submit()

            async def read_by_all(number: int) -> list[bool]:
                found = await asyncio.gather(*[bench.store.tasks.get(number) for _ in range(READERS)])
                return [task is not None for task in found]

            assert await read_by_all(before.number) == [True] * READERS
            with old.frozen():
                await asyncio.to_thread(pair.promote)
                since = await bench.submit()
            assert await read_by_all(since.number) == [True] * READERS
            await asyncio.to_thread(until, lambda: old.ask(OURS) == "0", "nobody is left", timeout_s=5.0)
            assert new.ask("SELECT count(*) FROM windlass.specs", "thawed") == "2"
