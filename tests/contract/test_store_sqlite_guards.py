"""What stands below the code of the SQLite store: constraints, a trigger, and plans that do not scan."""

from __future__ import annotations

import re
from typing import Any

import apsw
import pytest
from store_cases import START, Bench, database_of, file

from windlass.contracts.tasks import Delete, Hold, KeepFile, Prune, RequestCancel, Save, Submit, Write
from windlass.core.query import TaskQuery
from windlass.core.state import Reason, State
from windlass.core.waiting import Waiting, waiting_for
from windlass.errors import StoreError
from windlass.store.sqlite import page_statements as lists
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.groups import GROUPS

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


@pytest.fixture
def bench(sqlite_bench: Bench) -> Bench:
    return sqlite_bench


# ── the guards below the code ──────────────────────────────────────


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.FAILED])
async def test_not_even_maintenance_can_bring_an_ended_task_back(bench: Bench, state: State) -> None:
    running = await bench.run()
    await bench.end(running.task)

    def meddle(connection: Any) -> None:
        connection.execute(
            "UPDATE tasks SET state = ?1, token = iif(?1 = 'running', x'00', NULL), "
            "finished_at = iif(?1 = 'failed', 1, NULL) WHERE number = 1",
            (state.value,),
        )

    with pytest.raises(StoreError, match="left by a retry alone"):
        await database_of(bench).write(meddle)
    assert (await bench.task(1)).state is State.SUCCEEDED


@pytest.mark.parametrize("way", [Delete(1, START), Prune((State.SUCCEEDED,), None, 9, START)])
async def test_no_row_of_any_table_outlives_its_task(bench: Bench, way: Write) -> None:
    running = await bench.run(key="k", name="n", max_attempts=3)
    token = running.task.token
    assert token is not None
    await bench.turn(Save(1, token, b"[1]"), KeepFile(1, token, file(0)))
    await bench.turn(bench.settle(running.task), way, Submit(bench.new()))

    def count_rows(connection: Any) -> dict[str, int]:
        assert connection.execute(sql.CHECK_REFERENCES).fetchall() == []
        tables = ("tasks", "specs", "events", "endings", "checkpoints", "files", "tombstones")
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables}

    rows = await database_of(bench).write(count_rows)
    assert rows == {"tasks": 1, "specs": 1, "events": 1, "endings": 0, "checkpoints": 0, "files": 0, "tombstones": 1}


@pytest.mark.parametrize("table", ["tasks", "specs", "events"])
@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.CANCELLED])
async def test_not_even_maintenance_can_delete_what_has_not_ended(bench: Bench, table: str, state: State) -> None:
    await bench.submit()
    if state is State.RUNNING:
        await bench.claim()
    if state is State.CANCELLED:
        await bench.turn(RequestCancel(1, bench.now))
    before = await bench.dump()

    def meddle(connection: Any) -> None:
        connection.execute("BEGIN")
        try:
            connection.execute(f"DELETE FROM {table}")
        finally:
            connection.execute("ROLLBACK")

    if state is State.CANCELLED:
        await database_of(bench).write(meddle)
    else:
        with pytest.raises(StoreError, match="has not ended cannot be deleted"):
            await database_of(bench).write(meddle)
    assert await bench.dump() == before


@pytest.mark.parametrize(
    "change", ["token = NULL", "state = 'queued'", "finished_at = 1", "held = 1", "ready = 1", "state = 'lost'"]
)
async def test_a_row_that_contradicts_itself_is_refused(bench: Bench, change: str) -> None:
    await bench.run()
    with pytest.raises(StoreError, match="CHECK"):
        await database_of(bench).write(lambda connection: connection.execute(f"UPDATE tasks SET {change}"))


def texts() -> dict[str, str]:
    """All statements by their names, those over many rows once for each size."""
    found: dict[str, str] = {}
    for name, value in (vars(sql) | vars(lists)).items():
        if isinstance(value, str):
            found[name] = value
        elif name.isupper():
            found |= {f"{name}-{size}": text for size, text in value}
    return found


