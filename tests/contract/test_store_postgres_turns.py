"""Turns of several servers on one database: nothing is stored twice, started twice or beyond a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import asyncpg
import pytest
from store_cases import ALL, NOBODY, OK, START, Bench, applied_task, file, refused

from windlass.contracts.queues import SetQueue
from windlass.contracts.registry import ServerRow
from windlass.contracts.tasks import (
    Applied,
    Claimed,
    Delete,
    Edit,
    KeepFile,
    Prune,
    Refusal,
    Replay,
    RequestCancel,
    Retry,
    Submit,
    SubmitBatch,
)
from windlass.contracts.wakes import Wake
from windlass.core.ids import ServerId
from windlass.core.outcome import Snoozed
from windlass.core.state import EventName, State
from windlass.errors import StoreUnavailable
from windlass.store.postgres.walk import LANES_AT_ONCE

pytest_plugins = ["store_fixtures", "store_servers"]
pytestmark = pytest.mark.anyio

Open = Callable[[], Awaitable[Bench]]


def numbers(claimed: Sequence[Claimed]) -> list[int]:
    return [start.task.number for start in claimed]


async def until_waiting(raw: asyncpg.Connection, count: int, *events: str) -> None:
    """Wait until so many others wait for a row, or for one of `events`."""
    waiting = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = ANY($1)"""
    while await raw.fetchval(waiting, events or ("transactionid", "tuple")) < count:
        await asyncio.sleep(0.01)


# ── what is unique ─────────────────────────────────────────────────


async def test_the_same_key_at_two_servers_at_once_is_one_task(opened: Open) -> None:
    benches = [await opened() for _ in range(4)]
    for round_ in range(10):
        writes = [Submit(bench.new(key=f"k{round_}", fingerprint=b"f" * 32)) for bench in benches]
        results = await asyncio.gather(*[bench.write(write) for bench, write in zip(benches, writes, strict=True)])
        tasks = [applied_task(result) for result in results]
        assert len({task.number for task in tasks}) == 1
        assert sum(isinstance(result, Applied) and result.created for result in results) == 1


async def test_the_same_idempotency_key_at_two_servers_at_once_stores_one_task(opened: Open) -> None:
    benches = [await opened() for _ in range(4)]
    for round_ in range(10):
        replay = Replay("caller", f"k{round_}", b"f" * 32, START + timedelta(days=1))
        results = await asyncio.gather(*[bench.write(Submit(bench.new(), replay)) for bench in benches])
        assert len({applied_task(result).number for result in results}) == 1
        assert sum(isinstance(result, Applied) and result.replayed for result in results) == 3


async def test_numbers_of_an_origin_have_no_gap_however_many_servers_give_them_out(opened: Open) -> None:
    benches = [await opened() for _ in range(3)]

    async def submit(bench: Bench) -> list[int | None]:
        return [(await bench.submit(origin="dialect")).origin_number for _ in range(10)]

    given = [number for part in await asyncio.gather(*map(submit, benches)) for number in part]
    assert sorted(number or 0 for number in given) == list(range(1, 31))


async def test_a_lane_that_another_server_has_made_is_found_in_the_next_turn(opened: Open) -> None:
    first, second = await opened(), await opened()
    await second.turn()
    task = await first.submit(queue="new", priority=7)
    (claimed,) = await second.claim()
    assert (claimed.task.number, claimed.task.queue, claimed.task.priority) == (task.number, "new", 7)


async def test_servers_that_make_the_same_lanes_at_once_make_each_once(opened: Open) -> None:
    benches = [await opened() for _ in range(4)]
    await asyncio.gather(
        *[bench.turn(*[Submit(bench.new(queue=f"q{queue}")) for queue in range(20)]) for bench in benches]
    )
    rows = await benches[0].store.tasks.queues()
    assert [row.queued for row in rows] == [4] * 20
    assert len(await benches[1].claim()) == 80


# ── claims ─────────────────────────────────────────────────────────


async def test_eight_claimers_start_each_of_400_tasks_once(opened: Open) -> None:
    benches = [await opened() for _ in range(8)]
    await benches[0].turn(*[Submit(benches[0].new(queue=f"q{place % 3}")) for place in range(400)])

    async def claim_all(bench: Bench) -> list[int]:
        mine: list[int] = []
        while claimed := await bench.claim(shared=7):
            mine += numbers(claimed)
        return mine

    found = await asyncio.gather(*map(claim_all, benches))
    assert sorted(number for part in found for number in part) == list(range(1, 401))
    tokens = {task.token for task in await benches[0].store.tasks.running(after=0, limit=500)}
    assert len(tokens) == 400


