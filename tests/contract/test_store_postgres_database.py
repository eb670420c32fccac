"""Transactions on PostgreSQL: what is run again, what is refused, and what becomes of a commit nobody answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog
from pg_messages import Message
from postgres import database_name, shared_postgres
from postgres_server import PostgresServer, postgres_of_its_own
from proxy import Act, Proxy, proxy_to

from windlass.config.schema import Postgres
from windlass.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable, StoreUncertain
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.database import Database
from windlass.store.postgres.driver import Connection

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

QUICK = Postgres(statement_s=1.0, lock_s=0.3, connect_s=0.5)
Job = Callable[[Connection], Awaitable[Any]]


@asynccontextmanager
async def opened(url: str, settings: Postgres = QUICK) -> AsyncIterator[Database]:
    database = Database(Connector(url, settings), settings)
    try:
        await database.open()
        await database.write(asked("CREATE TABLE IF NOT EXISTS public.notes (note text PRIMARY KEY)"))
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with opened(postgres_url) as database:
        yield database


def asked(statement: str, *values: Any) -> Job:
    """Make a job of one statement, which gives its first value."""

    async def job(connection: Connection) -> Any:
        return await connection.fetchval(statement, *values)

    return job


def noted(note: str) -> Job:
    return asked("INSERT INTO public.notes VALUES ($1)", note)


def failing(sqlstate: str, times: int = 99) -> Job:
    """Make a job that fails with an error of the server as often as told, and then gives how often it ran."""
    runs = 0

    async def job(connection: Connection) -> int:
        nonlocal runs
        runs += 1
        if runs <= times:
            await connection.execute(f"DO $$ BEGIN RAISE EXCEPTION 'as told' USING ERRCODE = '{sqlstate}'; END $$")
        return runs

    return job


async def notes(database: Database) -> list[str]:
    async def job(connection: Connection) -> list[str]:
        return [note for (note,) in await connection.fetch("SELECT note FROM public.notes ORDER BY note")]

    return await database.read(job)


def end_backends(url: str, which: str = "true") -> None:
    """Have the server end our connections, as an operator would."""
    shared_postgres().ask(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database_name(url)}' AND {which}"
    )


# ── one transaction ────────────────────────────────────────────────


async def test_what_a_job_writes_is_there_when_it_returns_and_not_when_it_fails(database: Database) -> None:
    async def job(connection: Connection) -> str:
        await noted("undone")(connection)
        raise RuntimeError("no")

    assert await database.write(noted("kept")) is None
    with pytest.raises(RuntimeError):
        await database.write(job)
    assert await notes(database) == ["kept"]


async def test_a_transaction_has_limits_of_its_own_and_leaves_none_behind(database: Database) -> None:
    asked_for = "SELECT string_agg(current_setting(name), ' ') FROM unnest($1::text[]) AS name"
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone"]
    assert await database.write(asked(asked_for, names)) == "1s 300ms 300ms UTC"
    session = database._writer._session
    assert session is not None
    assert (await session.fetchval(asked_for, names[:3])) == "0 0 0"


async def test_reading_cannot_write_and_may_see_one_moment(database: Database) -> None:
    with pytest.raises(StoreUnavailable, match="read-only"):
        await database.read(noted("no"))

    async def twice(connection: Connection) -> tuple[int, int]:
        first = await connection.fetchval("SELECT count(*) FROM public.notes")
        await database.write(noted(f"between {first}"))
        return first, await connection.fetchval("SELECT count(*) FROM public.notes")

    assert await database.read(twice, is_one_moment=True) == (0, 0)
    assert await database.read(twice) == (1, 2)


async def test_a_caller_that_leaves_does_not_stop_what_it_asked_for(database: Database) -> None:
    begun = asyncio.Event()

    async def job(connection: Connection) -> None:
        begun.set()
        await connection.fetchval("SELECT pg_sleep(0.05)")
        await noted("all the same")(connection)

    asking = asyncio.ensure_future(database.write(job))
    await begun.wait()
    asking.cancel()
    with suppress(asyncio.CancelledError):
        await asking
    await database.write(asked("SELECT 1"))
    assert await notes(database) == ["all the same"]


async def test_a_failure_that_a_job_passes_over_is_not_taken_for_a_commit(database: Database) -> None:
    async def job(connection: Connection) -> None:
        with suppress(Exception):
            await connection.execute("SELECT 1/0")

    with pytest.raises(StoreError, match="passed over"):
        await database.write(job)


# ── failures ───────────────────────────────────────────────────────


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03", "23505"])
async def test_after_contention_the_job_is_run_again_and_told_to_forget(database: Database, sqlstate: str) -> None:
    forgotten: list[None] = []
    database.on_rollback(lambda: forgotten.append(None))
    assert await database.write(failing(sqlstate, times=2)) == 3
    assert len(forgotten) == 2


@pytest.mark.parametrize(
    ("sqlstate", "error"),
    [
        ("40001", StoreUnavailable),
        ("53100", StoreFull),
        ("53200", StoreUnavailable),
        ("25006", StoreUnavailable),
        ("57014", StoreUnavailable),
        ("57P01", StoreUnavailable),
        ("57P03", StoreUnavailable),
        ("08006", StoreUnavailable),
        ("42501", StoreError),
        ("42P01", StoreError),
        ("23505", StoreUnavailable),
        ("XX001", StoreCorrupt),
        ("P0001", StoreError),
    ],
)
async def test_every_failure_of_the_server_has_one_of_our_errors(
    database: Database, sqlstate: str, error: type[StoreError]
) -> None:
    with pytest.raises(StoreError, match=f"as told .{sqlstate}.") as failed:
        await database.write(failing(sqlstate))
    assert type(failed.value) is error
    assert failed.value.details["sqlstate"] == sqlstate
    assert await database.write(asked("SELECT 1")) == 1


async def test_a_connection_that_is_ended_is_made_again_and_the_job_run_again(
    database: Database, postgres_url: str
) -> None:
    with structlog.testing.capture_logs() as lines:
        end_backends(postgres_url)
        assert await database.read(asked("SELECT 1")) == 1
        await database.write(noted("between two"))

        async def cut(connection: Connection) -> None:
            await connection.execute("INSERT INTO public.notes VALUES ('within')")
            if len(seen) == 0:
                seen.append(1)
                end_backends(postgres_url, "state = 'idle in transaction'")
            await connection.execute("INSERT INTO public.notes VALUES ('one')")

        seen: list[int] = []
        await database.write(cut)
    assert await notes(database) == ["between two", "one", "within"]
    assert {line["event"] for line in lines} == {"store.connection_lost", "store.connection_regained"}


async def test_who_waits_for_a_lock_or_a_slow_statement_is_told_in_time(database: Database, postgres_url: str) -> None:
    async with opened(postgres_url, Postgres()) as other:
        held = asyncio.Event()
        enough = asyncio.Event()

        async def hold(connection: Connection) -> None:
            await connection.execute("LOCK TABLE public.notes IN ACCESS EXCLUSIVE MODE")
            held.set()
            await enough.wait()

        holding = asyncio.ensure_future(other.write(hold))
        await held.wait()
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await database.write(noted("locked out"))
        enough.set()
        await holding
    with pytest.raises(StoreUnavailable, match="statement timeout"):
        await database.write(asked("SELECT pg_sleep(9)"))
    with pytest.raises(StoreUnavailable, match="statement timeout"):
        await database.read(asked("SELECT pg_sleep(9)"))
    await database.write(noted("free"))


async def test_a_transaction_that_stands_still_lets_go_of_its_locks(database: Database, postgres_url: str) -> None:
    runs = 0

    async def stand(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        await noted("stood")(connection)
        if runs == 1:
            await asyncio.sleep(0.5)
        await connection.execute("SELECT 1")

    await database.write(stand)
    assert runs == 2
    assert await notes(database) == ["stood"]


async def test_a_day_without_a_partition_gets_one_and_two_who_need_it_do_not_meet(
    database: Database, postgres_url: str
) -> None:
    row = (
        "INSERT INTO windlass.ended (number, lane, state, run_at, attempt, charged, lost, interrupted, retries, "
        "ordinal, version, finished_at, run_s, grace_s, hidden, size_bytes, ending_bytes) "
        "VALUES ($1, 1, 'failed', $2, 1, 1, 0, 0, 0, 1, 1, $2, 0, 0, false, 0, 0)"
    )
    days = [datetime(2031, 1, 1, 23, 59, 59, tzinfo=UTC), datetime(2031, 1, 2, tzinfo=UTC)]
    async with opened(postgres_url) as other:
        jobs = [asked(row, number, day) for number, day in enumerate(days * 2)]
        await asyncio.gather(*(who.write(job) for who, job in zip([database, other] * 2, jobs, strict=True)))
    there = "SELECT string_agg(DISTINCT relname::text, ' ') FROM windlass.ended JOIN pg_class ON oid = ended.tableoid"
    assert await database.read(asked(there)) == "ended_20310101 ended_20310102"


# ── an answer that is lost ─────────────────────────────────────────


@pytest.fixture
def proxy() -> Any:
    with proxy_to(shared_postgres().port) as proxy:
        yield proxy


def through(url: str, proxy: Proxy) -> str:
    return url.replace(f":{shared_postgres().port}/", f":{proxy.port}/")


def once(act: Act, is_it: Callable[[Message], bool]) -> Callable[[int, Message], Act]:
    """Make a script that does `act` to the first message that is meant."""
    done: list[int] = []

    def script(place: int, message: Message) -> Act:
        if not done and is_it(message):
            done.append(place)
            return act
        return Act.PASS

    return script


def commits(message: Message) -> bool:
    return message.body.startswith(b"COMMIT")


@pytest.mark.parametrize("act", [Act.CUT, Act.CUT_AFTER, Act.SWALLOW, Act.CUT_WITHIN])
async def test_a_commit_whose_answer_is_lost_happens_once(postgres_url: str, proxy: Proxy, act: Act) -> None:
    async with opened(through(postgres_url, proxy)) as database:
        proxy.script = once(act, commits)
        await database.write(noted("once"))  # a second time would break the primary key
        assert await notes(database) == ["once"]


async def test_the_outcome_is_unknown_when_nobody_can_be_asked(postgres_url: str, proxy: Proxy) -> None:
    def refuse_after_commit(_place: int, message: Message) -> Act:
        if commits(message):
            proxy.script = lambda *_: Act.CUT
            return Act.SWALLOW
        return Act.PASS

    async with opened(through(postgres_url, proxy)) as database:
        forgotten: list[None] = []
        database.on_rollback(lambda: forgotten.append(None))
        proxy.script = refuse_after_commit
        with pytest.raises(StoreUncertain, match="did not say"):
            await database.write(noted("somehow"))
        assert forgotten
        proxy.script = lambda *_: Act.PASS
        assert await notes(database) == ["somehow"]


async def test_a_database_that_is_away_or_silent_is_told_of_in_time(postgres_url: str, proxy: Proxy) -> None:
    async with opened(through(postgres_url, proxy)) as database:
        await database.read(asked("SELECT 1"))
        for trouble in (proxy.refuse, proxy.blackhole):
            trouble()
            if trouble == proxy.refuse:
                proxy.cut()
            async with asyncio.timeout(6):
                for ask in (database.write, database.read):
                    with pytest.raises(StoreUnavailable):
                        await ask(asked("SELECT 1"))
            proxy.accept() if trouble == proxy.refuse else proxy.pass_on()
            assert await database.write(asked("SELECT 1")) == 1
            assert await database.read(asked("SELECT 1")) == 1


@pytest.fixture(scope="module")
def own_server() -> Any:
    with postgres_of_its_own(synchronous_standby_names="nobody") as server:
        yield server


async def test_a_commit_that_no_standby_has_confirmed_is_not_called_stored(own_server: PostgresServer) -> None:
    own_server.ask("ALTER SYSTEM SET synchronous_standby_names = ''; ")
    own_server.ask("SELECT pg_reload_conf()")
    own_server.ask("CREATE DATABASE lonely")
    async with opened(own_server.url("lonely")) as database:
        own_server.ask("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        own_server.ask("SELECT pg_reload_conf()")
        writing = asyncio.ensure_future(database.write(noted("here alone")))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        cancelled = 0
        while not writing.done():  # the wait of the question that follows is cut short as well
            await asyncio.sleep(0.02)
            cancelled += int(own_server.ask(waiting))
            own_server.ask("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
        assert cancelled > 1
        with pytest.raises(StoreUncertain):
            await writing
        own_server.ask("ALTER SYSTEM SET synchronous_standby_names = ''")
        own_server.ask("SELECT pg_reload_conf()")
        assert await notes(database) == ["here alone"]


async def test_every_store_has_a_turn_of_its_own(database: Database, postgres_url: str) -> None:
    async with opened(postgres_url) as other:
        await other.write(asked("SELECT 1"))
        await database.write(asked("SELECT 1"))
        writers = await database.read(asked("SELECT array_agg(writer) FROM windlass.turns"))
    assert {UUID(str(writer)) for writer in writers} == {database.writer, other.writer}
