"""Histories, running tasks, the registry, how it stands: what a store can be asked besides pages."""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec
import pytest
from store_cases import FAILED, Bench
from store_ids import SeededIds

from windlass.contracts.keys import AccessKey
from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.contracts.tasks import Hold, Release, RequestCancel, Retry, Submit
from windlass.core.ids import ServerId
from windlass.core.kind import Isolation, Kind
from windlass.core.state import TRANSITIONS, EventName, State
from windlass.errors import ConfigError, StoreError, StoreUnavailable
from windlass.store.memory import MemoryStore
from windlass.store.open import open_store
from windlass.store.sqlite.store import DATABASE_FILE

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


# ── running tasks ──────────────────────────────────────────────────


async def test_running_tasks_are_read_in_stretches(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(6)])
    claimed = await bench.claim(shared=5)
    await bench.turn(bench.settle(claimed[1].task))
    running = bench.store.tasks.running
    assert [task.number for task in await running(after=0, limit=3)] == [1, 3, 4]
    assert await running(after=4, limit=3) == [claimed[4].task]
    assert await running(after=5, limit=3) == []


async def test_what_runs_under_a_lease_is_its_servers_until_the_lease_ends(bench: Bench) -> None:
    tasks, registry = bench.store.tasks, bench.store.registry
    first, second = (
        ServerRow(id=bench.ids.server_id(), host="h", pid=1, version="0", started_at=bench.now, home="here")
        for _ in range(2)
    )
    await registry.enroll(first, ttl_s=30.0)
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    await bench.claim(shared=3)
    assert [task.number for task in await tasks.leased(after=0, limit=2)] == [1, 2]
    assert [task.number for task in await tasks.leased(after=2, limit=9)] == [3]
    assert not await tasks.orphans(after=0, limit=9)
    await registry.enroll(second, ttl_s=30.0)
    assert not await tasks.leased(after=0, limit=9)
    assert [task.number for task in await tasks.orphans(after=0, limit=9)] == [1, 2, 3]


# ── events ─────────────────────────────────────────────────────────


async def live_through_everything(bench: Bench) -> None:
    """Take tasks along every kind of event."""
    running = await bench.run(max_attempts=2)
    await bench.end(running.task, FAILED)
    bench.pass_time(60)
    (second,) = await bench.claim()
    await bench.end(second.task, FAILED)
    await bench.turn(Retry(1, bench.now))
    await bench.turn(Hold(1, bench.now))
    await bench.turn(Release(1, bench.now))
    (third,) = await bench.claim()
    await bench.turn(RequestCancel(1, bench.now))
    await bench.end(await bench.task(third.task.number), FAILED)
    other = await bench.submit(kind="other")
    await bench.turn(RequestCancel(other.number, bench.now))


async def test_histories_are_legal_paths_that_end_where_the_task_stands(bench: Bench) -> None:
    await live_through_everything(bench)
    for number in (1, 2):
        state: State | None = None
        for place, event in enumerate(await bench.history(number), start=1):
            assert event.ordinal == place
            assert TRANSITIONS[state, event.name] is event.state
            state = event.state
        task = await bench.task(number)
        assert (task.state, task.id, task.kind) == (state, event.task_id, event.kind)


async def test_the_log_holds_every_event_once_in_the_order_of_the_turns(bench: Bench) -> None:
    await live_through_everything(bench)
    log = await bench.store.events.log()
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    for number in (1, 2):
        assert [event for event in log if event.number == number] == list(await bench.history(number))


async def test_a_turn_gives_the_very_events_that_the_log_keeps(bench: Bench) -> None:
    running = await bench.run(kind="other")
    turn = await bench.turn(bench.settle(running.task, FAILED), Submit(bench.new()), slots={"shared": 1})
    names = [EventName.RETRYING, EventName.SUBMITTED, EventName.STARTED]
    assert [event.name for event in turn.events] == names
    assert list(await bench.store.events.log(after=2)) == list(turn.events)


async def test_histories_and_the_log_are_read_in_stretches(bench: Bench) -> None:
    await live_through_everything(bench)
    whole = list(await bench.history(1))
    assert list(await bench.store.events.history(1, after=3, limit=2)) == whole[3:5]
    assert list(await bench.store.events.history(1, after=len(whole))) == []
    log = list(await bench.store.events.log())
    assert list(await bench.store.events.log(after=4, limit=3)) == log[4:7]
    assert list(await bench.store.events.history(77)) == []


# ── registry ───────────────────────────────────────────────────────


def server(bench: Bench) -> ServerRow:
    return ServerRow(id=bench.ids.server_id(), host="h", pid=7, version="1", started_at=bench.now)


async def test_the_store_belongs_to_the_server_that_enrolled_last(bench: Bench) -> None:
    registry, first, second = bench.store.registry, server(bench), server(bench)
    assert not await registry.beat(first.id, now=bench.now)
    await registry.enroll(first, ttl_s=30.0)
    assert await registry.beat(first.id, now=bench.now)
    await registry.enroll(second, ttl_s=30.0)
    assert not await registry.beat(first.id, now=bench.now)
    assert await registry.beat(second.id, now=bench.now)