async def test_a_limit_is_never_exceeded_by_servers_that_claim_at_once(opened: Open) -> None:
    benches = [await opened() for _ in range(3)]
    await benches[0].turn(
        SetQueue(name="default", at=START, concurrency=3), *[Submit(benches[0].new()) for _ in range(45)]
    )
    most = 0

    async def work(bench: Bench) -> int:
        nonlocal most
        done = idle = 0
        while idle < 3:
            claimed = await bench.claim(shared=10)
            (row,) = await bench.store.tasks.queues()
            most = max(most, row.running)
            if claimed:
                await bench.turn(*[bench.settle(start.task) for start in claimed])
            done += len(claimed)
            idle = 0 if claimed or row.queued else idle + 1
        return done

    assert sum(await asyncio.gather(*map(work, benches))) == 45
    assert most == 3


async def test_a_full_queue_takes_no_more_from_servers_that_submit_at_once(opened: Open) -> None:
    benches = [await opened() for _ in range(4)]
    await benches[0].write(SetQueue(name="default", at=START, capacity=5))
    results = await asyncio.gather(*[bench.write(Submit(bench.new())) for bench in benches for _ in range(4)])
    assert sum(isinstance(result, Applied) for result in results) == 5
    assert {refused(result).why for result in results if not isinstance(result, Applied)} == {Refusal.CAPACITY}


async def test_a_turn_that_holds_one_limit_waits_for_no_other(opened: Open, raw: asyncpg.Connection) -> None:
    bench = await opened()
    await bench.turn(*[SetQueue(name=name, at=START, capacity=9, concurrency=9) for name in ("a", "b")])
    await bench.submit(queue="b")
    async with raw.transaction():
        await raw.execute("SELECT FROM windlass.queues WHERE name = 'b' FOR UPDATE")
        async with asyncio.timeout(2):
            turn = await bench.turn(Submit(bench.new(queue="a")), slots=ALL)
        assert [start.task.queue for start in turn.claimed] == ["a"]
    assert [start.task.queue for start in await bench.claim()] == ["b"]


async def test_a_claim_steps_over_locked_tasks_instead_of_waiting(opened: Open, raw: asyncpg.Connection) -> None:
    bench = await opened()
    await bench.turn(*[Submit(bench.new()) for _ in range(5)])
    async with raw.transaction():
        await raw.execute("SELECT FROM windlass.tasks WHERE number IN (1, 3) FOR UPDATE")
        async with asyncio.timeout(2):
            assert numbers(await bench.claim(shared=2)) == [2, 4]
    assert sorted(numbers(await bench.claim(shared=5))) == [1, 3, 5]


async def test_a_claim_locks_hardly_more_tasks_than_it_starts(opened: Open, raw: asyncpg.Connection) -> None:
    bench = await opened()
    await bench.turn(*[Submit(bench.new(priority=place % 20)) for place in range(400)])
    async with raw.transaction():
        # Whoever waits for this lock has picked, and its transaction holds what it has locked.
        await raw.execute("LOCK TABLE windlass.events IN ACCESS EXCLUSIVE MODE")
        claim = asyncio.ensure_future(bench.claim(shared=20))
        await until_waiting(raw, 1, "relation")
        free = await raw.fetch("SELECT FROM windlass.tasks WHERE state = 'queued' FOR UPDATE SKIP LOCKED")
    assert [start.task.priority for start in await claim] == [19] * 20
    assert len(free) >= 400 - 20 - 2 * 20


async def test_nothing_is_claimed_under_a_lease_that_has_ended(opened: Open, raw: asyncpg.Connection) -> None:
    bench = await opened()
    server = ServerRow(
        id=ServerId(bench.ids.task_id()), host="here", pid=1, version="1", started_at=START, home="here:/data"
    )
    await bench.store.registry.enroll(server, ttl_s=30)
    await bench.turn(*[Submit(bench.new()) for _ in range(2)])
    (claimed,) = await bench.claim(shared=1)
    assert await raw.fetchval("SELECT server::text FROM windlass.tasks WHERE number = 1") == server.id
    await bench.store.registry.leave(server.id)
    turn = await bench.turn(bench.settle(claimed.task), Submit(bench.new()), slots=ALL)
    assert turn.claimed == []
    assert all(isinstance(result, Applied) for result in turn.results)


