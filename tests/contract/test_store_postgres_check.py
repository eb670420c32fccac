"""What `windlass check` finds in a PostgreSQL store: nothing where all is well, and each rule that was broken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from clean import assert_clean, violations_in
from postgres import database, database_name, shared_postgres
from store_cases import FAILED, START, Bench, file

from windlass.contracts.registry import ServerRow
from windlass.contracts.store import Snapshot
from windlass.contracts.tasks import Delete, Hold, KeepFile, RequestCancel, Retry, Save, Submit, Wanted
from windlass.core.invariants import Rule
from windlass.errors import NotFoundError, SchemaMismatch, StoreUnavailable
from windlass.store.open import take_snapshot

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

DELETED = 7


@pytest.fixture
async def bench(postgres_bench: Bench) -> Bench:
    """Give a store with a task in every state, one that ran twice, one that was led out of its end, and one deleted."""
    bench = postgres_bench
    server = ServerRow(id=bench.ids.server_id(), host="here", pid=1, version="1", started_at=bench.now)
    await bench.store.registry.enroll(server, ttl_s=30.0)
    await bench.turn(*[Submit(bench.new(key=f"k{n}", payload=b'{"n":%d}' % n)) for n in range(DELETED)])
    claimed = await bench.claim(shared=4)
    token = claimed[3].task.token
    assert token is not None
    await bench.turn(
        bench.settle(claimed[0].task),
        bench.settle(claimed[1].task, FAILED, run_at=bench.now),
        bench.settle(claimed[2].task),
        KeepFile(4, token, file(0)),
        Save(4, token, b"[1]"),
        RequestCancel(5, bench.now),
        Hold(6, bench.now),
        RequestCancel(DELETED, bench.now),
        Delete(DELETED, bench.now),
        Retry(3, bench.now),
    )
    (again,) = await bench.claim(shared=1)
    assert again.task.number == 2
    await bench.end(again.task)
    return bench


def meddle(url: str, statement: str) -> None:
    """Do what the store's own code and its triggers never would."""
    shared_postgres().ask(f"SET session_replication_role = replica; {statement}", database_name(url))


async def faults_of(url: str, tmp_path: Path, bench: Bench) -> list[str]:
    snapshot = await take_snapshot(url, data=tmp_path, ids=bench.ids)
    try:
        return [fault async for fault in snapshot.faults()]
    finally:
        await snapshot.close()


async def test_a_store_that_all_has_happened_to_is_clean_while_it_is_open_and_once_it_is_closed(
    postgres_url: str, bench: Bench, tmp_path: Path
) -> None:
    assert_clean(tmp_path, database=postgres_url)
    for _ in range(3):
        await bench.turn(*[Submit(bench.new()) for _ in range(20)], slots={"shared": 30})
        assert_clean(tmp_path, database=postgres_url)
    await bench.store.close()
    assert_clean(tmp_path, database=postgres_url)


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        (Rule.HISTORY, "DELETE FROM windlass.events WHERE number = 2 AND ordinal = 2"),
        (Rule.HISTORY, "DELETE FROM windlass.events WHERE number = 6"),
        (Rule.STATE, "UPDATE windlass.tasks SET held = false WHERE number = 6"),
        (Rule.STATE, "UPDATE windlass.ended SET state = 'failed' WHERE number = 1"),
        (Rule.ATTEMPTS, "UPDATE windlass.ended SET attempt = 3 WHERE number = 2"),
        (Rule.BUDGET, "UPDATE windlass.specs SET max_attempts = 1 WHERE number = 2"),
        (Rule.TOKENS, "UPDATE windlass.events SET token = id FROM windlass.servers WHERE number = 2 AND ordinal = 3"),
        (Rule.LEASE, "UPDATE windlass.tasks SET token = server WHERE state = 'running'"),
        (Rule.LEASE, "DELETE FROM windlass.servers"),
        (Rule.COUNTERS, "INSERT INTO windlass.counts SELECT lane, 'queued', 1, 0 FROM windlass.lanes"),
        (Rule.COUNTERS, "DELETE FROM windlass.counts"),
        (Rule.TOMBSTONES, "INSERT INTO windlass.tombstones SELECT number, id, now() FROM windlass.specs LIMIT 1"),
        (Rule.DATABASE, "INSERT INTO windlass.checkpoints (number, checkpoint) VALUES (999, '[]')"),
    ],
)
async def test_a_broken_rule_is_found(
    postgres_url: str, bench: Bench, tmp_path: Path, rule: Rule, statement: str
) -> None:
    await bench.store.close()
    meddle(postgres_url, statement)
    assert rule in {violation.rule for violation in violations_in(tmp_path, database=postgres_url)}