async def test_workers_are_known_until_they_are_struck(bench: Bench) -> None:
    registry = bench.store.registry
    await registry.enroll(msgspec.structs.replace(server(bench), home="here"), ttl_s=30.0)
    workers = [WorkerRow(server=ServerId(bench.ids.task_id()), pid=pid, started=5, boot="b") for pid in (9, 8, 7)]
    for worker in (*workers, workers[0]):
        await registry.record_worker(worker)
    assert list(await registry.workers("here")) == workers
    await registry.forget_worker(msgspec.structs.replace(workers[1], started=6))
    await registry.forget_worker(workers[1])
    await registry.forget_worker(workers[1])
    assert list(await registry.workers("here")) == [workers[0], workers[2]]


def kind(name: str, version: str = "1", **changes: object) -> Kind:
    values: dict[str, object] = {"app": "app", "schema": b'{"type":"object"}', "isolation": Isolation.SOLO}
    return Kind(name=name, version=version, **values | changes)  # type: ignore[arg-type]


async def test_kinds_are_read_by_name_and_the_one_kept_last_first(bench: Bench) -> None:
    registry = bench.store.registry
    b1, b2, a1 = kind("b"), kind("b", "2", summary="two", timeout_s=None), kind("a", grace_s=1)
    await registry.keep_kinds([b1, b2, a1])
    assert list(await registry.kinds()) == [a1, b2, b1]
    await registry.keep_kinds([b1])
    assert list(await registry.kinds()) == [a1, b1, b2]
    changed = msgspec.structs.replace(b2, schema=b"{}")
    await registry.keep_kinds([changed])
    assert list(await registry.kinds()) == [a1, changed, b1]


# ── keys ───────────────────────────────────────────────────────────


def access_key(bench: Bench, name: str, **changes: object) -> AccessKey:
    values: dict[str, object] = {"digest": name.encode() * 8, "scopes": ("read", "submit"), "created_at": bench.now}
    return AccessKey(id=name, name=f"key {name}", **values | changes)  # type: ignore[arg-type]


async def test_keys_are_read_by_the_time_they_were_made(bench: Bench) -> None:
    keys = [access_key(bench, name) for name in "ba"]
    bench.pass_time(1)
    keys.append(access_key(bench, "0", scopes=(), revoked_at=bench.now, used_at=bench.now))
    for key in (keys[2], keys[0], keys[1]):
        await bench.store.keys.add(key)
    assert list(await bench.store.keys.all()) == [keys[1], keys[0], keys[2]]


async def test_a_key_is_made_once(bench: Bench) -> None:
    key = access_key(bench, "a")
    await bench.store.keys.add(key)
    with pytest.raises(StoreError):
        await bench.store.keys.add(msgspec.structs.replace(key, scopes=("admin",)))
    assert list(await bench.store.keys.all()) == [key]


async def test_a_key_is_revoked_once_and_stays_known(bench: Bench) -> None:
    key, other = access_key(bench, "a"), access_key(bench, "b")
    await bench.store.keys.add(key)
    await bench.store.keys.add(other)
    revoked = msgspec.structs.replace(key, revoked_at=bench.now)
    assert await bench.store.keys.revoke("a", at=bench.now)
    bench.pass_time(5)
    assert await bench.store.keys.revoke("a", at=bench.now)
    assert not await bench.store.keys.revoke("c", at=bench.now)
    assert list(await bench.store.keys.all()) == [revoked, other]


async def test_a_key_remembers_its_last_use_and_no_earlier_one(bench: Bench) -> None:
    keys, first = bench.store.keys, bench.now
    await keys.add(access_key(bench, "a"))
    bench.pass_time(5)
    await keys.touch([("a", bench.now), ("nobody", bench.now)])
    await keys.touch([("a", first)])
    await keys.touch([])
    assert [key.used_at for key in await keys.all()] == [bench.now]


# ── how it stands ──────────────────────────────────────────────────


async def test_a_store_in_memory_knows_no_place_and_no_size() -> None:
    status = await MemoryStore(SeededIds()).status()
    assert (status.kind, status.place, status.size_bytes, status.log_bytes) == ("memory", None, None, None)
    assert status.has_room


async def test_a_store_in_a_file_says_where_it_is_and_how_it_grows(sqlite_bench: Bench, tmp_path: Path) -> None:
    before = await sqlite_bench.store.status()
    assert (before.kind, before.place) == ("sqlite", str(tmp_path / DATABASE_FILE))
    assert (before.schema, before.library) == (3, f"SQLite {apsw.sqlite_lib_version()}")
    assert before.has_room
    await sqlite_bench.turn(*[Submit(sqlite_bench.new(payload=b"x" * 50_000)) for _ in range(20)])
    after = await sqlite_bench.store.status()
    assert before.size_bytes is not None
    assert before.log_bytes is not None
    assert (after.size_bytes or 0) + (after.log_bytes or 0) >= before.size_bytes + before.log_bytes + 1_000_000
    assert after.size_bytes == (tmp_path / DATABASE_FILE).stat().st_size


# ── opening and closing ────────────────────────────────────────────


async def test_a_closed_store_takes_no_turn_and_can_be_closed_again(bench: Bench) -> None:
    await bench.store.close()
    await bench.store.close()
    with pytest.raises(StoreUnavailable, match="open"):
        await bench.turn()


async def test_a_store_that_does_not_exist_is_refused_by_name(tmp_path: Path, bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"'oracle'.*'sqlite', 'memory' or a url"):
        await open_store("oracle", data=tmp_path, ids=bench.ids)