def test_every_update_of_a_running_task_names_its_state_and_token() -> None:
    updates = {name: text for name, text in texts().items() if "UPDATE tasks" in text}
    grouped = {"SETTLE", "REPORT", "SAVE", "TOUCH", "START"}
    assert {name.partition("-")[0] for name in updates} == grouped | {"AMEND", "EDIT", "HIDE", "PROMOTE"}
    for size in GROUPS:
        for name in ("SETTLE", "REPORT", "SAVE", "TOUCH"):
            guard = "WHERE number = +one.column1 AND state = 'running' AND token = +one.column2"
            assert guard in updates[f"{name}-{size}"]
        assert "AND (cancel_requested_at IS NOT NULL) = ?1" in updates[f"SETTLE-{size}"]
        assert "WHERE number = +one.column1 AND state = 'queued' AND ready = 1" in updates[f"START-{size}"]
    for name in ("AMEND", "EDIT", "HIDE"):
        assert "WHERE number = ?1 AND version = ?2" in updates[name]


async def test_the_statements_call_the_same_ends_a_retry_as_core_does(bench: Bench) -> None:
    reasons = [None, *Reason]
    await bench.turn(*[Submit(bench.new(delay_s=60)) for _ in reasons])

    def meddle(connection: Any) -> None:
        connection.executemany("UPDATE tasks SET reason = ?2 WHERE number = ?1", list(enumerate(reasons, start=1)))

    await database_of(bench).write(meddle)
    tasks = (await bench.store.tasks.page(TaskQuery())).tasks
    for waiting in (Waiting.RETRY, Waiting.UNTIL):
        found = (await bench.store.tasks.page(TaskQuery(waiting=waiting))).tasks
        assert found == [task for task in tasks if waiting_for(task, now=bench.now, is_kind_live=True) is waiting]
        assert found


# ── cost ───────────────────────────────────────────────────────────

GROWS = re.compile("tasks|specs|events|endings|files|checkpoints|tombstones|replays")
READING = {
    name: text
    for name, text in texts().items()
    if re.match(r"\s*(SELECT|UPDATE|WITH|DELETE|INSERT)", text) and GROWS.search(text)
}
GROWING = re.compile(
    r"SCAN (t|tasks|s|specs|e|endings|events|files|checkpoints|tombstones|replays)\b(?! USING .*INDEX unswept)"
    r"|TEMP B-TREE"
)
FIRST_OF_INDEX = re.compile(r"SCAN tasks USING (COVERING )?INDEX (scheduled|ready)_tasks$")
"""The first entry of a partial index, by `ORDER BY ... LIMIT 1`, is no scan of what lies behind it."""


async def plan_of(bench: Bench, statement: str) -> list[str]:
    shared = max((int(n) for n in re.findall(r"\?(\d+)", statement)), default=0)
    values = (None,) * (shared + len(re.findall(r"\?(?!\d)", statement)))

    def explain(connection: Any) -> list[str]:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

    return await database_of(bench).write(explain)


@pytest.mark.parametrize("name", sorted(READING))
async def test_no_statement_scans_or_sorts_what_grows(bench: Bench, name: str) -> None:
    plan = await plan_of(bench, READING[name])
    assert [step for step in plan if GROWING.search(step) and not FIRST_OF_INDEX.match(step)] == []


@pytest.mark.parametrize(
    "name", sorted(name for name in READING if re.match("(START|SETTLE|ATTEMPTS|REPORT|SAVE|TOUCH)-", name))
)
async def test_what_attempts_write_finds_its_tasks_by_their_numbers(bench: Bench, name: str) -> None:
    plan = await plan_of(bench, READING[name])
    (step,) = [step for step in plan if "tasks" in step]
    assert step == "SEARCH tasks USING INTEGER PRIMARY KEY (rowid=?)"


