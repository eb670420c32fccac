"""Tasks that came through a dialect: their numbers there, their lists, and how one is hidden."""

from __future__ import annotations

import pytest
from store_cases import FAILED, OK, Bench, applied_task

from windlass.contracts.tasks import (
    Applied,
    Delete,
    Hide,
    Prune,
    Refusal,
    Refused,
    RequestCancel,
    Retry,
    Submit,
    SubmitBatch,
)
from windlass.core.query import Order, TaskQuery
from windlass.core.state import ENDED, EventName, Reason, State
from windlass.store import pages

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio

MISSING = "00000000-0000-7000-8000-000000000000"


async def numbers_of(bench: Bench, query: TaskQuery) -> list[list[int]]:
    """Read all pages of a list."""
    found: list[list[int]] = []
    while True:
        page = await bench.store.tasks.page(query)
        found.append([task.number for task in page.tasks])
        if page.after is None:
            return found
        query = TaskQuery(**{name: getattr(query, name) for name in query.__struct_fields__} | {"after": page.after})


# ── numbers ────────────────────────────────────────────────────────


async def test_each_origin_counts_its_own_tasks_from_one(bench: Bench) -> None:
    tasks = [await bench.submit(origin=origin) for origin in ("a", "b", None, "a")]
    assert [task.origin_number for task in tasks] == [1, 1, None, 2]
    result = await bench.write(SubmitBatch((bench.new(origin="b"), bench.new(), bench.new(origin="a"))))
    assert isinstance(result, Applied)
    stored = [await bench.task(placed.number) for placed in result.placed]
    assert [task.origin_number for task in stored] == [2, None, 3]


async def test_a_number_is_not_given_again_whatever_becomes_of_its_task(bench: Bench) -> None:
    for _ in range(3):
        task = await bench.submit(origin="a")
        await bench.turn(RequestCancel(task.number, bench.now))
    await bench.turn(Delete(3, bench.now), Submit(bench.new(origin="a")))
    assert (await bench.task(4)).origin_number == 4
    await bench.turn(RequestCancel(4, bench.now), Prune(tuple(ENDED), None, 9, bench.now))
    assert (await bench.submit(origin="a")).origin_number == 5


async def test_a_submission_that_meets_its_key_or_is_refused_uses_no_number(bench: Bench) -> None:
    new = bench.new(origin="a", key="k", fingerprint=b"1")
    await bench.turn(Submit(new), Submit(bench.new(origin="a", key="k", fingerprint=b"1")))
    other = bench.new(origin="a", key="k", fingerprint=b"2")
    await bench.turn(Submit(other), SubmitBatch((bench.new(origin="a"), other)))
    assert (await bench.submit(origin="a")).origin_number == 2


async def test_a_task_is_found_by_its_origin_and_number_there(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(origin=origin)) for origin in ("a", "b", "b", None)])
    port = bench.store.tasks
    assert await port.find_of_origin("b", 1) == await bench.task(2)
    assert await port.find_of_origin("b", 2) == await bench.task(3)
    assert [await port.find_of_origin(*name) for name in (("b", 3), ("c", 1), ("a", 0), ("a", -1))] == [None] * 4
    await bench.turn(RequestCancel(2, bench.now), Delete(2, bench.now))
    assert await port.find_of_origin("b", 1) is None


async def test_a_claim_hands_the_number_over(bench: Bench) -> None:
    started = await bench.run(origin="a")
    assert (started.task.origin_number, started.task.is_hidden) == (1, False)
    assert started.task == await bench.task(1)


# ── hiding ─────────────────────────────────────────────────────────


async def test_hiding_a_queued_task_cancels_it_in_the_same_write(bench: Bench) -> None:
    task = await bench.submit(origin="a")
    hidden = applied_task(await bench.write(Hide(task.id, bench.now)))
    assert (hidden.state, hidden.reason, hidden.is_hidden) == (State.CANCELLED, Reason.CANCELLED, True)
    assert (hidden.cancel_outcome, hidden.version) == ("never_started", task.version + 1)
    assert hidden == await bench.task(1)
    assert await bench.names(1) == ["submitted", "cancelled"]


async def test_hiding_a_running_task_asks_it_to_stop_in_the_same_write(bench: Bench) -> None:
    running = await bench.run(origin="a")
    turn = await bench.turn(Hide(1, bench.now))
    hidden = applied_task(turn.results[0])
    assert (hidden.state, hidden.is_hidden, hidden.cancel_requested_at) == (State.RUNNING, True, bench.now)
    assert [event.name for event in turn.events] == [EventName.CANCEL_REQUESTED]
    ended = await bench.end(await bench.task(1), FAILED)
    assert (ended.state, ended.is_hidden) == (State.CANCELLED, True)
    assert running.task.number == ended.number


