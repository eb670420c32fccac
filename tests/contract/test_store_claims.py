"""What a claim starts, in which order, and what it leaves alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest
from store_cases import ALL, ERROR, START, Bench

from windlass.contracts.tasks import Claimed, Hold, RequestCancel, Submit
from windlass.core.limits import PROMOTE_ROWS
from windlass.core.outcome import Interrupted
from windlass.core.state import EventName, State

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


def numbers(claimed: Sequence[Claimed]) -> list[int]:
    return [start.task.number for start in claimed]


def queues(claimed: Sequence[Claimed]) -> str:
    return "".join(start.task.queue for start in claimed)


async def test_a_claim_hands_over_all_that_a_worker_needs(bench: Bench) -> None:
    task = await bench.submit(payload=b'{"a":[1,2]}', tags={"a": "b"}, timeout_s=5)
    bench.pass_time(1)
    turn = await bench.turn(slots={"shared": 1})
    (start,) = turn.claimed
    assert (start.pool, start.payload, start.checkpoint, start.files) == ("shared", b'{"a":[1,2]}', None, [])
    assert (start.task.state, start.task.attempt, start.task.charged) == (State.RUNNING, 1, 1)
    assert (start.task.started_at, start.task.version) == (bench.now, task.version + 1)
    assert start.task == await bench.task(task.number)
    (event,) = turn.events
    assert (event.name, event.at, event.attempt) == (EventName.STARTED, bench.now, 1)
    assert event.token == start.task.token
    assert event.data is None


async def test_a_fresh_task_starts_in_the_turn_that_stores_it(bench: Bench) -> None:
    turn = await bench.turn(Submit(bench.new()), slots={"shared": 1})
    assert numbers(turn.claimed) == [1]
    assert [event.name for event in turn.events] == [EventName.SUBMITTED, EventName.STARTED]


async def test_no_two_attempts_have_the_same_token(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(20)])
    tokens = [start.task.token for start in await bench.claim()]
    assert len(set(tokens)) == 20
    assert None not in tokens


async def test_higher_priority_then_earlier_time_then_lower_number_goes_first(bench: Bench) -> None:
    late = START - timedelta(seconds=1)
    early = START - timedelta(seconds=2)
    await bench.turn(
        Submit(bench.new(run_at=late)),
        Submit(bench.new(run_at=early)),
        Submit(bench.new(run_at=late, priority=5)),
        Submit(bench.new(run_at=early, priority=-5)),
        Submit(bench.new(run_at=early)),
    )
    assert numbers(await bench.claim()) == [3, 2, 5, 1, 4]


async def test_kinds_of_one_queue_are_one_line(bench: Bench) -> None:
    await bench.turn(
        Submit(bench.new(kind="work")),
        Submit(bench.new(kind="file", priority=1)),
        Submit(bench.new(kind="other")),
        Submit(bench.new(kind="work", priority=1)),
    )
    assert numbers(await bench.claim()) == [2, 4, 1, 3]


async def test_queues_take_turns_however_long_one_of_them_is(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(queue="a", priority=9)) for _ in range(20)])
    await bench.turn(*[Submit(bench.new(queue=queue)) for queue in "bcb"])
    assert queues(await bench.claim(shared=7)) == "abcabaa"


async def test_the_queue_after_the_last_served_one_is_first_in_the_next_turn(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(queue=queue)) for queue in "aaabbbccc"])
    assert [queues(await bench.claim(shared=1)) for _ in range(5)] == ["a", "b", "c", "a", "b"]
    assert queues(await bench.claim(shared=2)) == "ca"


async def test_a_claim_never_takes_more_than_the_free_slots(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(kind=kind)) for kind in ["work", "file", "other"] * 10])
    claimed = await bench.claim(shared=3, builtin=2, solo=5)
    assert Counter(start.pool for start in claimed) == {"shared": 3, "builtin": 2}
    assert await bench.claim(shared=0, builtin=-1) == []


async def test_a_full_pool_does_not_keep_another_from_filling(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(priority=5)) for _ in range(4)], Submit(bench.new(kind="file")))
    assert numbers(await bench.claim(shared=0, builtin=3)) == [5]


async def test_a_task_that_must_run_alone_takes_the_other_pool(bench: Bench) -> None:
    running = await bench.run()
    await bench.turn(bench.settle(running.task, Interrupted(error=ERROR, isolate=True)))
    assert await bench.claim(shared=5) == []
    (again,) = await bench.claim(solo=1)
    assert (again.pool, again.task.solo) == ("solo", True)


async def test_kinds_that_no_worker_knows_are_left_alone(bench: Bench) -> None:
    await bench.turn(Submit(bench.new(kind="foreign", priority=9)), Submit(bench.new()))
    assert numbers(await bench.claim()) == [2]
    later = await bench.turn(slots=ALL, pools={"foreign": ("shared", "solo")})
    assert numbers(later.claimed) == [1]


async def test_a_turn_that_wants_nothing_claims_nothing(bench: Bench) -> None:
    await bench.submit()
    assert (await bench.turn()).claimed == []
    assert (await bench.turn(slots=ALL, pools={})).claimed == []


async def test_a_scheduled_task_starts_when_it_is_due_and_not_before(bench: Bench) -> None:
    task = await bench.submit(delay_s=10)
    turn = await bench.turn(slots=ALL)
    assert (turn.claimed, turn.next_due_at) == ([], task.run_at)
    bench.pass_time(9.999_999)
    assert await bench.claim() == []
    bench.pass_time(0.000_001)
    turn = await bench.turn(slots=ALL)
    assert (numbers(turn.claimed), turn.next_due_at) == ([1], None)


async def test_what_is_due_is_made_ready_even_when_no_slot_is_free(bench: Bench) -> None:
    await bench.submit(delay_s=1)
    later = await bench.submit(delay_s=2)
    bench.pass_time(1)
    assert (await bench.turn()).next_due_at == later.run_at


async def test_the_next_due_time_counts_neither_ready_nor_held_nor_ended_tasks(bench: Bench) -> None:
    await bench.submit()
    held, cancelled = await bench.submit(delay_s=1), await bench.submit(delay_s=2)
    await bench.turn(Hold(held.number, bench.now), RequestCancel(cancelled.number, bench.now))
    due = await bench.submit(delay_s=3)
    assert (await bench.turn()).next_due_at == due.run_at


async def test_when_more_is_due_than_one_turn_promotes_the_next_is_due_at_once(bench: Bench) -> None:
    extra = 3
    await bench.turn(*[Submit(bench.new(delay_s=1)) for _ in range(PROMOTE_ROWS + extra)])
    bench.pass_time(5)
    slots = {"shared": 2 * PROMOTE_ROWS}
    turn = await bench.turn(slots=slots)
    assert len(turn.claimed) == PROMOTE_ROWS
    assert turn.next_due_at == START + timedelta(seconds=1)
    turn = await bench.turn(slots=slots)
    assert (len(turn.claimed), turn.next_due_at) == (extra, None)


async def test_a_clock_that_steps_back_does_not_take_a_ready_task_out_of_the_line(bench: Bench) -> None:
    await bench.submit()
    bench.pass_time(-3_600)
    assert numbers(await bench.claim()) == [1]


async def test_a_task_goes_back_to_its_old_place_in_the_line(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(3)])
    first, second = await bench.claim(shared=2)
    await bench.turn(
        bench.settle(second.task, Interrupted(error=ERROR)), bench.settle(first.task, Interrupted(error=ERROR))
    )
    assert numbers(await bench.claim()) == [1, 2, 3]


async def test_no_task_is_claimed_twice(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(queue=queue)) for queue in "abcab" * 4])
    seen: list[int] = []
    while claimed := await bench.claim(shared=3):
        seen += numbers(claimed)
    assert sorted(seen) == list(range(1, 21))
