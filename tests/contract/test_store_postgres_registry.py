"""Leases, homes, keys and wakes when several servers share a PostgreSQL store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace
from postgres import database_name, shared_postgres
from store_ids import SeededIds

from windlass.config.schema import Postgres
from windlass.contracts.keys import AccessKey
from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.contracts.wakes import Wake
from windlass.core.ids import ServerId
from windlass.errors import StoreUnavailable
from windlass.store.postgres.store import PostgresStore, open_postgres

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
QUICK = Postgres(connect_s=1.0)
EVERYTHING = Wake(numbers=None, has_work=True, has_news=True)


@asynccontextmanager
async def opened(url: str, settings: Postgres = QUICK) -> AsyncIterator[PostgresStore]:
    store = await open_postgres(url, ids=SeededIds(), settings=settings, keeps_up=False)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    async with opened(postgres_url) as store:
        yield store


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[PostgresStore]:
    async with opened(postgres_url) as store:
        yield store


@pytest.fixture
def ask(postgres_url: str) -> Callable[[str], str]:
    return lambda sql: shared_postgres().ask(sql, database_name(postgres_url))


def server(n: int, *, home: str | None = None) -> ServerRow:
    id_ = ServerId(f"0192e4a0-0000-7000-8000-{n:012d}")
    return ServerRow(id=id_, host=f"h{n}", pid=n, version="1", started_at=NOW, home=home or f"/data/{n}")


async def live(store: PostgresStore) -> list[str]:
    return [lease.server.host for lease in await store.registry.servers() if lease.is_live]


async def test_servers_of_several_homes_live_beside_each_other(store: PostgresStore, other: PostgresStore) -> None:
    await store.registry.enroll(server(1), ttl_s=30.0)
    await other.registry.enroll(server(2), ttl_s=30.0)
    await other.registry.serve(server(2).id, ["b", "a"])
    assert await live(store) == ["h1", "h2"]
    first, second = await store.registry.servers()
    assert (first.server, first.kinds, second.kinds) == (server(1), (), ("b", "a"))
    assert await store.registry.beat(server(1).id, now=NOW)
    assert (await store.registry.servers())[0].beat_at > first.beat_at


async def test_who_enrolls_ends_the_leases_of_its_home_alone(store: PostgresStore, other: PostgresStore) -> None:
    await store.registry.enroll(server(1, home="/data"), ttl_s=30.0)
    await other.registry.enroll(server(2), ttl_s=30.0)
    await other.registry.enroll(server(3, home="/data"), ttl_s=30.0)
    assert await live(store) == ["h2", "h3"]
    assert not await store.registry.beat(server(1).id, now=NOW)


async def test_an_enrolment_told_twice_is_one(store: PostgresStore) -> None:
    for _ in range(2):
        await store.registry.enroll(server(1), ttl_s=30.0)
    assert len(await store.registry.servers()) == 1


async def test_a_lease_runs_out_by_the_databases_clock_and_is_ended_once(
    store: PostgresStore, other: PostgresStore, ask: Callable[[str], str]
) -> None:
    await store.registry.enroll(server(1), ttl_s=1.0)
    await other.registry.enroll(server(2), ttl_s=30.0)
    assert await other.registry.expire() == []
    while ask("SELECT beat_at + interval '1 second' < clock_timestamp() FROM windlass.servers WHERE pid = 1") == "f":
        await asyncio.sleep(0.05)
    assert await live(other) == ["h2"]
    found = await asyncio.gather(*(who.registry.expire() for who in (store, other)))
    assert sorted(map(list, found), key=len) == [[], [server(1)]]
    assert not await store.registry.beat(server(1).id, now=NOW)


async def test_a_lease_under_which_somebody_claims_is_not_ended_before_that_is_over(
    store: PostgresStore, other: PostgresStore, ask: Callable[[str], str]
) -> None:
    await store.registry.enroll(server(1), ttl_s=30.0)
    ask("UPDATE windlass.servers SET beat_at = beat_at - interval '31 seconds'")
    claiming, enough = asyncio.Event(), asyncio.Event()

    async def claim(connection: object) -> None:
        await connection.fetch("SELECT FROM windlass.servers FOR KEY SHARE")  # type: ignore[attr-defined]
        claiming.set()
        await enough.wait()

    turning = asyncio.ensure_future(store._database.write(claim))
    await claiming.wait()
    assert await other.registry.expire() == []
    assert await store.registry.beat(server(1).id, now=NOW)  # a beat waits for no turn
    enough.set()
    await turning
    assert await other.registry.expire() == []
    ask("UPDATE windlass.servers SET beat_at = beat_at - interval '31 seconds'")
    assert await other.registry.expire() == [server(1)]


async def test_who_leaves_has_no_lease_any_more(store: PostgresStore) -> None:
    await store.registry.enroll(server(1), ttl_s=30.0)
    for _ in range(2):
        await store.registry.leave(server(1).id)
    assert await live(store) == []
    assert not await store.registry.beat(server(1).id, now=NOW)
    assert await store.registry.expire() == []


async def test_beats_may_come_from_any_loop_and_find_their_way_back(
    store: PostgresStore, ask: Callable[[str], str]
) -> None:
    await store.registry.enroll(server(1), ttl_s=30.0)
    beats: list[bool] = []

    def beat() -> None:
        beats.append(asyncio.run(store.registry.beat(server(1).id, now=NOW)))

    for _ in range(2):
        thread = threading.Thread(target=beat)
        thread.start()
        await asyncio.to_thread(thread.join)
        ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'windlass %'")
    assert await store.registry.beat(server(1).id, now=NOW)
    assert beats == [True, True]
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.registry.beat(server(1).id, now=NOW)


async def test_a_beat_that_is_held_up_is_given_up_in_time(store: PostgresStore, ask: Callable[[str], str]) -> None:
    await store.registry.enroll(server(1), ttl_s=1.0)

    async def hold(connection: object) -> None:
        await connection.fetch("SELECT FROM windlass.servers FOR UPDATE")  # type: ignore[attr-defined]
        with pytest.raises(StoreUnavailable, match="no beat got through in 0"):
            await store.registry.beat(server(1).id, now=NOW)

    await store._database.write(hold)
    assert await store.registry.beat(server(1).id, now=NOW)


async def test_worker_processes_are_those_of_a_home(store: PostgresStore, other: PostgresStore) -> None:
    await store.registry.enroll(server(1), ttl_s=30.0)
    await other.registry.enroll(server(2), ttl_s=30.0)
    worker = WorkerRow(server=server(1).id, pid=7, started=8, boot="b")
    for _ in range(2):
        await store.registry.record_worker(worker)
    await store.registry.record_worker(replace(worker, pid=9))
    assert await other.registry.workers("/data/2") == []
    await other.registry.enroll(server(3, home="/data/1"), ttl_s=30.0)
    assert await other.registry.workers("/data/1") == [worker, replace(worker, pid=9)]
    await other.registry.forget_worker(worker)
    assert await store.registry.workers("/data/1") == [replace(worker, pid=9)]


async def test_keys_are_told_of_and_keep_their_last_use(store: PostgresStore, other: PostgresStore) -> None:
    heard: asyncio.Queue[Wake] = asyncio.Queue()
    await other.wakes.listen(heard.put_nowait)
    key = AccessKey(id="k", name="n", digest=b"d", scopes=("read", "write"), created_at=NOW)
    await store.keys.add(key)
    assert await heard.get() == Wake(has_news=True, numbers=[])
    later = NOW.replace(hour=13)
    await store.keys.touch([("k", later)])
    await other.keys.touch([("k", NOW), ("nobody", NOW)])
    assert await other.keys.revoke("k", at=NOW)
    assert await other.keys.revoke("k", at=later)
    assert not await other.keys.revoke("nobody", at=NOW)
    assert await store.keys.all() == [replace(key, used_at=later, revoked_at=NOW)]


# ── wakes ──────────────────────────────────────────────────────────


async def test_wakes_are_gathered_and_never_come_back_to_who_sent_them(
    store: PostgresStore, other: PostgresStore
) -> None:
    heard: asyncio.Queue[Wake] = asyncio.Queue()
    echoes: list[Wake] = []
    await other.wakes.listen(heard.put_nowait)
    await store.wakes.listen(echoes.append)
    store.wakes.tell(numbers=[3])
    for number in range(100):
        store.wakes.tell(numbers=[number])
    store.wakes.tell(has_work=True)
    numbers: set[int] = set()
    wakes = 0
    while True:
        wake = await heard.get()
        wakes += 1
        numbers.update(wake.numbers or ())
        if wake.has_work:
            break
    assert numbers == set(range(100))
    assert wakes <= 2
    other.wakes.tell(has_news=True)
    while not echoes:
        await asyncio.sleep(0.01)
    assert echoes == [Wake(numbers=[], has_news=True)]


async def test_a_wake_that_would_be_too_long_names_nobody(store: PostgresStore, other: PostgresStore) -> None:
    heard: asyncio.Queue[Wake] = asyncio.Queue()
    await other.wakes.listen(heard.put_nowait)
    store.wakes.tell(numbers=range(10**12, 10**12 + 700))
    assert await heard.get() == Wake(numbers=None)


async def test_a_listener_that_was_cut_off_comes_back_and_has_missed_everything(
    store: PostgresStore, other: PostgresStore, ask: Callable[[str], str]
) -> None:
    heard: asyncio.Queue[Wake] = asyncio.Queue()
    await other.wakes.listen(heard.put_nowait)
    ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    assert await heard.get() == EVERYTHING
    store.wakes.tell(numbers=[1])
    assert await heard.get() == Wake(numbers=[1])


async def test_what_is_no_wake_is_not_told(store: PostgresStore, ask: Callable[[str], str]) -> None:
    heard: asyncio.Queue[Wake] = asyncio.Queue()
    await store.wakes.listen(heard.put_nowait)
    for payload in ("", "{}", "[]", '{"writer": 1}'):
        ask(f"SELECT pg_notify('windlass', '{payload}')")
    ask("""SELECT pg_notify('windlass', '{"writer": "somebody", "work": true}')""")
    assert await heard.get() == Wake(numbers=[], has_work=True)


@pytest.mark.parametrize("settings", [Postgres(notify=False), Postgres(pooler=True)])
async def test_without_notifications_nobody_listens_or_tells(
    postgres_url: str, tmp_path: Path, settings: Postgres, ask: Callable[[str], str]
) -> None:
    async with opened(postgres_url, settings) as store:
        await store.wakes.listen(lambda _: None)
        store.wakes.tell(has_work=True)
        await store.keys.touch([])
        assert store.wakes.is_shared
        assert store.wakes._sending is None
        assert ask("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'") == "0"
