"""How a PostgreSQL store is reached, which servers it refuses, and what it says about that."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from live import free_port
from postgres import database, database_name, shared_postgres
from store_ids import SeededIds

from windlass.config.schema import Postgres
from windlass.errors import ConfigError, StoreError, StoreUnavailable
from windlass.store.open import open_store
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.driver import Record, Session
from windlass.store.postgres.urls import single_hosts
from windlass.store.postgres.vetting import Known, Unfit, vet

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

QUICK = Postgres(start_s=0.5, connect_s=2.0)
SOUND: dict[str, Any] = {
    "is_replica": False,
    "version": 160_004,
    "version_name": "16.4",
    "encoding": "UTF8",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "system": 7_001,
    "timeline": "0000000A",
}
KNOWN = Known(7_001, 10, "16.4")


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    return postgres_url


async def opened(url: str, settings: Postgres = QUICK) -> Session:
    return await Connector(url, settings).open(within_s=settings.connect_s)


async def refusal(url: str, data: Path, settings: Postgres = QUICK) -> ConfigError | StoreError:
    with pytest.raises((ConfigError, StoreError)) as refused:
        await open_store(url, data=data, ids=SeededIds(), postgres=settings)
    return cast(ConfigError | StoreError, refused.value)


# ── which servers ──────────────────────────────────────────────────


def judge(*, known: Known | None = None, unsafe: bool = False, **differing: Any) -> Known | Unfit:
    return vet(cast(Record, {**SOUND, **differing}), known, may_be_unsafe=unsafe)


def test_a_sound_primary_is_taken() -> None:
    assert judge() == KNOWN
    assert judge(known=KNOWN) == KNOWN
    assert judge(version=140_000, synchronous_commit="remote_apply") == KNOWN


@pytest.mark.parametrize(
    ("differing", "error", "fix"),
    [
        ({"version": 130_015, "version_name": "13.15"}, ConfigError, "13.15, which is too old: have 14 or newer"),
        ({"is_replica": True, "timeline": None}, StoreUnavailable, "name the primary in `database`, or all hosts"),
        ({"encoding": "LATIN1"}, ConfigError, "ENCODING 'UTF8'"),
        ({"fsync": "off"}, ConfigError, "`fsync` is off.* set it to on.* or set `postgres.unsafe`"),
        ({"full_page_writes": "off"}, ConfigError, "`full_page_writes` is off"),
        ({"synchronous_commit": "off"}, ConfigError, "`synchronous_commit` is off"),
        ({"synchronous_commit": "local"}, ConfigError, "`synchronous_commit` is local"),
    ],
)
def test_an_unfit_server_is_refused_with_what_to_do(differing: dict[str, Any], error: type, fix: str) -> None:
    found = judge(**differing)
    assert isinstance(found, Unfit)
    assert found.error is error
    with pytest.raises(error, match=fix):
        raise found.error(found.problem)


def test_a_database_that_can_lose_commits_is_taken_by_who_says_that_this_does_not_matter() -> None:
    assert judge(fsync="off", full_page_writes="off", synchronous_commit="off", unsafe=True) == KNOWN
    assert isinstance(judge(is_replica=True, unsafe=True), Unfit)


def test_only_the_cluster_that_was_met_first_is_taken_and_none_of_its_past() -> None:
    promoted = judge(known=KNOWN, timeline="0000000B")
    assert promoted == Known(7_001, 11, "16.4")
    stranger, past = judge(known=KNOWN, system=7_002), judge(known=promoted)
    assert isinstance(stranger, Unfit)
    assert (stranger.error, "another database cluster" in stranger.problem) == (StoreError, True)
    assert isinstance(past, Unfit)
    assert (past.error, "an earlier primary" in past.problem) == (StoreError, True)


async def test_a_real_server_tells_all_that_is_asked(url: str) -> None:
    connector = Connector(url, QUICK)
    session = await connector.open(within_s=2.0)
    assert await session.fetchval("SELECT current_setting('application_name')") == connector._name
    await session.close()


@pytest.mark.parametrize(
    ("statement", "fix"),
    [
        ("ALTER DATABASE {name} SET synchronous_commit = off", "`synchronous_commit` is off.*`postgres.unsafe`"),
        ("ALTER DATABASE {name} CONNECTION LIMIT 0", "cannot be reached: too many connections"),
    ],
)
async def test_a_database_that_was_set_up_otherwise_is_refused(
    url: str, tmp_path: Path, statement: str, fix: str
) -> None:
    server = shared_postgres()
    server.ask("CREATE ROLE plain LOGIN") if server.ask("SELECT to_regrole('plain')") == "" else None
    server.ask(statement.format(name=database_name(url)))
    error = await refusal(url.replace("windlass@", "plain@"), tmp_path)
    with pytest.raises(type(error), match=fix):
        raise error


async def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    server = shared_postgres()
    server.ask("CREATE DATABASE bytes_only ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    try:
        error = await refusal(server.url("bytes_only"), tmp_path)
    finally:
        server.ask("DROP DATABASE bytes_only WITH (FORCE)")
    assert isinstance(error, ConfigError)
    assert "keeps text as SQL_ASCII" in error.detail


# ── hosts ──────────────────────────────────────────────────────────


async def test_the_host_that_answers_is_found_among_several_and_tried_first_from_then_on(url: str) -> None:
    dead = f"127.0.0.1:{free_port()}"
    connector = Connector(url.replace("@", f"@{dead},"), QUICK)
    assert [dead in host for host in connector._hosts] == [True, False]
    session = await connector.open(within_s=2.0)
    assert [dead in host for host in connector._hosts] == [False, True]
    await session.close()


async def test_a_silent_host_costs_its_own_share_of_the_time_alone(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        at = url.replace("@", f"@127.0.0.1:{silent.getsockname()[1]},")
        session = await Connector(at, QUICK).open(within_s=2.0)
        assert await session.fetchval("SELECT 1") == 1
        await session.close()


async def test_what_may_come_back_is_told_before_what_will_not(url: str, tmp_path: Path) -> None:
    missing = url.replace(database_name(url), "no_such_database")
    assert isinstance(await refusal(missing, tmp_path), ConfigError)
    dead = missing.replace("@", f"@127.0.0.1:{free_port()},")
    assert isinstance(await refusal(dead, tmp_path), StoreUnavailable)


def test_hosts_in_the_options_are_split_too() -> None:
    assert single_hosts("postgres://u@/d?host=/run/a,/run/b") == [
        "postgres://u@/d?host=/run/a&port=5432",
        "postgres://u@/d?host=/run/b&port=5432",
    ]


# ── waiting and secrets ────────────────────────────────────────────


async def test_a_starting_server_waits_for_its_database_and_says_so(url: str, tmp_path: Path) -> None:
    down = f"postgresql://me:s3cret@127.0.0.1:{free_port()}/jobs?password=s3cret"
    with structlog.testing.capture_logs() as lines:
        error = await refusal(down, tmp_path)
    assert isinstance(error, StoreUnavailable)
    assert "cannot be reached" in error.detail
    assert [line["event"] for line in lines][:1] == ["store.awaited"]
    assert "s3cret" not in repr(lines) + repr(error) + str(error)


@pytest.mark.parametrize(
    "bad",
    [
        "postgresql://me:s3cret@host:notaport/jobs",
        "postgresql://me:s3cret/@host/jobs",
        "postgresql://me:s3cret@host/jobs?sslmode=s3cret",
        "postgresql://me:s3cret@[host/jobs",
    ],
)
async def test_a_url_that_cannot_be_read_is_refused_without_being_repeated(bad: str, tmp_path: Path) -> None:
    error = await refusal(bad, tmp_path)
    assert isinstance(error, ConfigError)
    assert "postgresql://USER:PASSWORD@HOST:PORT/NAME" in error.detail
    assert "s3cret" not in repr(error) + repr(error.__cause__) + repr(error.__context__ if error.__cause__ else "")


async def test_a_wrong_password_is_told_at_once(tmp_path: Path) -> None:
    with database(empty=True) as url:
        server = shared_postgres()
        error = await refusal(server.url(database_name(url), user="nobody_of_that_name"), tmp_path)
    assert isinstance(error, ConfigError)
    assert "does not let this user in" in error.detail


async def test_a_store_says_where_it_is_without_what_is_secret(url: str, tmp_path: Path) -> None:
    store = await open_store(url.replace("windlass@", "windlass:s3cret@"), data=tmp_path, ids=SeededIds())
    try:
        status = await store.status()
    finally:
        await store.close()
    assert status.place == url.replace("windlass@", "")
    assert (status.kind, status.schema, status.library[:11]) == ("postgresql", 1, "PostgreSQL ")
    assert status.size_bytes
    assert status.size_bytes > 1_000_000
