"""Pages of tasks: what is on them, in which order, and how much they examine."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from store_cases import FAILED, START, Bench

from windlass.contracts.tasks import Delete, Hold, RequestCancel, Submit
from windlass.core.outcome import Snoozed
from windlass.core.query import Order, TaskQuery
from windlass.core.state import State
from windlass.core.waiting import waiting_for
from windlass.store import pages

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


# ── pages ──────────────────────────────────────────────────────────


async def numbers_of(bench: Bench, query: TaskQuery) -> list[list[int]]:
    """Follow the pages of a query to the end."""
    found: list[list[int]] = []
    while True:
        page = await bench.store.tasks.page(query)
        found.append([task.number for task in page.tasks])
        if page.after is None:
            return found
        query = msgspec.structs.replace(query, after=page.after, after_at=page.after_at)


async def test_an_empty_store_has_one_empty_page(bench: Bench) -> None:
    for order in Order:
        assert await numbers_of(bench, TaskQuery(order=order)) == [[]]
        assert await numbers_of(bench, TaskQuery(order=order, key="a")) == [[]]


async def test_pages_go_from_the_newest_to_the_oldest_or_back(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(5)])
    assert await numbers_of(bench, TaskQuery(limit=2)) == [[5, 4], [3, 2], [1]]
    assert await numbers_of(bench, TaskQuery(limit=2, order=Order.OLDEST)) == [[1, 2], [3, 4], [5]]


async def test_a_full_last_page_says_that_it_is_the_last(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    for order in (Order.NEWEST, Order.OLDEST):
        assert [len(page) for page in await numbers_of(bench, TaskQuery(limit=2, order=order))] == [2, 2]


async def test_tasks_that_come_meanwhile_do_not_disturb_the_pages(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    page = await bench.store.tasks.page(TaskQuery(limit=2))
    await bench.submit()
    following = await bench.store.tasks.page(TaskQuery(limit=2, after=page.after))
    assert [task.number for task in following.tasks] == [2, 1]


async def test_every_filter_narrows_and_all_must_match(bench: Bench) -> None:
    await bench.turn(
        Submit(bench.new(kind="other", queue="q", key="k", tags={"team": "a", "env": "x"})),
        Submit(bench.new(kind="work", queue="q", key="k", tags={"team": "b"})),
        Submit(bench.new(kind="work", queue="r", tags={"team": "a"})),
        Submit(bench.new(kind="work", queue="q", key="l")),
    )
    await bench.turn(RequestCancel(4, bench.now))
    expected = {
        TaskQuery(state=State.CANCELLED): [4],
        TaskQuery(state=State.QUEUED): [3, 2, 1],
        TaskQuery(kind="work"): [4, 3, 2],
        TaskQuery(queue="q"): [4, 2, 1],
        TaskQuery(key="k"): [2, 1],
        TaskQuery(key="k", order=Order.OLDEST): [1, 2],
        TaskQuery(tag=("team", "a")): [3, 1],
        TaskQuery(tag=("team", "a"), kind="other"): [1],
        TaskQuery(key="k", kind="work"): [2],
        TaskQuery(key="k", state=State.CANCELLED): [],
        TaskQuery(queue="nowhere"): [],
    }
    for query, numbers in expected.items():
        assert await numbers_of(bench, query) == [numbers], query


async def test_pages_by_key_can_be_followed_too(bench: Bench) -> None:
    kinds = ("work", "other", "file")
    await bench.turn(*[Submit(bench.new(kind=kind, key="k")) for kind in kinds], Submit(bench.new()))
    assert await numbers_of(bench, TaskQuery(key="k", limit=2)) == [[3, 2], [1]]
    assert await numbers_of(bench, TaskQuery(key="k", limit=2, order=Order.OLDEST)) == [[1, 2], [3]]


async def test_a_page_examines_a_bounded_number_of_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_SCAN_ROWS", 4)
    await bench.turn(*[Submit(bench.new(queue="rare" if n == 2 else "default")) for n in range(1, 11)])
    assert await numbers_of(bench, TaskQuery(queue="rare")) == [[], [], [2]]
    assert await numbers_of(bench, TaskQuery(queue="rare", order=Order.OLDEST)) == [[2], [], []]


@pytest.mark.parametrize("after", [-(10**30), -1, 0, 3, 4, 10**30])
async def test_a_cursor_from_anywhere_leads_to_a_page(bench: Bench, after: int) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(3)])
    for order, beyond in ((Order.NEWEST, [n for n in (3, 2, 1) if n < after]), (Order.OLDEST, [])):
        expected = beyond or [n for n in (1, 2, 3) if n > after and order is Order.OLDEST]
        assert await numbers_of(bench, TaskQuery(order=order, after=after)) == [expected]


async def test_pages_carry_the_errors_of_their_tasks(bench: Bench) -> None:
    running = await bench.run()
    task = await bench.end(running.task, FAILED)
    assert (await bench.store.tasks.page(TaskQuery())).tasks == [task]


# ── in the order of their ends ─────────────────────────────────────


async def end_in_order(bench: Bench, *numbers: int) -> None:
    """Cancel tasks one after the other, a second apart."""
    for number in numbers:
        await bench.turn(RequestCancel(number, bench.now))
        bench.pass_time(1)


def ended(**changes: Any) -> TaskQuery:
    return TaskQuery(state=State.CANCELLED, order=Order.ENDED_LAST, **changes)


async def test_what_ended_last_comes_first_and_pages_can_be_followed(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(queue="q" if n % 2 else "r")) for n in range(1, 7)])
    await end_in_order(bench, 4, 1, 5, 2)
    await bench.end((await bench.claim(shared=1))[0].task)
    assert await numbers_of(bench, ended(limit=3)) == [[2, 5, 1], [4]]
    assert await numbers_of(bench, ended(limit=2)) == [[2, 5], [1, 4]]
    assert await numbers_of(bench, ended(queue="q", limit=1)) == [[5], [1]]
    assert await numbers_of(bench, TaskQuery(state=State.SUCCEEDED, order=Order.ENDED_LAST)) == [[3]]
    for state in (None, State.QUEUED, State.RUNNING):
        assert await numbers_of(bench, TaskQuery(state=state, order=Order.ENDED_LAST)) == [[]]


async def test_tasks_that_ended_together_are_told_apart_by_their_numbers(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(5)])
    await bench.turn(*[RequestCancel(number, bench.now) for number in (3, 1, 5, 2, 4)])
    assert await numbers_of(bench, ended(limit=2)) == [[5, 4], [3, 2], [1]]


async def test_what_ends_or_goes_meanwhile_does_not_disturb_the_pages_of_ends(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(5)])
    await end_in_order(bench, 1, 2, 3, 4)
    page = await bench.store.tasks.page(ended(limit=2))
    assert [task.number for task in page.tasks] == [4, 3]
    await bench.turn(RequestCancel(5, bench.now), Delete(3, bench.now))
    assert await numbers_of(bench, ended(limit=2, after=page.after, after_at=page.after_at)) == [[2, 1]]


async def test_a_page_of_ends_examines_a_bounded_number_of_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_SCAN_ROWS", 3)
    await bench.turn(*[Submit(bench.new(queue="rare" if n == 2 else "default")) for n in range(1, 9)])
    await end_in_order(bench, *range(1, 9))
    assert await numbers_of(bench, ended(queue="rare")) == [[], [], [2]]
    assert await numbers_of(bench, ended()) == [[8, 7, 6], [5, 4, 3], [2, 1]]


async def test_pages_of_ends_keep_to_their_bounds_of_time(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(5)])
    await end_in_order(bench, 1, 2, 3, 4, 5)

    def at(number: int) -> datetime:
        return START + timedelta(seconds=number - 1)

    assert await numbers_of(bench, ended(finished_after=at(2), limit=2)) == [[5, 4], [3]]
    assert await numbers_of(bench, ended(finished_before=at(4), limit=2)) == [[3, 2], [1]]
    assert await numbers_of(bench, ended(finished_after=at(2), finished_before=at(4))) == [[3]]
    assert await numbers_of(bench, ended(finished_after=at(4), finished_before=at(2))) == [[]]


@pytest.mark.parametrize("after", [-(10**30), -1, 10**30])
async def test_a_place_among_ends_from_anywhere_leads_to_a_page(bench: Bench, after: int) -> None:
    await bench.submit()
    await end_in_order(bench, 1)
    expected = [[1]] if after > 0 else [[]]
    assert await numbers_of(bench, ended(after=after, after_at=START)) == expected


# ── bounds of time ─────────────────────────────────────────────────


async def test_bounds_of_time_are_exclusive(bench: Bench) -> None:
    for _ in range(3):
        await bench.submit()
        bench.pass_time(10)
    await end_in_order(bench, 3, 2)
    created = [task.created_at for task in (await bench.store.tasks.page(TaskQuery(order=Order.OLDEST))).tasks]
    finished = (await bench.task(3)).finished_at
    expected = {
        TaskQuery(created_after=created[0]): [3, 2],
        TaskQuery(created_before=created[2]): [2, 1],
        TaskQuery(created_after=created[0], created_before=created[2]): [2],
        TaskQuery(finished_after=finished): [2],
        TaskQuery(finished_before=bench.now): [3, 2],
        TaskQuery(finished_after=created[0], finished_before=finished): [],
        TaskQuery(finished_before=bench.now, state=State.QUEUED): [],
    }
    for query, numbers in expected.items():
        assert await numbers_of(bench, query) == [numbers], query


# ── waiting ────────────────────────────────────────────────────────


async def test_what_tasks_wait_for_is_what_core_says(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new(max_attempts=9)) for _ in range(4)])
    for number, claimed in enumerate(await bench.claim()):
        outcome = (FAILED, FAILED, Snoozed(delay_s=30), Snoozed(delay_s=30))[number]
        await bench.turn(bench.settle(claimed.task, outcome))
    await bench.turn(
        Submit(bench.new(delay_s=60)),
        Submit(bench.new()),
        Submit(bench.new(delay_s=60)),
        *[Hold(number, bench.now) for number in (2, 4, 7)],
        Submit(bench.new(kind="foreign")),
    )
    for seconds in (0, 31, 400):
        bench.pass_time(seconds)
        await bench.turn()
        tasks = (await bench.store.tasks.page(TaskQuery())).tasks
        said = {task.number: waiting_for(task, now=bench.now, is_kind_live=True) for task in tasks}
        for waiting in ("until", "retry", "hold", "dependencies"):
            expected = [number for number, why in said.items() if why == waiting]
            assert await numbers_of(bench, TaskQuery(waiting=waiting)) == [expected], (seconds, waiting)
        assert list(said.values()).count(None) == 0
    assert {number for number, why in said.items() if why == "hold"} == {2, 4, 7}


@pytest.mark.parametrize("waiting", ["slot", "no_worker", "nonsense"])
async def test_what_no_row_tells_alone_matches_nothing(bench: Bench, waiting: str) -> None:
    await bench.submit()
    assert await numbers_of(bench, TaskQuery(waiting=waiting)) == [[]]


# ── search ─────────────────────────────────────────────────────────


async def test_a_search_finds_an_id_a_number_a_key_or_the_beginning_of_a_name(bench: Bench) -> None:
    task = await bench.submit(key="2", name="Report for May")
    other = await bench.submit(kind="other", key="Report", name="x Report")
    await bench.submit(key=str(task.id), name="report")
    await bench.submit(name="2 reports")
    await bench.submit(key="Reports")
    expected = {
        str(task.id): [3, 1],
        str(other.id).upper(): [2],
        "2": [4, 2, 1],
        "3": [3],
        "Report": [2, 1],
        "Report for May": [1],
        "Report for May 2": [],
        "report": [3],
        "r": [3],
        "9" * 40: [],
        str(bench.ids.task_id()): [],
    }
    for q, numbers in expected.items():
        assert await numbers_of(bench, TaskQuery(q=q)) == [numbers], q
        assert await numbers_of(bench, TaskQuery(q=q, order=Order.OLDEST)) == [numbers[::-1]], q
    assert await numbers_of(bench, TaskQuery(q="Report", limit=1)) == [[2], [1]]
    assert await numbers_of(bench, TaskQuery(q="Report", kind="other")) == [[2]]
    assert await numbers_of(bench, TaskQuery(q="Report", key="2")) == [[1]]
    await end_in_order(bench, 1, 2, 3)
    assert await numbers_of(bench, ended(q="Report")) == [[2, 1]]


NAMES = ("50% off", "50 off", "a_b", "axb", "*", "[a]", "\\", "'", "Ä", "ä", "\U0010ffff", "\U0010ffffx", "\ud7ff", "")


@pytest.mark.parametrize("q", [*NAMES, "50%", "%", "_", "a_", "\ue000", "a"])
async def test_a_search_means_its_text_and_no_pattern(bench: Bench, q: str) -> None:
    await bench.turn(*[Submit(bench.new(name=name)) for name in NAMES], Submit(bench.new()))
    expected = [number for number, name in enumerate(NAMES, start=1) if name.startswith(q)]
    assert await numbers_of(bench, TaskQuery(q=q, order=Order.OLDEST)) == [expected]


async def test_a_search_that_finds_too_many_names_examines_a_stretch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.turn(*[Submit(bench.new(name="same" if n < 6 else "other")) for n in range(10)])
    await bench.submit(key="same")
    monkeypatch.setattr(pages, "PAGE_SCAN_ROWS", 5)
    assert await numbers_of(bench, TaskQuery(q="same")) == [[11], [6, 5, 4, 3, 2], [1]]
    pages_of_few = await numbers_of(bench, TaskQuery(q="other", order=Order.OLDEST))
    assert [number for page in pages_of_few for number in page] == [7, 8, 9, 10]
