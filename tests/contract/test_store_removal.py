"""Tasks that go: deleted or pruned, what is left of them, and what is counted of those that stay."""

from __future__ import annotations

from datetime import timedelta

import pytest
from store_cases import ERROR, FAILED, OK, Bench, applied_task, file
from store_ids import SeededIds

from windlass.contracts.tasks import (
    Applied,
    Count,
    Delete,
    Forget,
    KeepFile,
    Prune,
    Refusal,
    Refused,
    Replay,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    Sweep,
    Tombstone,
)
from windlass.core.outcome import Succeeded
from windlass.core.query import TaskQuery
from windlass.core.state import ENDED, State
from windlass.store.memory import MemoryStore
from windlass.wire.codec import encode_json

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

ALL_ENDED = tuple(ENDED)


async def cancel(bench: Bench, *numbers: int) -> None:
    """End tasks one after the other, a second apart."""
    for number in numbers:
        await bench.turn(RequestCancel(number, bench.now))
        bench.pass_time(1)


async def left(bench: Bench) -> list[int]:
    return [task.number for task in (await bench.store.tasks.page(TaskQuery(limit=500))).tasks]


# ── delete ─────────────────────────────────────────────────────────


async def test_a_deleted_task_is_gone_with_all_that_belonged_to_it(bench: Bench) -> None:
    kept = await bench.submit()
    await bench.turn(RequestCancel(1, bench.now))
    running = await bench.run(key="k", name="n")
    token = running.task.token
    assert token is not None
    await bench.turn(Save(2, token, b"[1]"), KeepFile(2, token, file(0)))
    ended = await bench.end(running.task)
    assert await bench.write(Delete(ended.id, bench.now)) == Applied(ended)
    port = bench.store.tasks
    assert await port.get(2) is None
    assert await port.get(ended.id) is None
    assert (await port.payload(2), await port.result(2), list(await port.files(2))) == (None, None, [])
    assert list(await bench.history(2)) == []
    assert {event.number for event in await bench.store.events.log()} == {kept.number}
    assert await left(bench) == [1]
    assert (await port.page(TaskQuery(key="k"))).tasks == []


async def test_a_deleted_task_leaves_a_tombstone_by_number_and_id(bench: Bench) -> None:
    task = await bench.submit()
    await cancel(bench, 1)
    assert await bench.store.tasks.tombstone(1) is None
    await bench.turn(Delete(1, bench.now))
    tombstone = Tombstone(1, task.id, bench.now, is_swept=False)
    assert [await bench.store.tasks.tombstone(ref) for ref in (1, task.id)] == [tombstone] * 2
    assert await bench.store.tasks.tombstone(2) is None
    assert await bench.store.tasks.tombstone(bench.ids.task_id()) is None


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
async def test_a_task_that_has_not_ended_is_not_deleted(bench: Bench, state: State) -> None:
    await bench.submit()
    if state is State.RUNNING:
        await bench.claim()
    task = await bench.task(1)
    assert await bench.write(Delete(1, bench.now)) == Refused(Refusal.STATE, task)
    assert await bench.task(1) == task


async def test_a_task_is_deleted_once(bench: Bench) -> None:
    task = await bench.submit()
    await cancel(bench, 1)
    turn = await bench.turn(Delete(1, bench.now), Delete(task.id, bench.now), Delete(9, bench.now))
    assert [type(result) for result in turn.results] == [Applied, Refused, Refused]
    assert turn.results[1:] == [Refused(Refusal.MISSING)] * 2
    assert await bench.write(RequestCancel(1, bench.now)) == Refused(Refusal.MISSING)


async def test_a_deleted_task_frees_its_key_and_never_its_number(bench: Bench) -> None:
    await bench.submit(key="k", fingerprint=b"1")
    await cancel(bench, 1)
    turn = await bench.turn(Delete(1, bench.now), Submit(bench.new(key="k", fingerprint=b"2")))
    assert applied_task(turn.results[1]).number == 2
    seqs = [event.seq for event in await bench.store.events.log()]
    assert seqs == [3]


async def test_a_turn_tells_of_what_ends_and_goes_in_it(bench: Bench) -> None:
    running = await bench.run()
    turn = await bench.turn(bench.settle(running.task), Delete(1, bench.now), Submit(bench.new()), Delete(2, bench.now))
    assert [(event.seq, event.number, event.name) for event in turn.events] == [
        (3, 1, "succeeded"),
        (4, 2, "submitted"),
    ]
    assert [event.seq for event in await bench.store.events.log()] == [4]
    assert await bench.write(bench.settle(running.task)) == Refused(Refusal.MISSING)


