"""A PostgreSQL store's schema: made once however many come, refused untouched when it is another's, and its upkeep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
import structlog
from postgres import database as fresh_database
from postgres import database_name, shared_postgres
from store_ids import SeededIds

from windlass.cli.main import main
from windlass.config.schema import Postgres
from windlass.errors import SchemaMismatch, StoreUnavailable
from windlass.store.migrate import load_migrations
from windlass.store.open import open_store
from windlass.store.postgres import upkeep
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.database import Database
from windlass.store.postgres.schema import PACKAGE

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

QUICK = Postgres(connect_s=1.0)


@pytest.fixture
def empty_url() -> Iterator[str]:
    with fresh_database(empty=True) as url:
        yield url


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(Connector(url, QUICK), QUICK)
    try:
        await database.open()
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with opened(postgres_url) as database:
        yield database


Ask = Callable[[str], str]


@pytest.fixture
def ask(postgres_url: str) -> Ask:
    return lambda sql: shared_postgres().ask(sql, database_name(postgres_url))


def ask_at(url: str, sql: str) -> str:
    return shared_postgres().ask(sql, database_name(url))


# ── steps ──────────────────────────────────────────────────────────


async def test_several_that_start_at_once_on_an_empty_database_all_come_up(empty_url: str) -> None:
    async def come_up() -> None:
        async with opened(empty_url):
            pass

    await asyncio.gather(*(come_up() for _ in range(6)))
    steps = load_migrations(PACKAGE)
    assert ask_at(empty_url, "SELECT count(*) FROM windlass.migrations") == str(len(steps))


async def test_a_step_that_is_cut_off_leaves_nothing_and_is_taken_by_the_next(empty_url: str) -> None:
    blocker = await asyncpg.connect(empty_url)
    await blocker.execute("BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('windlass', 0))")
    coming = asyncio.ensure_future(_come_up_quickly(empty_url))
    while ask_at(empty_url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "0":
        await asyncio.sleep(0.01)
    ask_at(empty_url, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with pytest.raises(StoreUnavailable):
        await coming
    assert ask_at(empty_url, "SELECT to_regnamespace('windlass')") == ""
    await blocker.close()
    async with opened(empty_url):
        pass


async def _come_up_quickly(url: str) -> None:
    async with opened(url):
        pass


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("INSERT INTO windlass.migrations VALUES (99, 'later', 'x')", "schema version 99; this program knows up to"),
        ("UPDATE windlass.migrations SET checksum = 'x' WHERE version = 1", "is not the one this program knows"),
        ("DROP TABLE windlass.migrations", "a schema `windlass`, but none that this program made"),
    ],
)
async def test_a_schema_of_another_is_refused_untouched(
    postgres_url: str, tmp_path: Path, ask: Ask, statement: str, why: str
) -> None:
    ask(statement)
    tables = "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class"
    before = ask(tables)
    with pytest.raises(SchemaMismatch, match=why):
        await open_store(postgres_url, data=tmp_path, ids=SeededIds(), postgres=QUICK)
    assert ask(tables) == before


async def test_a_table_that_is_dropped_is_not_made_anew(postgres_url: str, ask: Ask) -> None:
    async with opened(postgres_url):
        ask("DROP TABLE windlass.queues")
    async with opened(postgres_url):
        assert ask("SELECT to_regclass('windlass.queues')") == ""


# ── the command line ───────────────────────────────────────────────


def test_migrate_names_the_steps_and_takes_them_only_when_told_to(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINDLASS_DATABASE", empty_url)
    names = "".join(f"{step.version}\t{step.name}\n" for step in load_migrations(PACKAGE))
    for words, told in [(["--dry-run"], names), ([], names), ([], "")]:
        assert main(["db", "migrate", *words]) == 0
        assert capfd.readouterr().out == told
    assert main(["db", "backup", "copy.db"]) != 0
    assert "use pg_dump or pg_basebackup" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


# ── upkeep ─────────────────────────────────────────────────────────


async def test_days_are_made_ahead_and_old_ones_dropped_once_they_are_empty(database: Database, ask: Ask) -> None:
    ask(
        "CREATE TABLE windlass.ended_20010101 PARTITION OF windlass.ended FOR VALUES FROM ('2001-01-01') "
        "TO ('2001-01-02'); CREATE TABLE windlass.ended_20010102 PARTITION OF windlass.ended "
        "FOR VALUES FROM ('2001-01-02') TO ('2001-01-03');"
        "INSERT INTO windlass.ended (number, lane, state, run_at, attempt, charged, lost, interrupted, retries, "
        "ordinal, version, finished_at, run_s, grace_s, hidden, size_bytes, ending_bytes) "
        "VALUES (1, 1, 'failed', now(), 1, 1, 0, 0, 0, 1, 1, '2001-01-02 12:00+00', 0, 0, false, 0, 0)"
    )
    await asyncio.gather(upkeep.tidy(database), upkeep.tidy(database))
    days = ask("SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid ORDER BY 1").split()
    today = datetime.now(UTC)
    assert "ended_20010101" not in days
    assert days[0] == "ended_20010102"
    assert f"ended_{today:%Y%m%d}" in days
    assert len([day for day in days if day > f"ended_{today:%Y%m%d}"]) >= 2


async def test_a_day_is_not_dropped_while_somebody_looks(database: Database, postgres_url: str, ask: Ask) -> None:
    ask(
        "CREATE TABLE windlass.ended_20010101 PARTITION OF windlass.ended FOR VALUES FROM ('2001-01-01') "
        "TO ('2001-01-02')"
    )
    looker = await asyncpg.connect(postgres_url)
    await looker.execute("BEGIN; SELECT count(*) FROM windlass.ended")
    with pytest.raises(StoreUnavailable):
        await upkeep.tidy(database)
    await looker.close()
    await upkeep.tidy(database)
    assert ask("SELECT to_regclass('windlass.ended_20010101')") == ""


async def test_counters_are_folded_by_two_at_once_and_stay_what_they_are(
    database: Database, postgres_url: str, ask: Ask
) -> None:
    ask(
        "INSERT INTO windlass.counts SELECT n % 3, 'queued', 1, 10 FROM generate_series(1, 3000) AS n;"
        "INSERT INTO windlass.counts SELECT 9, 'running', 1 - 2 * (n % 2), 0 FROM generate_series(1, 300) AS n"
    )
    sums = "SELECT lane, state, sum(tasks), sum(size_bytes) FROM windlass.counts GROUP BY 1, 2 HAVING sum(tasks) <> 0"
    before = sorted(ask(sums).splitlines())
    async with opened(postgres_url) as other:
        await asyncio.gather(*(upkeep.fold(who) for who in (database, other, database)))
    assert sorted(ask(sums).splitlines()) == before
    assert int(ask("SELECT count(*) FROM windlass.counts")) < 50


async def test_what_is_of_no_use_any_more_is_forgotten(database: Database, ask: Ask) -> None:
    ask(
        "INSERT INTO windlass.turns VALUES (gen_random_uuid(), gen_random_uuid(), now() - interval '25 hours');"
        "INSERT INTO windlass.servers (id, host, pid, version, home, started_at, ttl_s, beat_at, ended_at) SELECT "
        "gen_random_uuid(), 'h', n, 'v', '', now(), 30, now() - interval '2 days', CASE n WHEN 1 THEN NULL "
        "WHEN 2 THEN now() - interval '25 hours' ELSE now() - interval '23 hours' END FROM generate_series(1, 3) AS n"
    )
    await upkeep.tidy(database)
    assert ask("SELECT string_agg(pid::text, ',' ORDER BY pid) FROM windlass.servers") == "1,3"
    assert ask("SELECT count(*) FROM windlass.turns WHERE at < now() - interval '1 day'") == "0"


async def test_a_transaction_that_keeps_dead_rows_is_told_of(
    database: Database, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_PINNING", upkeep._PINNING.replace("5 minutes", "0 minutes"))
    pinning = await asyncpg.connect(postgres_url, server_settings={"application_name": "report"})
    await pinning.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    with structlog.testing.capture_logs() as lines:
        await upkeep.tidy(database)
    await pinning.close()
    (line,) = [line for line in lines if line["event"] == "store.pinned"]
    assert (line["application"], line["log_level"]) == ("report", "warning")


async def test_an_open_store_keeps_up_by_itself_and_goes_on_after_a_failure(
    postgres_url: str, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_FIRST_S", "_FOLD_EVERY_S", "_TIDY_EVERY_S"):
        monkeypatch.setattr(upkeep, name, 0.01)
    ask("ALTER TABLE windlass.turns RENAME COLUMN at TO until")
    with structlog.testing.capture_logs() as lines:
        store = await open_store(postgres_url, data=tmp_path, ids=SeededIds(), postgres=QUICK)
        while not any(line["event"] == "store.upkeep_failed" for line in lines):
            await asyncio.sleep(0.01)
        ask("ALTER TABLE windlass.turns RENAME COLUMN until TO at")
        while ask("SELECT count(*) FROM pg_inherits WHERE inhparent = 'windlass.ended'::regclass") < "4":
            await asyncio.sleep(0.01)
        await store.close()