async def test_a_lease_does_not_end_in_the_middle_of_a_turn_that_claims_under_it(
    opened: Open, raw: asyncpg.Connection
) -> None:
    bench = await opened()
    server = ServerRow(
        id=ServerId(bench.ids.task_id()), host="here", pid=1, version="1", started_at=START, home="here:/data"
    )
    await bench.store.registry.enroll(server, ttl_s=30)
    await bench.submit()
    async with raw.transaction():
        await raw.execute("SELECT FROM windlass.servers FOR UPDATE")
        claim = asyncio.ensure_future(bench.claim())
        await until_waiting(raw, 1)
        await raw.execute("UPDATE windlass.servers SET ended_at = clock_timestamp()")
    assert await claim == []


async def test_with_more_lanes_than_one_look_goes_through_all_are_served(opened: Open) -> None:
    bench = await opened()
    count = LANES_AT_ONCE + 44
    await bench.turn(*[Submit(bench.new(queue=f"q{place}")) for place in range(count)])
    seen: list[int] = []
    while claimed := await bench.claim(shared=90):
        seen += numbers(claimed)
    assert sorted(seen) == list(range(1, count + 1))


# ── writes against another server's ────────────────────────────────


async def test_a_token_is_stale_once_another_server_has_settled(opened: Open) -> None:
    first, second = await opened(), await opened()
    claimed = await first.run()
    assert await second.write(second.settle(claimed.task, Snoozed(delay_s=0))) == Applied()
    again = (await second.claim())[0]
    for write in (first.settle(claimed.task), KeepFile(claimed.task.number, claimed.task.token or NOBODY, file(0))):
        assert refused(await first.write(write)).why is Refusal.STALE
    assert await first.task(claimed.task.number) == again.task
    assert await second.write(second.settle(again.task)) == Applied()


async def test_of_two_servers_that_settle_at_once_one_is_refused(opened: Open) -> None:
    first, second = await opened(), await opened()
    for _ in range(10):
        task = (await first.run()).task
        results = await asyncio.gather(
            first.write(first.settle(task)), second.write(second.settle(task, Snoozed(delay_s=60)))
        )
        assert sum(result == Applied() for result in results) == 1
        names = await first.names(task.number)
        assert len(names) == 3


async def test_a_cancel_and_an_end_at_once_leave_one_of_the_two_stories(opened: Open) -> None:
    first, second = await opened(), await opened()
    for _ in range(10):
        task = (await first.run()).task
        ended, asked = await asyncio.gather(
            first.write(first.settle(task)), second.write(RequestCancel(task.number, START))
        )
        names = (await first.names(task.number))[2:]
        if isinstance(ended, Applied):
            assert (refused(asked).why, names) == (Refusal.STATE, [EventName.SUCCEEDED])
        else:
            assert (ended.why, names) == (Refusal.CHANGED, [EventName.CANCEL_REQUESTED])
            assert isinstance(asked, Applied)


async def test_a_retry_and_a_deletion_at_once_leave_one_of_the_two_stories(opened: Open) -> None:
    first, second = await opened(), await opened()
    for _ in range(10):
        task = (await first.run()).task
        await first.end(task, OK)
        retried, deleted = await asyncio.gather(
            first.write(Retry(task.number, START)), second.write(Delete(task.number, START))
        )
        if isinstance(deleted, Applied):
            assert refused(retried).why is Refusal.MISSING
        else:
            assert (isinstance(retried, Applied), deleted.why) == (True, Refusal.STATE)
            await first.write(RequestCancel(task.number, START))


async def test_two_janitors_remove_each_task_once(opened: Open) -> None:
    first, second = await opened(), await opened()
    batch = SubmitBatch(tuple(first.new() for _ in range(200)))
    await first.turn(batch)
    await first.turn(*[RequestCancel(number, START) for number in range(1, 201)])
    prune = Prune((State.CANCELLED,), None, 200, START)
    left = 200
    while left:
        results = await asyncio.gather(first.write(prune), second.write(prune))
        removed = sum(result.count for result in results if isinstance(result, Applied))
        assert removed > 0
        left -= removed
    assert left == 0
    assert len(await second.store.tasks.unswept(limit=500)) == 200
    assert await first.store.tasks.counts() == []


