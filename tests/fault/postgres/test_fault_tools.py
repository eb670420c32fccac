"""The tools that make PostgreSQL and the way to it fail: that each does what its name says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
from live import until
from pg_messages import Message
from pooler import Pooler, pooler_to
from postgres import database, database_name, shared_postgres
from proxy import Act, Proxy, proxy_to
from standby import primary_and_standby

pytestmark = pytest.mark.anyio

LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)
"""How asyncpg says that a connection is gone."""


@pytest.fixture
def name() -> Iterator[str]:
    """Name a fresh, empty database with one table in it."""
    with database("tools", empty=True) as url:
        shared_postgres().ask("CREATE TABLE kept (value int)", database_name(url))
        yield database_name(url)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxy_to(shared_postgres().port) as proxy:
        yield proxy


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    with pooler_to(shared_postgres().port) as pooler:
        yield pooler


async def connect(name: str, port: int, **options: object) -> asyncpg.Connection:
    return await asyncpg.connect(shared_postgres().url(name, port=port), timeout=5, **options)


def kept(name: str) -> str:
    return shared_postgres().ask("SELECT count(*) FROM kept", name)


@pytest.mark.parametrize(
    ("act", "is_kept"), [(Act.CUT, "0"), (Act.CUT_WITHIN, "0"), (Act.CUT_AFTER, "1"), (Act.SWALLOW, "1")]
)
async def test_a_connection_is_cut_around_a_commit(name: str, proxy: Proxy, act: Act, is_kept: str) -> None:
    def script(_: int, message: Message) -> Act:
        return act if message.says("COMMIT") else Act.PASS

    proxy.script = script
    connection = await connect(name, proxy.port)
    await connection.execute("BEGIN")
    await connection.execute("INSERT INTO kept VALUES ($1)", 7)
    with pytest.raises(LOST):
        await connection.execute("COMMIT")
    connection.terminate()
    # Whether the server has come to it is its own affair for a moment; SWALLOW has waited for that.
    if act is Act.SWALLOW:
        assert kept(name) == is_kept
    until(lambda: kept(name) == is_kept, "the server has done with it")


async def test_what_is_refused_is_taken_again_on_the_same_port(name: str, proxy: Proxy) -> None:
    first = await connect(name, proxy.port)
    proxy.refuse()
    with pytest.raises(OSError):  # noqa: PT011
        await connect(name, proxy.port)
    assert await first.fetchval("SELECT 1") == 1
    proxy.accept()
    second = await connect(name, proxy.port)
    proxy.cut()
    for connection in (first, second):
        with pytest.raises(LOST):
            await connection.fetchval("SELECT 1")
        connection.terminate()


async def test_a_blackhole_may_be_kept_to_connections_that_are_marked(name: str, proxy: Proxy) -> None:
    proxy.script = lambda _, message: Act.MARK if message.says("LISTEN") else Act.PASS
    listening, other = await connect(name, proxy.port), await connect(name, proxy.port)
    heard: asyncio.Queue[str] = asyncio.Queue()
    await listening.add_listener("news", lambda *notice: heard.put_nowait(notice[-1]))
    proxy.blackhole(marked=True)
    await other.execute("NOTIFY news, 'late'")
    assert await other.fetchval("SELECT 1") == 1
    await asyncio.sleep(0.2)
    assert heard.empty()
    proxy.pass_on()
    assert await asyncio.wait_for(heard.get(), 5) == "late"
    for connection in (listening, other):
        await connection.close()


async def test_a_blackhole_says_nothing_and_once_healed_gives_all_back(name: str, proxy: Proxy) -> None:
    connection = await connect(name, proxy.port)
    proxy.blackhole()
    question = asyncio.ensure_future(connection.execute("INSERT INTO kept VALUES (1)"))
    done, _ = await asyncio.wait([question], timeout=0.3)
    assert not done
    assert kept(name) == "0"
    proxy.pass_on()
    assert await question == "INSERT 0 1"
    await connection.close()


async def test_a_half_closed_connection_ends_for_the_client(name: str, proxy: Proxy) -> None:
    connection = await connect(name, proxy.port)
    proxy.half_close()
    with pytest.raises(LOST):
        await connection.fetchval("SELECT 1")
    connection.terminate()


async def test_everything_takes_longer(name: str, proxy: Proxy) -> None:
    connection = await connect(name, proxy.port)
    proxy.delay_s = 0.1
    began_at = asyncio.get_running_loop().time()
    assert await connection.fetchval("SELECT 1") == 1
    assert asyncio.get_running_loop().time() - began_at >= 0.2
    proxy.delay_s = 0.0
    await connection.close()


# ── the pooler ─────────────────────────────────────────────────────


async def test_a_transaction_keeps_its_connection_and_the_next_gets_another(name: str, pooler: Pooler) -> None:
    connection = await connect(name, pooler.port, statement_cache_size=0)

    async def backend() -> int:
        (row,) = await connection.fetch("SELECT pg_backend_pid() AS pid")
        return row["pid"]

    async with connection.transaction():
        first = await backend()
        await connection.execute("SET LOCAL statement_timeout = 1000")
        assert await backend() == first
    async with connection.transaction():
        assert await backend() != first
    await connection.close()
    assert pooler.transactions > 1


async def test_a_prepared_statement_is_lost_with_its_session(name: str, pooler: Pooler) -> None:
    connection = await connect(name, pooler.port)
    assert await connection.fetchval("SELECT 1") == 1
    with pytest.raises((asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)):
        await connection.fetchval("SELECT 1")
    connection.terminate()


async def test_settings_of_a_session_are_refused_at_the_start(name: str, pooler: Pooler) -> None:
    with pytest.raises(asyncpg.PostgresError, match="unsupported startup parameter: statement_timeout"):
        await connect(name, pooler.port, server_settings={"statement_timeout": "1000"})
    assert pooler.refused == ["statement_timeout"]


async def test_a_statement_is_cancelled_through_the_pooler(name: str, pooler: Pooler) -> None:
    connection = await connect(name, pooler.port)
    with pytest.raises(TimeoutError):
        await connection.execute("SELECT pg_sleep(15)", timeout=0.2)
    assert await connection.execute("SELECT 1") == "SELECT 1"
    await connection.close()


async def test_a_client_that_leaves_in_a_transaction_leaves_nothing_to_others(name: str, pooler: Pooler) -> None:
    connection = await connect(name, pooler.port)
    await connection.execute("BEGIN; INSERT INTO kept VALUES (1)")
    connection.terminate()
    open_ones = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    until(lambda: shared_postgres().ask(open_ones, name) == "0", "it was rolled back")
    assert kept(name) == "0"


# ── the standby ────────────────────────────────────────────────────


@pytest.mark.timeout(60)
async def test_what_a_primary_has_acknowledged_its_standby_has() -> None:
    with primary_and_standby() as pair:
        pair.primary.ask("CREATE TABLE kept (value int)")
        pair.primary.ask("INSERT INTO kept VALUES (7)")
        assert pair.standby.ask("SELECT pg_is_in_recovery()") == "t"
        pair.primary.stop("immediate")
        pair.promote()
        assert pair.standby.ask("SELECT value FROM kept") == "7"
        pair.standby.ask("INSERT INTO kept VALUES (8)")
