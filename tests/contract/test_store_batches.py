"""Batches, which are stored wholly or not at all, and requests that are sent again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store_cases import Bench, applied_task

from windlass.contracts.tasks import (
    Applied,
    Delete,
    Placed,
    Refusal,
    Refused,
    Replay,
    RequestCancel,
    Submit,
    SubmitBatch,
    WriteResult,
)
from windlass.core.query import TaskQuery
from windlass.core.state import State
from windlass.core.task import NewTask

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


def replay(bench: Bench, *, key: str = "r", fingerprint: bytes = b"1", for_s: float = 60) -> Replay:
    return Replay("client POST /v1/tasks", key, fingerprint, bench.now + timedelta(seconds=for_s))


async def stored(bench: Bench) -> list[int]:
    return [task.number for task in (await bench.store.tasks.page(TaskQuery(limit=500))).tasks]


def placed(result: WriteResult) -> list[tuple[int, bool]]:
    assert isinstance(result, Applied)
    assert result.task is None
    return [(entry.number, entry.created) for entry in result.placed]


# ── batches ────────────────────────────────────────────────────────


async def test_a_batch_is_stored_in_its_order_with_an_event_for_each(bench: Bench) -> None:
    await bench.submit()
    new = tuple(bench.new(kind=kind, payload=b'{"n":%d}' % n) for n, kind in enumerate(("work", "other", "work")))
    turn = await bench.turn(SubmitBatch(new))
    assert turn.results == [Applied(placed=tuple(Placed(t.id, n, State.QUEUED) for n, t in enumerate(new, start=2)))]
    assert [(event.number, event.name) for event in turn.events] == [(n, "submitted") for n in (2, 3, 4)]
    assert [await bench.store.tasks.payload(n) for n in (2, 3, 4)] == [task.payload for task in new]
    assert [claimed.task.number for claimed in await bench.claim()] == [1, 2, 3, 4]


async def test_a_batch_of_nothing_is_stored(bench: Bench) -> None:
    assert await bench.write(SubmitBatch(())) == Applied()


async def test_a_batch_meets_stored_tasks_and_its_own_by_their_keys(bench: Bench) -> None:
    await bench.submit(key="a", fingerprint=b"1")
    await bench.turn(RequestCancel(1, bench.now))
    keys = ("a", "b", "b", None, "a")
    new = tuple(bench.new(key=key, fingerprint=b"1") for key in keys)
    result = await bench.write(SubmitBatch((*new, new[3])))
    assert placed(result) == [(1, False), (2, True), (2, False), (3, True), (1, False), (3, False)]
    assert isinstance(result, Applied)
    assert [place for place, entry in enumerate(result.placed) if entry.state is State.CANCELLED] == [0, 4]
    assert [entry.id for entry in result.placed][1:3] == [new[1].id] * 2
    assert await stored(bench) == [3, 2, 1]


@pytest.mark.parametrize("place", [0, 2])
async def test_a_batch_with_a_taken_key_leaves_nothing_and_names_the_place(bench: Bench, place: int) -> None:
    taken = await bench.submit(key="a", fingerprint=b"1")
    new = [bench.new(queue="new") for _ in range(3)]
    new[place] = bench.new(key="a", fingerprint=b"2")
    turn = await bench.turn(SubmitBatch(tuple(new)), Submit(bench.new()))
    assert turn.results[0] == Refused(Refusal.KEY, taken, place)
    assert applied_task(turn.results[1]).number == 2
    assert await stored(bench) == [2, 1]
    assert [(count.queue, count.tasks) for count in await bench.store.tasks.counts()] == [("default", 2)]


async def test_a_batch_that_contradicts_itself_is_refused(bench: Bench) -> None:
    new = tuple(bench.new(key="a", fingerprint=fingerprint) for fingerprint in (b"1", b"2"))
    assert await bench.write(SubmitBatch(new)) == Refused(Refusal.KEY, None, 1)
    other = tuple(bench.new(key="a", kind=kind, fingerprint=b"1") for kind in ("work", "other"))
    assert placed(await bench.write(SubmitBatch(other))) == [(1, True), (2, True)]


async def test_batches_and_submits_of_one_turn_see_each_other(bench: Bench) -> None:
    def keyed() -> NewTask:
        return bench.new(key="a", fingerprint=b"1")

    turn = await bench.turn(Submit(keyed()), SubmitBatch((keyed(),)), SubmitBatch((keyed(),)), Submit(keyed()))
    assert [placed(result) for result in turn.results[1:3]] == [[(1, False)], [(1, False)]]
    assert [applied_task(turn.results[n]).number for n in (0, 3)] == [1, 1]
    assert await stored(bench) == [1]


# ── requests sent again ────────────────────────────────────────────


async def test_a_request_sent_again_stores_nothing_and_is_answered_as_first(bench: Bench) -> None:
    first = await bench.write(Submit(bench.new(tags={"a": "b"}, fingerprint=b"f"), replay(bench)))
    task = applied_task(first)
    await bench.turn(RequestCancel(1, bench.now))
    again = await bench.turn(Submit(bench.new(), replay(bench)))
    assert again.results == [Applied(task, replayed=True)]
    assert (again.events, await stored(bench)) == ([], [1])


async def test_a_request_is_answered_as_first_though_its_task_is_gone(bench: Bench) -> None:
    task = applied_task(await bench.write(Submit(bench.new(), replay(bench))))
    await bench.turn(RequestCancel(1, bench.now), Delete(1, bench.now))
    assert await bench.write(Submit(bench.new(), replay(bench))) == Applied(task, replayed=True)
    assert await stored(bench) == []


async def test_a_batch_sent_again_is_answered_as_first(bench: Bench) -> None:
    first = await bench.write(SubmitBatch((bench.new(key="a"), bench.new(key="a")), replay(bench)))
    assert placed(first) == [(1, True), (1, False)]
    await bench.claim()
    again = await bench.write(SubmitBatch((bench.new(),), replay(bench)))
    assert isinstance(first, Applied)
    assert again == Applied(placed=first.placed, replayed=True)


async def test_a_request_that_met_a_key_is_answered_so_again(bench: Bench) -> None:
    await bench.submit(key="a")
    for replayed in (False, True):
        result = await bench.write(Submit(bench.new(key="a"), replay(bench)))
        assert isinstance(result, Applied)
        assert (result.created, result.replayed) == (False, replayed)


async def test_the_same_idempotency_key_for_another_request_is_refused(bench: Bench) -> None:
    await bench.turn(Submit(bench.new(), replay(bench)))
    other = replay(bench, fingerprint=b"2")
    turn = await bench.turn(Submit(bench.new(), other), SubmitBatch((bench.new(),), other))
    assert turn.results == [Refused(Refusal.REPLAY)] * 2
    elsewhere = Replay("somebody else", "r", b"2", bench.now + timedelta(seconds=60))
    assert applied_task(await bench.write(Submit(bench.new(), elsewhere))).number == 2


async def test_a_replay_is_looked_at_before_the_key(bench: Bench) -> None:
    task = applied_task(await bench.write(Submit(bench.new(key="a", fingerprint=b"1"), replay(bench))))
    again = Submit(bench.new(key="a", fingerprint=b"2"), replay(bench))
    assert await bench.write(again) == Applied(task, replayed=True)


async def test_a_request_that_was_refused_may_be_sent_again(bench: Bench) -> None:
    await bench.submit(key="a", fingerprint=b"1")
    for write in (
        Submit(bench.new(key="a", fingerprint=b"2"), replay(bench)),
        SubmitBatch((bench.new(key="a", fingerprint=b"2"),), replay(bench)),
    ):
        result = await bench.write(write)
        assert isinstance(result, Refused)
        assert result.why is Refusal.KEY
    assert applied_task(await bench.write(Submit(bench.new(), replay(bench)))).number == 2


async def test_a_replay_is_known_until_its_time_and_not_at_it(bench: Bench) -> None:
    await bench.turn(Submit(bench.new(), replay(bench, for_s=60)))
    bench.pass_time(59.999_999)
    assert (await bench.turn(Submit(bench.new(), replay(bench)))).events == []
    bench.pass_time(0.000_001)
    anew = Submit(bench.new(), replay(bench, fingerprint=b"2"))
    assert applied_task(await bench.write(anew)).number == 2
    result = await bench.write(Submit(bench.new(), replay(bench, fingerprint=b"2")))
    assert isinstance(result, Applied)
    assert result.replayed


async def test_the_same_request_twice_in_a_turn_stores_one_task(bench: Bench) -> None:
    turn = await bench.turn(*[Submit(bench.new(), replay(bench)) for _ in range(3)])
    task = applied_task(turn.results[0])
    assert turn.results == [Applied(task), *[Applied(task, replayed=True)] * 2]
    assert await stored(bench) == [1]