async def test_an_amendment_finds_a_task_that_ends_while_it_waits_for_it(opened: Open, raw: asyncpg.Connection) -> None:
    first, second = await opened(), await opened()
    await first.end((await first.run()).task)  # from now on there is a place for what ends on this day
    task = (await first.run()).task
    async with raw.transaction():
        await raw.execute("SELECT FROM windlass.tasks FOR UPDATE")
        settled = asyncio.ensure_future(first.write(first.settle(task)))
        await until_waiting(raw, 1)
        edited = asyncio.ensure_future(second.write(Edit(ref=task.number, at=START, name="named")))
        await until_waiting(raw, 2)
    assert await settled == Applied()
    found = applied_task(await edited)
    assert (found.state, found.name) == (State.SUCCEEDED, "named")
    assert found == await first.task(task.number)


async def test_a_file_whose_error_no_text_can_hold_is_kept_with_a_mark_in_its_place(opened: Open) -> None:
    bench = await opened()
    task = (await bench.run()).task
    assert await bench.write(KeepFile(task.number, task.token or NOBODY, file(0, error="a\0b"))) == Applied()
    assert [row.error for row in await bench.store.tasks.files(task.number)] == ["a\ufffdb"]


# ── what others are told ───────────────────────────────────────────


async def test_others_are_told_of_changed_tasks_and_of_work_that_is_left_for_them(opened: Open) -> None:
    here, there = await opened(), await opened()
    wakes: asyncio.Queue[Wake] = asyncio.Queue()
    await there.store.wakes.listen(wakes.put_nowait)
    (started, left) = (await here.turn(*[Submit(here.new()) for _ in range(2)], slots={"shared": 1})).results
    assert await wakes.get() == Wake(
        numbers=[applied_task(started).number, applied_task(left).number], has_work=True, has_news=False
    )
    await here.claim()
    assert await wakes.get() == Wake(numbers=[applied_task(left).number], has_work=False, has_news=False)


async def test_others_are_told_of_room_that_an_end_leaves_in_a_queue_with_a_limit(opened: Open) -> None:
    here, there = await opened(), await opened()
    task = (await here.run()).task
    await here.write(SetQueue(name="default", at=START, concurrency=1))
    wakes: asyncio.Queue[Wake] = asyncio.Queue()
    await there.store.wakes.listen(wakes.put_nowait)
    await here.turn(here.settle(task))
    while not (wake := await wakes.get()).numbers:
        continue  # of the limit itself, if that came late
    assert wake == Wake(numbers=[task.number], has_work=True, has_news=wake.has_news)


# ── a turn that is made again ──────────────────────────────────────


async def test_a_turn_that_fails_and_is_made_again_is_as_one_that_did_not(
    opened: Open, raw: asyncpg.Connection
) -> None:
    bench = await opened()
    await raw.execute("CREATE SEQUENCE public.tries")
    await raw.execute("""
        CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('public.tries') = 1 THEN RAISE EXCEPTION SQLSTATE '40001'; END IF;
            RETURN NULL;
        END $$""")
    await raw.execute("CREATE TRIGGER fail AFTER INSERT ON windlass.events EXECUTE FUNCTION public.fail()")
    turn = await bench.turn(Submit(bench.new(queue="fresh", priority=3, origin="o")), slots={"shared": 1})
    assert await raw.fetchval("SELECT last_value FROM public.tries") >= 2
    (claimed,) = turn.claimed
    assert (claimed.task.queue, claimed.task.priority, claimed.task.origin_number) == ("fresh", 3, 1)
    assert [event.name for event in turn.events] == [EventName.SUBMITTED, EventName.STARTED]
    assert list(await bench.store.events.log()) == list(turn.events)
    (row,) = await bench.store.tasks.queues()
    assert (row.queued, row.running) == (0, 1)
    assert claimed.task == await bench.task(claimed.task.number)


async def test_a_turn_that_fails_for_good_leaves_nothing_and_the_next_one_goes_on(
    opened: Open, raw: asyncpg.Connection
) -> None:
    bench = await opened()
    await bench.submit(queue="old")
    await raw.execute("""
        CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION SQLSTATE '57014'; END $$""")
    await raw.execute("CREATE TRIGGER fail AFTER INSERT ON windlass.events EXECUTE FUNCTION public.fail()")
    with pytest.raises(StoreUnavailable):
        await bench.turn(Submit(bench.new(queue="fresh")), slots=ALL)
    await raw.execute("DROP TRIGGER fail ON windlass.events")
    turn = await bench.turn(Submit(bench.new(queue="fresh")), slots=ALL)
    assert [start.task.queue for start in turn.claimed] == ["fresh", "old"]