async def test_the_log_goes_on_over_what_is_gone(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(6)])
    await cancel(bench, 1, 2, 3, 4, 5)
    await bench.turn(*[Delete(number, bench.now) for number in (1, 2, 3, 5)])
    log = bench.store.events.log
    assert [event.seq for event in await log()] == [4, 6, 10]
    assert [event.seq for event in await log(after=4, limit=1)] == [6]
    assert [event.seq for event in await log(after=5)] == [6, 10]


async def test_memory_does_not_grow_with_what_is_gone() -> None:
    ids = SeededIds()
    store = MemoryStore(ids)
    bench = Bench(store, ids)
    await bench.submit()
    for number in range(2, 40):
        await bench.submit()
        await bench.turn(RequestCancel(number, bench.now), Delete(number, bench.now))
    assert len(store.events._log) <= 4
    assert [event.number for event in await store.events.log()] == [1]


# ── prune ──────────────────────────────────────────────────────────


async def test_what_ended_first_is_pruned_first_whatever_its_number_or_state(bench: Bench) -> None:
    claimed = [await bench.run() for _ in range(4)]
    for place, outcome in ((2, OK), (0, FAILED), (3, OK), (1, OK)):
        bench.pass_time(1)
        await bench.end(claimed[place].task, outcome)
    await bench.turn(RequestCancel(1, bench.now))  # it was to be retried
    assert await bench.write(Prune(ALL_ENDED, None, 2, bench.now)) == Applied(count=2, size_bytes=2 * (7 + 11))
    assert await left(bench) == [2, 1]
    assert [tombstone.number for tombstone in await bench.store.tasks.unswept(limit=9)] == [3, 4]


async def test_tasks_that_ended_together_go_by_their_numbers(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(5)])
    await bench.turn(*[RequestCancel(number, bench.now) for number in (4, 2, 5, 1, 3)])
    await bench.turn(Prune(ALL_ENDED, None, 3, bench.now))
    assert await left(bench) == [5, 4]


async def test_only_the_states_asked_for_and_the_time_before_are_pruned(bench: Bench) -> None:
    for _ in range(3):
        await bench.end((await bench.run()).task)
        bench.pass_time(1)
    await bench.submit()
    await cancel(bench, 4)
    await bench.submit()
    border = (await bench.task(2)).finished_at
    assert await bench.write(Prune((State.FAILED,), None, 9, bench.now)) == Applied()
    assert (await bench.write(Prune((State.SUCCEEDED, State.SUCCEEDED), border, 9, bench.now))) == Applied(
        count=1, size_bytes=18
    )
    assert await left(bench) == [5, 4, 3, 2]
    result = await bench.write(Prune(tuple(State), None, 9, bench.now))
    assert result == Applied(count=3, size_bytes=18 + 18 + 7)
    assert await left(bench) == [5]


async def test_pruning_goes_in_slices_and_keeps_to_its_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.store.sqlite.removal.REMOVE_ROWS", 4)
    await bench.turn(*[Submit(bench.new(key=f"k{n}")) for n in range(11)])
    await bench.turn(*[RequestCancel(number, bench.now) for number in range(1, 12)])
    for limit, count in ((0, 0), (-1, 0), (10, 10), (10, 1), (10, 0)):
        assert await bench.write(Prune(ALL_ENDED, None, limit, bench.now)) == Applied(count=count, size_bytes=7 * count)
    assert await left(bench) == []
    assert len(await bench.store.tasks.unswept(limit=99)) == 11
    assert await bench.store.tasks.counts() == []
    assert (await bench.submit(key="k1")).number == 12


# ── what is left ───────────────────────────────────────────────────


