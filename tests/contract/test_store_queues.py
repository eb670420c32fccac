"""Limits of queues: how many tasks of one may wait, how many may run, and that a paused one starts nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from store_cases import ALL, ERROR, FAILED, START, Bench

from windlass.contracts.queues import DeclareQueues, QueueRow, SetQueue
from windlass.contracts.tasks import (
    Applied,
    Claimed,
    Delete,
    Edit,
    Hold,
    Refusal,
    Refused,
    Replay,
    RequestCancel,
    Retry,
    Submit,
    SubmitBatch,
)
from windlass.core.outcome import Interrupted
from windlass.core.queue import Queue, QueueDefaults
from windlass.core.state import State

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

NO_PLACE = Refused(Refusal.CAPACITY)


def declare(name: str = "default", **limits: int) -> DeclareQueues:
    return DeclareQueues((QueueDefaults(name=name, **limits),))


def change(bench: Bench, name: str = "default", **changes: Any) -> SetQueue:
    return SetQueue(name=name, at=bench.now, **changes)


async def row_of(bench: Bench, name: str = "default") -> QueueRow:
    return next(row for row in await bench.store.tasks.queues() if row.queue.name == name)


def numbers(claimed: Sequence[Claimed]) -> list[int]:
    return [start.task.number for start in claimed]


# ── capacity ───────────────────────────────────────────────────────


async def test_a_full_queue_takes_no_more_and_nothing_is_kept_of_what_it_refuses(bench: Bench) -> None:
    await bench.turn(declare(capacity=2))
    await bench.submit()
    await bench.submit(kind="other")
    before = await bench.dump()
    assert await bench.write(Submit(bench.new())) == NO_PLACE
    assert await bench.dump() == before
    assert (await bench.submit(queue="elsewhere")).number == 3


async def test_submits_of_one_turn_never_overshoot(bench: Bench) -> None:
    await bench.turn(declare(capacity=3))
    await bench.submit()
    turn = await bench.turn(
        *[Submit(bench.new()) for _ in range(3)],
        SubmitBatch((bench.new(queue="elsewhere"),)),
        Submit(bench.new(kind="other")),
        slots=ALL,
    )
    assert [isinstance(result, Applied) for result in turn.results] == [True, True, False, True, False]
    assert (await row_of(bench)).running == 3


async def test_a_batch_is_taken_whole_or_not_at_all_and_names_the_first_task_without_a_place(bench: Bench) -> None:
    await bench.turn(declare(capacity=3))
    await bench.submit(key="k", fingerprint=b"1")
    before = await bench.dump()
    batch = tuple(
        bench.new(**changes)
        for changes in (
            {"key": "k", "fingerprint": b"1"},
            {"queue": "elsewhere"},
            {"key": "l", "fingerprint": b"2"},
            {"kind": "other"},
            {"key": "l", "fingerprint": b"2"},
            {},
        )
    )
    assert await bench.write(SubmitBatch(batch)) == Refused(Refusal.CAPACITY, index=5)
    assert await bench.dump() == before
    result = await bench.write(SubmitBatch(batch[:5]))
    assert isinstance(result, Applied)
    assert [placed.created for placed in result.placed] == [False, True, True, True, False]


async def test_what_is_wrong_with_a_key_is_said_before_the_queue_is_asked(bench: Bench) -> None:
    await bench.turn(declare(capacity=1))
    task = await bench.submit(key="k", fingerprint=b"1")
    other = bench.new(key="k", fingerprint=b"2")
    assert await bench.write(Submit(other)) == Refused(Refusal.KEY, task)
    assert await bench.write(SubmitBatch((bench.new(), other))) == Refused(Refusal.KEY, task, 1)


async def test_a_repeat_is_never_refused_for_want_of_room(bench: Bench) -> None:
    await bench.turn(declare(capacity=1))
    replay = Replay("client", "once", b"1", START.replace(year=2027))
    first = Submit(bench.new(key="k", fingerprint=b"1"), replay)
    task = (await bench.turn(first)).results[0]
    for write in (first, Submit(bench.new(), replay), SubmitBatch((bench.new(key="k", fingerprint=b"1"),))):
        assert isinstance(await bench.write(write), Applied)
    assert isinstance(task, Applied)


async def test_nothing_is_kept_of_a_refused_request_so_that_it_may_come_again(bench: Bench) -> None:
    await bench.turn(declare(capacity=1))
    first = await bench.submit()
    again = Submit(bench.new(), Replay("client", "once", b"1", START.replace(year=2027)))
    assert await bench.write(again) == NO_PLACE
    await bench.turn(RequestCancel(first.number, bench.now))
    result = await bench.write(again)
    assert isinstance(result, Applied)
    assert (result.created, result.replayed) == (True, False)


async def test_whatever_is_queued_counts_and_whatever_is_not_does_not(bench: Bench) -> None:
    await bench.turn(declare(capacity=3))
    await bench.submit(delay_s=60)
    held = await bench.submit()
    await bench.turn(Hold(held.number, bench.now))
    running = await bench.run()
    third = await bench.submit()
    assert await bench.write(Submit(bench.new())) == NO_PLACE
    turn = await bench.turn(RequestCancel(third.number, bench.now), Submit(bench.new()), Submit(bench.new()))
    assert [isinstance(result, Applied) for result in turn.results] == [True, True, False]
    await bench.end(running.task)
    assert await bench.write(Submit(bench.new())) == NO_PLACE


async def test_what_comes_back_finds_a_place_in_a_full_queue(bench: Bench) -> None:
    await bench.turn(declare(capacity=1))
    failing = await bench.run()
    back = await bench.run()
    ended = await bench.run()
    await bench.end(ended.task)
    moving = await bench.submit(queue="elsewhere")
    await bench.submit()
    turn = await bench.turn(
        bench.settle(failing.task, FAILED),
        bench.settle(back.task, Interrupted(error=ERROR)),
        Retry(ended.task.number, bench.now),
        Edit(ref=moving.number, at=bench.now, queue="default"),
    )
    assert all(isinstance(result, Applied) for result in turn.results)
    assert (await row_of(bench)).queued == 5
    assert await bench.write(Submit(bench.new())) == NO_PLACE


# ── concurrency ────────────────────────────────────────────────────


async def test_no_more_tasks_of_a_queue_run_than_it_allows_whatever_their_kinds_and_pools(bench: Bench) -> None:
    await bench.turn(declare(concurrency=4))
    again = await bench.run()
    await bench.turn(bench.settle(again.task, Interrupted(error=ERROR, isolate=True)))
    kinds = ["work", "other", "file"] * 5
    turn = await bench.turn(*[Submit(bench.new(kind=kind)) for kind in kinds], slots=ALL)
    assert numbers(turn.claimed) == [1, 2, 3, 4]
    assert {start.pool for start in turn.claimed} == {"shared", "builtin", "solo"}
    assert await bench.claim() == []


async def test_a_place_that_becomes_free_is_filled_in_the_same_turn_and_no_more_than_that(bench: Bench) -> None:
    await bench.turn(declare(concurrency=2), *[Submit(bench.new(kind=kind)) for kind in ("work", "other") * 4])
    first, second = await bench.claim()
    turn = await bench.turn(bench.settle(first.task), slots=ALL)
    assert numbers(turn.claimed) == [3]
    turn = await bench.turn(
        bench.settle(second.task, Interrupted(error=ERROR)), bench.settle(turn.claimed[0].task), slots=ALL
    )
    assert numbers(turn.claimed) == [2, 4]


async def test_a_full_queue_leaves_the_slots_to_others(bench: Bench) -> None:
    await bench.turn(declare("a", concurrency=1), *[Submit(bench.new(queue=queue)) for queue in "aaaabbbb"])
    turn = await bench.turn(slots={"shared": 4})
    assert Counter(start.task.queue for start in turn.claimed) == {"a": 1, "b": 3}
    turn = await bench.turn(slots={"shared": 4})
    assert numbers(turn.claimed) == [8]


async def test_queues_with_limits_take_turns_with_the_rest(bench: Bench) -> None:
    await bench.turn(declare("b", concurrency=2), *[Submit(bench.new(queue=queue)) for queue in "aaabbbccc"])
    turn = await bench.turn(slots={"shared": 7})
    assert "".join(start.task.queue for start in turn.claimed) == "abcabca"


async def test_a_limit_below_what_runs_stops_nothing_and_starts_nothing_until_there_is_room(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(6)])
    running = await bench.claim(shared=4)
    turn = await bench.turn(change(bench, concurrency=2), slots=ALL)
    assert turn.claimed == []
    turn = await bench.turn(*[bench.settle(start.task) for start in running[:2]], slots=ALL)
    assert turn.claimed == []
    turn = await bench.turn(bench.settle(running[2].task), slots=ALL)
    assert numbers(turn.claimed) == [5]
    turn = await bench.turn(change(bench, concurrency=3), slots=ALL)
    assert numbers(turn.claimed) == [6]


async def test_a_cancelled_task_keeps_its_place_until_it_is_gone(bench: Bench) -> None:
    await bench.turn(declare(concurrency=1), Submit(bench.new()), Submit(bench.new()))
    (first,) = await bench.claim()
    assert (await bench.turn(RequestCancel(1, bench.now), slots=ALL)).claimed == []
    await bench.turn(bench.settle(await bench.task(1), FAILED))
    assert numbers(await bench.claim()) == [2]
    assert first.task.number == 1


# ── pause ──────────────────────────────────────────────────────────


async def test_a_paused_queue_starts_nothing_and_goes_on_in_the_turn_that_resumes_it(bench: Bench) -> None:
    await bench.turn(Submit(bench.new()), Submit(bench.new(queue="b")))
    turn = await bench.turn(change(bench, is_paused=True, pause_reason="moving house"), slots=ALL)
    assert numbers(turn.claimed) == [2]
    await bench.submit(priority=100)
    assert await bench.claim() == []
    turn = await bench.turn(change(bench, is_paused=False), slots=ALL)
    assert numbers(turn.claimed) == [3, 1]


async def test_what_runs_in_a_paused_queue_goes_on_and_what_is_due_is_made_ready(bench: Bench) -> None:
    running = await bench.run()
    await bench.submit(delay_s=5)
    await bench.turn(change(bench, is_paused=True))
    await bench.end(running.task)
    bench.pass_time(5)
    turn = await bench.turn(slots=ALL)
    assert (turn.claimed, turn.next_due_at) == ([], None)


async def test_a_pause_keeps_its_time_and_its_reason_goes_with_it(bench: Bench) -> None:
    begun_at = bench.now
    await bench.turn(change(bench, is_paused=True, pause_reason="why"))
    bench.pass_time(1)
    result = await bench.write(change(bench, is_paused=True, capacity=7))
    paused = Queue(name="default", paused_at=begun_at, pause_reason="why", set_capacity=7)
    assert result == Applied(queue=paused)
    result = await bench.write(change(bench, pause_reason="because"))
    assert isinstance(result, Applied)
    assert result.queue is not None
    assert result.queue.pause_reason == "because"
    assert await bench.write(change(bench, is_paused=False)) == Applied(queue=Queue(name="default", set_capacity=7))
    await bench.turn(change(bench, is_paused=True))
    assert (await row_of(bench)).queue.pause_reason is None


# ── what is said of queues ─────────────────────────────────────────


async def test_what_an_operator_sets_wins_until_it_is_taken_back(bench: Bench) -> None:
    await bench.turn(declare(concurrency=1, capacity=10), *[Submit(bench.new()) for _ in range(4)])
    assert len((await bench.turn(change(bench, concurrency=3), slots=ALL)).claimed) == 3
    await bench.turn(declare(concurrency=2, capacity=20))
    queue = (await row_of(bench)).queue
    assert (queue.concurrency, queue.default_concurrency, queue.capacity) == (3, 2, 20)
    result = await bench.write(change(bench, concurrency=None))
    assert isinstance(result, Applied)
    assert result.queue == Queue(name="default", default_concurrency=2, default_capacity=20)


async def test_what_is_so_already_changes_nothing(bench: Bench) -> None:
    for write in (declare(capacity=1), change(bench, "b", concurrency=2), change(bench, "b", is_paused=True)):
        first, second = (await bench.turn(write, write)).results
        assert isinstance(first, Applied)
        assert isinstance(second, Applied)
        assert (first.created, second.created) == (True, False)
        assert first.queue == second.queue
    plain = await bench.write(change(bench, "c", capacity=None, is_paused=False, pause_reason="none"))
    assert plain == Applied(created=False, queue=Queue(name="c"))


async def test_a_declaration_takes_the_place_of_the_one_before_and_of_nothing_else(bench: Bench) -> None:
    await bench.turn(declare("a", capacity=1), change(bench, "b", capacity=5), change(bench, "a", concurrency=9))
    await bench.turn(declare("c", concurrency=3))
    assert [row.queue for row in await bench.store.tasks.queues()] == [
        Queue(name="a", set_concurrency=9),
        Queue(name="b", set_capacity=5),
        Queue(name="c", default_concurrency=3),
    ]
    await bench.turn(DeclareQueues(()), change(bench, "a", concurrency=None), change(bench, "b", capacity=None))
    assert await bench.store.tasks.queues() == []


# ── what is in queues ──────────────────────────────────────────────


async def test_queues_are_listed_with_what_is_in_them(bench: Bench) -> None:
    await bench.turn(declare("b", capacity=9), Submit(bench.new(queue="a")), Submit(bench.new(queue="a", kind="other")))
    await bench.claim(shared=1)
    ended, gone = await bench.submit(queue="ended"), await bench.submit(queue="gone")
    await bench.turn(RequestCancel(ended.number, bench.now), RequestCancel(gone.number, bench.now))
    await bench.turn(Delete(gone.number, bench.now))
    assert await bench.store.tasks.queues() == [
        QueueRow(queue=Queue(name="a"), queued=1, running=1, ready_since=START),
        QueueRow(queue=Queue(name="b", default_capacity=9), queued=0, running=0, ready_since=None),
        QueueRow(queue=Queue(name="ended"), queued=0, running=0, ready_since=None),
    ]


async def test_the_oldest_wait_is_that_of_a_task_that_could_start_whatever_its_priority_kind_and_pool(
    bench: Bench,
) -> None:
    since = [START.replace(minute=minute) for minute in range(10)]
    bench.now = since[9]
    await bench.turn(
        Submit(bench.new(run_at=since[5], priority=9)),
        Submit(bench.new(run_at=since[4])),
        Submit(bench.new(run_at=since[3], priority=-9)),
        Submit(bench.new(run_at=since[2], priority=-9, kind="other")),
        Submit(bench.new(run_at=since[0])),
        Submit(bench.new(run_at=since[1], queue="elsewhere")),
        Submit(bench.new(delay_s=60)),
        Hold(5, bench.now),
    )
    seen = [(await row_of(bench)).ready_since]
    for number in (4, 3, 2, 1):
        await bench.turn(RequestCancel(number, bench.now))
        seen.append((await row_of(bench)).ready_since)
    assert seen == [since[2], since[3], since[4], since[5], None]


async def test_a_task_that_must_run_alone_waits_as_long_as_it_does(bench: Bench) -> None:
    alone = await bench.run()
    bench.pass_time(1)
    await bench.turn(bench.settle(alone.task, Interrupted(error=ERROR, isolate=True)), Submit(bench.new()))
    assert (await row_of(bench)).ready_since == START


async def test_counters_of_queues_follow_every_way_in_and_out(bench: Bench) -> None:
    await bench.turn(declare(concurrency=2, capacity=3), *[Submit(bench.new(kind=kind)) for kind in ("work", "other")])
    first, second = await bench.claim()
    await bench.turn(bench.settle(first.task, FAILED), bench.settle(second.task))
    await bench.turn(Retry(second.task.number, bench.now), Edit(ref=1, at=bench.now, queue="b"))
    assert ((await row_of(bench)).queued, (await row_of(bench, "b")).queued) == (1, 1)
    bench.pass_time(400)
    assert len(await bench.claim()) == 2
    assert ((await row_of(bench)).running, (await row_of(bench, "b")).running) == (1, 1)
    task = await bench.task(second.task.number)
    await bench.turn(bench.settle(task), Delete(task.number, bench.now))
    row = await row_of(bench)
    assert (row.queued, row.running) == (0, 0)
    assert (await bench.task(1)).state is State.RUNNING
