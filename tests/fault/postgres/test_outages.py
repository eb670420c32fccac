"""A PostgreSQL that is restarted, crashes, is full, read-only or out of reach: classified, survived, nothing lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from pg_life import CALM, Life, open_bench
from postgres import database, database_name, shared_postgres
from postgres_server import Mode, PostgresServer, postgres_of_its_own
from standby import primary_and_standby
from store_cases import ALL, OK, Bench

from windlass.config.schema import Postgres
from windlass.contracts.tasks import Applied, Refused, Submit
from windlass.core.ids import TaskId
from windlass.core.task import Task
from windlass.errors import ConfigError, StoreError, StoreFull, StoreUnavailable, StoreUncertain

pytestmark = pytest.mark.anyio

HASTY = Postgres(connections=1, notify=False, connect_s=1.0, start_s=1.0)
AWAY = (StoreUnavailable, StoreUncertain)
ENDED_TWICE = "SELECT number FROM windlass.events WHERE name = 'succeeded' GROUP BY number HAVING count(*) > 1"
CUT_ALL = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
REFUSE = """CREATE FUNCTION windlass.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE SQLSTATE '{state}'; END $$;
CREATE TRIGGER refused BEFORE INSERT ON windlass.specs EXECUTE FUNCTION windlass.refuse()"""
BACK_S = 5.0
"""Within this of PostgreSQL's return claims go on."""


@pytest.fixture
def url() -> Iterator[str]:
    with database("outage") as url:
        yield url


@pytest.fixture
async def bench(url: str, anyio_backend: str) -> AsyncIterator[Bench]:
    async with open_bench(url) as bench:
        yield bench