async def test_tombstones_are_swept_once_and_only_those_that_are_there(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    await cancel(bench, 1, 2, 3)
    await bench.turn(*[Delete(number, bench.now) for number in (3, 1, 2)])
    unswept = bench.store.tasks.unswept
    assert [tombstone.number for tombstone in await unswept(limit=2)] == [1, 2]
    assert await bench.write(Sweep((1, 3, 4, 99))) == Applied(count=2)
    assert await bench.write(Sweep((1, 2))) == Applied(count=1)
    assert list(await unswept(limit=9)) == []
    tombstone = await bench.store.tasks.tombstone(1)
    assert tombstone is not None
    assert tombstone.is_swept


async def test_only_swept_tombstones_of_long_ago_are_forgotten(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    await cancel(bench, 1, 2, 3, 4)
    for number in (4, 3, 2, 1):
        await bench.turn(Delete(number, bench.now))
        bench.pass_time(1)
    await bench.turn(Sweep((1, 2, 4)))
    border = bench.now - timedelta(seconds=1)  # when 1 was deleted
    assert await bench.write(Forget(bench.now, border, 1)) == Applied(count=1)
    tombstone = bench.store.tasks.tombstone
    assert [await tombstone(number) is not None for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert await bench.write(Forget(bench.now, border, 9)) == Applied(count=1)
    assert [await tombstone(number) is not None for number in (1, 2, 3)] == [True, False, True]


async def test_only_replays_past_their_time_are_forgotten_within_the_limit(bench: Bench) -> None:
    for key, seconds in (("a", 30), ("b", 10), ("c", 20), ("d", 60)):
        replay = Replay("s", key, b"1", bench.now + timedelta(seconds=seconds))
        await bench.turn(Submit(bench.new(), replay))
    await cancel(bench, 1)
    await bench.turn(Delete(1, bench.now), Sweep((1,)))
    bench.pass_time(29)
    counts = [await bench.write(Forget(bench.now, bench.now, limit)) for limit in (2, 2, 2)]
    assert counts == [Applied(count=2), Applied(count=2), Applied(count=0)]
    again = await bench.turn(Submit(bench.new(), Replay("s", "d", b"1", bench.now + timedelta(seconds=9))))
    assert again.events == []


# ── counters ───────────────────────────────────────────────────────


async def test_every_move_is_counted_with_its_size(bench: Bench) -> None:
    error = len(encode_json(ERROR))

    async def counts() -> list[tuple[str, int, int]]:
        return [(count.state.value, count.tasks, count.size_bytes) for count in await bench.store.tasks.counts()]

    assert await counts() == []
    await bench.submit()
    assert await counts() == [("queued", 1, 7)]
    (claimed,) = await bench.claim()
    assert await counts() == [("running", 1, 7)]
    await bench.turn(Submit(bench.new(payload=b'{"n":22}')), bench.settle(claimed.task, FAILED))
    assert await counts() == [("queued", 2, 7 + error + 8)]
    bench.pass_time(60)
    (first, second) = await bench.claim()
    await bench.turn(bench.settle(first.task, Succeeded(result=b"[1]")), bench.settle(second.task, OK))
    assert await counts() == [("succeeded", 2, 7 + 3 + 8 + 11)]
    await bench.turn(Retry(1, bench.now), Delete(2, bench.now))
    assert await counts() == [("queued", 1, 7)]
    await bench.turn(RequestCancel(1, bench.now))
    assert await counts() == [("cancelled", 1, 7)]


async def test_a_later_error_takes_the_place_of_the_earlier_one_in_the_size(bench: Bench) -> None:
    await bench.submit(max_attempts=9)
    for _ in range(3):
        (claimed,) = await bench.claim()
        await bench.turn(bench.settle(claimed.task, FAILED))
        bench.pass_time(400)
    (count,) = await bench.store.tasks.counts()
    assert count.size_bytes == 7 + len(encode_json(ERROR))


async def test_counters_are_by_queue_kind_and_state(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(queue=queue, kind=kind)) for queue, kind in ("ba", "ab", "ba", "bb")])
    await bench.turn(RequestCancel(1, bench.now), RequestCancel(9, bench.now))
    assert await bench.store.tasks.counts() == [
        Count("a", "b", State.QUEUED, 1, 7),
        Count("b", "a", State.CANCELLED, 1, 7),
        Count("b", "a", State.QUEUED, 1, 7),
        Count("b", "b", State.QUEUED, 1, 7),
    ]


async def test_a_refused_write_counts_nothing(bench: Bench) -> None:
    running = await bench.run()
    before = await bench.store.tasks.counts()
    stale = bench.settle(running.task)
    await bench.turn(Settle(1, bench.ids.token(), stale.settlement, 1.0), Delete(1, bench.now), Retry(1, bench.now))
    assert await bench.store.tasks.counts() == before