async def test_a_claim_walks_the_ready_index(bench: Bench) -> None:
    plan = await plan_of(bench, sql.READY_TASKS)
    assert plan[0] == "SEARCH t USING INDEX ready_tasks (lane=? AND solo=?)"


async def test_a_search_reads_no_names_but_those_it_is_for(bench: Bench) -> None:
    for statement in (lists.PAGE_NEWEST_FOUND, lists.PAGE_OLDEST_FOUND, lists.MANY_NAMES):
        plan = await plan_of(bench, statement)
        assert any(step.endswith("INDEX specs_by_name (name>? AND name<?)") for step in plan), plan


async def test_pages_of_ends_walk_the_ends_of_their_state_alone(bench: Bench) -> None:
    for statement in (lists.PAGE_ENDED_LAST, lists.LAST_EXAMINED, sql.ENDED_FIRST):
        plan = await plan_of(bench, statement)
        assert "INDEX ended_tasks (state=? AND " in plan[0], plan


async def test_pages_of_an_origin_walk_its_own_tasks_alone(bench: Bench) -> None:
    for statement in (lists.PAGE_NEWEST_OF_ORIGIN, lists.PAGE_OLDEST_OF_ORIGIN):
        plan = await plan_of(bench, statement)
        assert "SEARCH specs USING COVERING INDEX specs_by_origin (origin=? AND rowid>? AND rowid<?)" in plan, plan
    assert "INDEX tasks_by_origin_number (origin_number=?)" in " ".join(await plan_of(bench, sql.TASK_OF_ORIGIN))


async def test_the_oldest_wait_is_found_by_the_ready_index(bench: Bench) -> None:
    plan = await plan_of(bench, sql.READY_SINCE)
    steps = [step for step in plan if "tasks" in step]
    assert steps
    assert all(re.match(r"SEARCH tasks USING COVERING INDEX ready_tasks \(lane=\? AND solo=\?", step) for step in steps)


async def steps_of_a_turn(bench: Bench) -> int:
    """Count the steps SQLite's machine takes for one submit and claim."""
    steps = 0

    def profile(event: Any) -> None:
        nonlocal steps
        steps += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    def install(connection: Any) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, profile)

    await database_of(bench).write(install)
    turn = await bench.turn(Submit(bench.new(queue="quick", priority=-1)), slots={"shared": 1})
    assert len(turn.claimed) == 1
    await database_of(bench).write(lambda connection: connection.trace_v2(0, None))
    return steps


async def test_a_turn_costs_the_same_however_much_waits(bench: Bench) -> None:
    await steps_of_a_turn(bench)
    alone = await steps_of_a_turn(bench)
    await bench.turn(
        *[Submit(bench.new(queue="quick", priority=-2)) for _ in range(500)],
        *[Submit(bench.new(queue="quick", delay_s=900)) for _ in range(300)],
        *[Submit(bench.new(queue="quick", kind="foreign")) for _ in range(300)],
    )
    await bench.turn(*[Hold(number, bench.now) for number in range(3, 103)])
    await bench.turn(*[bench.settle(start.task) for start in await bench.claim(shared=100)])
    assert await steps_of_a_turn(bench) <= alone * 1.2


async def test_a_claim_reads_no_more_queues_than_it_has_slots(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(queue=f"customer-{n}")) for n in range(300)])
    lines_read = 0

    def profile(event: Any) -> None:
        nonlocal lines_read
        lines_read += "LIMIT ?3 OFFSET ?4" in event["sql"]

    await database_of(bench).write(lambda connection: connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, profile))
    for slots in (1, 5):
        lines_read = 0
        assert len(await bench.claim(shared=slots)) == slots
        assert slots <= lines_read <= 2 * slots
    lines_read = 0
    assert len(await bench.claim(shared=400)) == 294
    assert lines_read <= 2 * 294