class Load:
    """Clients that submit, and attempts that are claimed and settled, without pause, through every outage."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.acknowledged: set[TaskId] = set()
        self.unknown: set[TaskId] = set()
        self.settled: set[int] = set()
        self.last_claim_at = 0.0
        self._is_over = False

    async def submit(self) -> None:
        """Submit until told to stop; what is unavailable was not stored, what is uncertain may be."""
        while not self._is_over:
            new = self._bench.new()
            try:
                turn = await self._bench.turn(Submit(new))
            except StoreUncertain:
                self.unknown.add(new.id)
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                assert isinstance(turn.results[0], Applied)
                self.acknowledged.add(new.id)

    async def work(self) -> None:
        """Claim and settle until told to stop; a settlement is sent again until it is answered."""
        while not self._is_over:
            try:
                claimed = (await self._bench.turn(slots={"shared": 5})).claimed
            except AWAY:
                await asyncio.sleep(0.01)
                continue
            self.last_claim_at = time.monotonic()
            for one in claimed:
                await self._settle(one.task)

    async def _settle(self, task: Task) -> None:
        write = self._bench.settle(task, OK)
        is_uncertain = False
        while True:
            try:
                result = await self._bench.write(write)
            except AWAY as error:
                is_uncertain |= isinstance(error, StoreUncertain)
                await asyncio.sleep(0.01)
                continue
            assert isinstance(result, Applied) or (is_uncertain and isinstance(result, Refused)), result
            assert write.number not in self.settled, "settled twice"
            self.settled.add(write.number)
            return

    async def end(self, *tasks: asyncio.Task[None]) -> None:
        """Stop all of it."""
        self._is_over = True
        await asyncio.gather(*tasks)

    def check(self, server: PostgresServer, name: str) -> None:
        """Hold what there is against what was acknowledged."""
        there = set(server.ask("SELECT id FROM windlass.specs", name).splitlines())
        assert self.acknowledged, "nothing was acknowledged at all"
        assert self.acknowledged <= there, "acknowledged, and lost"
        assert there <= self.acknowledged | self.unknown, "refused, and stored"
        assert server.ask(ENDED_TWICE, name) == ""
        ended = set(map(int, server.ask("SELECT number FROM windlass.ended", name).splitlines()))
        assert self.settled == ended, "settled, and not ended, or the other way round"


async def _restart_under_load(server: PostgresServer, mode: Mode, times: int) -> None:
    url = server.url("restarts")
    async with open_bench(url, HASTY) as bench:
        load = Load(bench)
        tasks = [asyncio.ensure_future(work()) for work in (load.submit, load.submit, load.work)]
        for _ in range(times):
            known = len(load.settled)
            while len(load.settled) < known + 20:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.stop, mode)
            await asyncio.to_thread(server.start)
            back_at = time.monotonic()
            while load.last_claim_at < back_at:
                assert time.monotonic() - back_at < BACK_S, "no claim since PostgreSQL is back"
                await asyncio.sleep(0.01)
        await load.end(*tasks)
        load.check(server, "restarts")


@pytest.mark.timeout(90)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_under_load_loses_nothing_and_claims_go_on(mode: Mode) -> None:
    with postgres_of_its_own() as server:
        server.ask("CREATE DATABASE restarts")
        await _restart_under_load(server, mode, times=2)


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_many_restarts_under_load_lose_nothing(mode: Mode) -> None:
    with postgres_of_its_own() as server:
        server.ask("CREATE DATABASE restarts")
        await _restart_under_load(server, mode, times=50)


@pytest.mark.timeout(90)
async def test_a_failover_under_load_loses_nothing_and_the_old_primary_is_refused() -> None:
    with primary_and_standby() as pair:
        pair.primary.ask("CREATE DATABASE failover")
        async with open_bench(pair.url("failover"), HASTY) as bench:
            load = Load(bench)
            tasks = [asyncio.ensure_future(work()) for work in (load.submit, load.submit, load.work)]
            while len(load.settled) < 30:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(pair.primary.stop, "immediate")
            await asyncio.to_thread(pair.promote)
            known = len(load.settled)
            while len(load.settled) < known + 30:
                await asyncio.sleep(0.01)
            await load.end(*tasks)
            load.check(pair.standby, "failover")
            await asyncio.to_thread(pair.primary.start)
            pair.standby.stop("fast")
            before = pair.primary.ask("SELECT count(*) FROM windlass.specs", "failover")
            with pytest.raises(StoreUnavailable):
                await bench.submit()
            assert pair.primary.ask("SELECT count(*) FROM windlass.specs", "failover") == before


async def test_a_replica_is_refused() -> None:
    with primary_and_standby() as pair, pytest.raises(StoreError, match="replica"):
        async with open_bench(pair.standby.url(), HASTY):
            pass


# ── classified ─────────────────────────────────────────────────────


async def test_a_full_disk_of_the_server_is_told_as_full_and_passes(bench: Bench, url: str) -> None:
    task = (await bench.run()).task
    shared_postgres().ask(REFUSE.format(state="53100"), database_name(url))
    with pytest.raises(StoreFull):
        await bench.submit()
    shared_postgres().ask("DROP TRIGGER refused ON windlass.specs", database_name(url))
    assert await bench.write(bench.settle(task)) == Applied()
    await bench.submit()


async def test_a_database_that_has_become_read_only_is_unavailable_until_it_takes_writes_again(url: str) -> None:
    name = database_name(url)
    async with open_bench(url, HASTY) as bench:
        shared_postgres().ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        shared_postgres().ask(CUT_ALL, name)
        with pytest.raises(StoreUnavailable):
            await bench.submit()
        shared_postgres().ask(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        shared_postgres().ask(CUT_ALL, name)
        await bench.submit()


async def test_connections_that_an_operator_ends_are_made_again_unnoticed(bench: Bench, url: str) -> None:
    for n in range(10):
        shared_postgres().ask(CUT_ALL, database_name(url))
        await bench.submit(key=f"k{n}")
    assert shared_postgres().ask("SELECT count(*) FROM windlass.specs", database_name(url)) == "10"


async def test_a_role_that_loses_its_rights_stops_the_store(url: str) -> None:
    server, name = shared_postgres(), database_name(url)
    role = f"r_{name}"
    server.ask(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA windlass TO {role}", name)
    server.ask(f"GRANT ALL ON ALL TABLES IN SCHEMA windlass TO {role}", name)
    server.ask(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA windlass TO {role}", name)
    server.ask(f"ALTER TABLE windlass.ended OWNER TO {role}", name)
    try:
        async with open_bench(server.url(name, user=role), HASTY) as bench:
            await bench.submit()
            server.ask(f"REVOKE INSERT ON windlass.tasks FROM {role}", name)
            with pytest.raises(StoreError, match="42501") as refused:
                await bench.submit()
            assert not refused.value.retryable
    finally:
        server.ask(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}", name)


async def test_a_table_that_is_gone_stops_the_store_and_is_not_made_anew(bench: Bench, url: str) -> None:
    shared_postgres().ask("DROP TABLE windlass.specs CASCADE", database_name(url))
    with pytest.raises(StoreError, match="42P01") as gone:
        await bench.submit()
    assert not gone.value.retryable
    assert shared_postgres().ask("SELECT to_regclass('windlass.specs') IS NULL", database_name(url)) == "t"


@pytest.mark.timeout(60)
async def test_a_server_without_a_free_connection_is_waited_for_and_leases_are_kept() -> None:
    with postgres_of_its_own(max_connections="8", superuser_reserved_connections="0") as server:
        server.ask("CREATE DATABASE crowded")
        async with open_bench(server.url("crowded"), HASTY) as bench:
            await bench.submit()
            others = [await asyncpg.connect(server.url("crowded")) for _ in range(6)]
            while True:  # until not one more is to be had
                try:
                    others.append(await asyncpg.connect(server.url("crowded")))
                except asyncpg.TooManyConnectionsError:
                    break
            await bench.submit()  # the connection that writes is its own
            with pytest.raises((StoreUnavailable, ConfigError)):
                async with open_bench(server.url("crowded"), HASTY, seed=7):
                    pass
            for other in others:
                await other.close()
            async with open_bench(server.url("crowded"), HASTY, seed=9) as second:
                await second.submit()


# ── many at once ───────────────────────────────────────────────────


async def _claim_at_once(url: str, *, claimers: int, count: int) -> None:
    async with open_bench(url, HASTY) as bench:
        for _ in range(count // 100):
            await bench.turn(*[Submit(bench.new()) for _ in range(100)])

        async def claim(seed: int) -> list[int]:
            async with open_bench(url, CALM, seed=seed) as claimer:
                found: list[int] = []
                while claimed := await claimer.claim(shared=7):
                    found += [one.task.number for one in claimed]
                return found

        found = await asyncio.gather(*[claim(1_000 + 10 * n) for n in range(claimers)])
        numbers = [number for numbers in found for number in numbers]
        left = [one.task.number for one in await bench.claim(**ALL)]
        assert sorted(numbers + left) == sorted({*numbers, *left}), "started twice"
        assert len(numbers) + len(left) == count, "not started at all"


@pytest.mark.timeout(90)
async def test_of_32_claimers_one_wins_each_task(url: str) -> None:
    await _claim_at_once(url, claimers=32, count=600)


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_of_32_claimers_one_wins_each_of_ten_thousand_tasks(url: str) -> None:
    await _claim_at_once(url, claimers=32, count=10_000)


async def test_a_life_is_the_same_with_and_without_notifications(url: str) -> None:
    async with open_bench(url) as silent:
        due = await Life(silent, "silent").live()
    async with open_bench(url, Postgres(notify=True), seed=50) as loud:
        assert await Life(loud, "loud").live() == due