async def test_hiding_an_ended_task_changes_nothing_else_and_is_no_event(bench: Bench) -> None:
    running = await bench.run(origin="a")
    ended = await bench.end(running.task, OK)
    turn = await bench.turn(Hide(1, bench.now))
    hidden = applied_task(turn.results[0])
    assert (hidden.state, hidden.is_hidden, hidden.version) == (State.SUCCEEDED, True, ended.version + 1)
    assert (turn.events, hidden) == ([], await bench.task(1))
    assert await bench.store.tasks.result(1) == b'{"ok":true}'


async def test_a_task_that_is_asked_to_stop_already_is_only_hidden(bench: Bench) -> None:
    await bench.run(origin="a")
    await bench.turn(RequestCancel(1, bench.now, "r"))
    turn = await bench.turn(Hide(1, bench.now))
    hidden = applied_task(turn.results[0])
    assert (hidden.is_hidden, hidden.cancel_reason, turn.events) == (True, "r", [])


async def test_hiding_again_changes_nothing(bench: Bench) -> None:
    await bench.submit(origin="a")
    first, second = (await bench.turn(Hide(1, bench.now), Hide(1, bench.now))).results
    task = await bench.task(1)
    assert (first, second) == (Applied(task), Applied(task, created=False))
    assert await bench.write(Hide(9, bench.now)) == Refused(Refusal.MISSING)
    assert await bench.write(Hide(MISSING, bench.now)) == Refused(Refusal.MISSING)


async def test_a_hidden_task_that_is_retried_stays_hidden(bench: Bench) -> None:
    await bench.submit(origin="a")
    await bench.turn(Hide(1, bench.now), Retry(1, bench.now))
    (started,) = await bench.claim()
    assert (started.task.is_hidden, started.task.origin_number) == (True, 1)
    assert started.task == await bench.task(1)


async def test_what_a_task_holds_survives_hiding_it_while_it_is_full_of_news(bench: Bench) -> None:
    running = await bench.run(origin="a", name="n", tags={"a": "b"}, key="k")
    await bench.turn(bench.settle(running.task, FAILED))
    before = await bench.task(1)
    hidden = applied_task(await bench.write(Hide(1, bench.now)))
    assert (hidden.error, hidden.name, hidden.tags, hidden.key) == (before.error, "n", {"a": "b"}, "k")
    assert hidden.cancel_outcome == "stopped"


# ── lists ──────────────────────────────────────────────────────────


async def test_an_origin_lists_its_own_tasks_and_those_it_still_knows(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(origin=origin)) for origin in ("a", "b", None, "a", "a", "b")])
    await bench.turn(Hide(4, bench.now))
    expected = {
        TaskQuery(origin="a"): [5, 4, 1],
        TaskQuery(origin="a", is_hidden=False): [5, 1],
        TaskQuery(origin="a", is_hidden=True): [4],
        TaskQuery(origin="b", order=Order.OLDEST): [2, 6],
        TaskQuery(is_hidden=False): [6, 5, 3, 2, 1],
        TaskQuery(origin="a", state=State.QUEUED): [5, 1],
        TaskQuery(origin="c"): [],
        TaskQuery(origin="a", q="4"): [4],
        TaskQuery(origin="a", state=State.CANCELLED, order=Order.ENDED_LAST): [4],
    }
    for query, found in expected.items():
        assert await numbers_of(bench, query) == [found], query


async def test_a_key_is_looked_for_within_the_origin(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(origin=origin, key="k")) for origin in ("a", "b", None)])
    assert await numbers_of(bench, TaskQuery(origin="b", key="k")) == [[2]]


async def test_pages_of_an_origin_can_be_followed_both_ways(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(origin="a" if n % 3 else None)) for n in range(1, 9)])
    assert await numbers_of(bench, TaskQuery(origin="a", limit=2)) == [[8, 7], [5, 4], [2, 1]]
    assert await numbers_of(bench, TaskQuery(origin="a", limit=4, order=Order.OLDEST)) == [[1, 2, 4, 5], [7, 8]]


async def test_a_page_of_an_origin_examines_its_own_tasks_and_a_bounded_number_of_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.turn(*[Submit(bench.new(origin="a" if n % 5 == 0 else None)) for n in range(1, 31)])
    monkeypatch.setattr(pages, "PAGE_SCAN_ROWS", 4)
    assert await numbers_of(bench, TaskQuery(origin="a")) == [[30, 25, 20, 15], [10, 5]]
    await bench.turn(*[Hide(n, bench.now) for n in (5, 10, 15, 20)])
    shown = TaskQuery(origin="a", is_hidden=False, order=Order.OLDEST)
    assert await numbers_of(bench, shown) == [[], [25, 30]]


@pytest.mark.parametrize("after", [-(10**30), 0, 3, 10**30])
async def test_a_cursor_from_anywhere_leads_to_a_page_of_an_origin(bench: Bench, after: int) -> None:
    await bench.turn(*[Submit(bench.new(origin="a")) for _ in range(3)])
    for order in (Order.NEWEST, Order.OLDEST):
        found = await bench.store.tasks.page(TaskQuery(origin="a", order=order, after=after))
        expected = [n for n in (1, 2, 3) if (n < after if order is Order.NEWEST else n > after)]
        assert sorted(task.number for task in found.tasks) == expected