TO_TASKS = """
INSERT INTO windlass.tasks (number, lane, state, ready, run_at, grace_s, size_bytes)
SELECT number, lane, 'queued', true, run_at, grace_s, size_bytes FROM windlass.ended WHERE number = 1"""
TO_ANOTHER_DAY = """
CREATE TABLE windlass.ended_19700101 PARTITION OF windlass.ended FOR VALUES FROM ('1970-01-01') TO ('1970-01-02');
CREATE TEMPORARY TABLE twin AS SELECT * FROM windlass.ended WHERE number = 1;
UPDATE twin SET finished_at = '1970-01-01 12:00+00';
INSERT INTO windlass.ended SELECT * FROM twin"""


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM windlass.tasks WHERE number = 6", "task 6 was submitted, and is neither"),
        ("DELETE FROM windlass.ended WHERE number = 1", "task 1 was submitted, and is neither"),
        (TO_TASKS, "task 1 is both"),
        (TO_ANOTHER_DAY, "task 1 has ended on several days"),
        ("DELETE FROM windlass.specs WHERE number = 6", "row 6 of tasks refers to a row of specs"),
        ("DELETE FROM windlass.specs WHERE number = 1", "row 1 of ended refers to a row of specs"),
        ("DELETE FROM windlass.specs WHERE number = 1", "events refer to a task 1"),
        ("DELETE FROM windlass.specs WHERE number = 4", "files refer to a task 4"),
        ("DELETE FROM windlass.specs WHERE number = 4", "a checkpoint refers to a task 4"),
        ("UPDATE windlass.tasks SET lane = 99 WHERE number = 6", "row 6 of tasks refers to a row of lanes"),
        ("UPDATE windlass.ended SET lane = 99 WHERE number = 1", "row 1 of ended refers to a row of lanes"),
        ("INSERT INTO windlass.counts VALUES (99, 'queued', 1, 1)", "counts refer to a lane 99"),
        ("INSERT INTO windlass.counts VALUES (1, 'queued', -9, 0)", "less than nothing is counted in lane 1"),
        ("INSERT INTO windlass.counts VALUES (1, 'queued', 0, -999)", "less than nothing is counted in lane 1"),
        ("UPDATE windlass.servers SET ended_at = now() - interval '1 hour'", "task 4 runs for a server that holds no"),
        ("DELETE FROM windlass.servers", "task 4 runs for a server that holds no lease"),
        ("UPDATE windlass.tasks SET server = NULL WHERE number = 4", "task 4 runs for a server that holds no lease"),
    ],
)
async def test_rows_that_contradict_each_other_or_refer_to_nothing_are_named(
    postgres_url: str, bench: Bench, tmp_path: Path, statement: str, fault: str
) -> None:
    assert await faults_of(postgres_url, tmp_path, bench) == []
    meddle(postgres_url, statement)
    assert any(found.startswith(fault) for found in await faults_of(postgres_url, tmp_path, bench))


async def test_a_lease_that_has_just_ended_is_left_to_those_who_take_it_over(
    postgres_url: str, bench: Bench, tmp_path: Path
) -> None:
    meddle(postgres_url, "UPDATE windlass.servers SET ended_at = clock_timestamp()")
    assert await faults_of(postgres_url, tmp_path, bench) == []


async def test_of_very_many_faults_the_first_hundred_are_told(postgres_url: str, bench: Bench, tmp_path: Path) -> None:
    rows = "SELECT number, ''::bytea FROM generate_series(1000, 1098) AS gone (number)"
    meddle(postgres_url, f"INSERT INTO windlass.checkpoints {rows}; DELETE FROM windlass.specs")
    assert len(await faults_of(postgres_url, tmp_path, bench)) == 100


# ── the snapshot ───────────────────────────────────────────────────


@pytest.fixture
async def snapshot(postgres_url: str, bench: Bench, tmp_path: Path) -> AsyncIterator[Snapshot]:
    snapshot = await take_snapshot(postgres_url, data=tmp_path, ids=bench.ids)
    yield snapshot
    await snapshot.close()
    await snapshot.close()


async def test_a_snapshot_sees_one_moment_until_it_moves_on(bench: Bench, snapshot: Snapshot) -> None:
    before = await snapshot.events.log(), await snapshot.tasks.counts(), await snapshot.tasks.get(6)
    await bench.turn(Submit(bench.new()), RequestCancel(6, bench.now))
    assert (await snapshot.events.log(), await snapshot.tasks.counts(), await snapshot.tasks.get(6)) == before
    await snapshot.refresh()
    assert await snapshot.events.log() == await bench.store.events.log()
    assert await snapshot.tasks.counts() == await bench.store.tasks.counts()
    assert await snapshot.tasks.get(6) == await bench.task(6)


async def test_a_snapshot_says_what_the_store_is_made_of(postgres_url: str, bench: Bench, snapshot: Snapshot) -> None:
    facts, status = await snapshot.facts(), await bench.store.status()
    assert (facts.schema, facts.library) == (status.schema, status.library)
    assert facts.place == status.place
    assert facts.size_bytes > 0
    assert facts.oldest_ended_at == START
    assert database_name(postgres_url) in facts.place


async def test_a_snapshot_takes_no_write_and_beats_for_nobody(bench: Bench, snapshot: Snapshot) -> None:
    (lease,) = await snapshot.registry.servers()
    for write in (
        snapshot.tasks.turn([], Wanted(), now=bench.now),
        snapshot.registry.beat(lease.server.id, now=bench.now),
        snapshot.registry.leave(lease.server.id),
    ):
        with pytest.raises(StoreUnavailable, match="cannot be written to"):
            await write
    await snapshot.refresh()
    assert await snapshot.registry.servers() == [lease]


async def test_a_store_that_is_not_there_or_not_of_this_version_is_refused(
    postgres_url: str, bench: Bench, tmp_path: Path
) -> None:
    with database(empty=True) as url, pytest.raises(NotFoundError, match="no store in"):
        await take_snapshot(url, data=tmp_path, ids=bench.ids)
    meddle(postgres_url, "UPDATE windlass.migrations SET checksum = 'another'")
    with pytest.raises(SchemaMismatch):
        await take_snapshot(postgres_url, data=tmp_path, ids=bench.ids)
