"""Stretches of numbers and the pages made of them, as rules."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.ids import TaskId
from windlass.core.limits import PAGE_SCAN_ROWS
from windlass.core.query import Order, TaskQuery
from windlass.core.state import Reason, State
from windlass.core.task import Task
from windlass.core.waiting import Waiting, waiting_for
from windlass.store import pages
from windlass.store.pages import (
    Stretch,
    ended_page_of,
    endings_of,
    page_of,
    search_of,
    stretch,
    text_beyond,
    waits_for,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST, OLDEST = Order.NEWEST, Order.OLDEST


def task(number: int, **changes: Any) -> Task:
    whole = Task(
        number=number,
        id=TaskId(str(number)),
        kind="k",
        queue="q",
        state=State.QUEUED,
        created_at=NOW,
        run_at=NOW,
    )
    return msgspec.structs.replace(whole, **changes)


@pytest.mark.parametrize(
    ("order", "after", "expected"),
    [
        (NEWEST, None, Stretch(30_001, 50_000, is_last=False)),
        (NEWEST, 30_001, Stretch(10_001, 30_000, is_last=False)),
        (NEWEST, 20_000, Stretch(5, 19_999, is_last=True)),
        (NEWEST, 5, Stretch(5, 4, is_last=True)),
        (OLDEST, None, Stretch(5, 20_004, is_last=False)),
        (OLDEST, 40_000, Stretch(40_001, 50_000, is_last=True)),
        (OLDEST, 50_000, Stretch(50_001, 50_000, is_last=True)),
    ],
)
def test_a_stretch_begins_where_the_page_before_has_ended(order: Order, after: int | None, expected: Stretch) -> None:
    assert stretch(TaskQuery(order=order, after=after), low=5, high=50_000) == expected


def test_with_a_key_all_that_is_left_is_one_stretch() -> None:
    assert stretch(TaskQuery(key="k"), low=1, high=10**6) == Stretch(1, 10**6, is_last=True)
    assert stretch(TaskQuery(key="k", order=OLDEST, after=9), low=1, high=10**6) == Stretch(10, 10**6, is_last=True)


def test_one_task_more_than_the_page_holds_shows_that_there_is_more() -> None:
    page = page_of([task(9), task(7), task(4)], TaskQuery(limit=2), Stretch(1, 10, is_last=True))
    assert ([found.number for found in page.tasks], page.after) == ([9, 7], 7)


def test_a_page_that_found_too_little_goes_on_where_it_stopped_looking() -> None:
    assert page_of([task(9)], TaskQuery(limit=2), Stretch(4, 10, is_last=False)).after == 4
    assert page_of([], TaskQuery(limit=2, order=OLDEST), Stretch(4, 10, is_last=False)).after == 10
    assert page_of([task(9)], TaskQuery(limit=2), Stretch(1, 10, is_last=True)).after is None


@given(
    st.sampled_from(Order),
    st.none() | st.integers(-(10**25), 10**25),
    st.integers(1, 10**6),
    st.integers(0, 10**6),
    st.none() | st.just("k"),
)
def test_a_stretch_stays_within_the_store_and_its_bound(
    order: Order, after: int | None, low: int, size: int, key: str | None
) -> None:
    high = low + size - 1
    examined = stretch(TaskQuery(order=order, after=after, key=key), low=low, high=high)
    assert low <= examined.low <= high + 1
    assert low - 1 <= examined.high <= high
    assert key is not None or examined.high - examined.low < PAGE_SCAN_ROWS


def test_the_examples_of_the_module_hold() -> None:
    assert doctest.testmod(pages).failed == 0


# ── in the order of their ends ─────────────────────────────────────


def test_a_page_of_ends_goes_on_before_the_last_one_or_the_bound_whichever_is_earlier() -> None:
    later = NOW + timedelta(microseconds=7)
    ended = TaskQuery(order=Order.ENDED_LAST, state=State.FAILED)
    micros = endings_of(msgspec.structs.replace(ended, finished_after=NOW))[0][0] - 1
    assert endings_of(ended)[1] == pages.LAST_ENDING
    assert endings_of(msgspec.structs.replace(ended, finished_before=later))[1] == (micros + 7, 0)
    both = msgspec.structs.replace(ended, finished_before=later, after=5, after_at=later)
    assert endings_of(both)[1] == (micros + 7, 0)
    assert endings_of(msgspec.structs.replace(both, after_at=NOW))[1] == (micros, 5)


def test_a_page_of_ends_says_where_it_stopped_looking() -> None:
    query = TaskQuery(order=Order.ENDED_LAST, state=State.FAILED, limit=2)
    found = [task(number, state=State.FAILED, finished_at=NOW) for number in (9, 7, 4)]
    assert ended_page_of(found, query, None) == pages.Page(tasks=found[:2], after=7, after_at=NOW)
    last = ended_page_of(found[:1], query, (1_000_000, 3))
    assert (last.after, last.after_at) == (3, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert ended_page_of(found[:2], query, None).after is None


# ── what is looked for ─────────────────────────────────────────────

texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\U0010ffff\ud7ff\ue000a"), max_size=4)


@given(texts, texts)
def test_what_begins_with_a_text_lies_between_it_and_what_is_beyond(prefix: str, other: str) -> None:
    beyond = text_beyond(prefix)

    def lies_between(text: str) -> bool:
        return prefix.encode() <= text.encode() and (beyond is None or text.encode() < beyond.encode())

    assert lies_between(prefix + other)
    assert lies_between(other) == other.startswith(prefix)


def test_a_search_is_for_a_number_or_an_id_where_it_can_be_one() -> None:
    spelled = "0192E4A0-0000-7000-8000-000000000001"
    assert (search_of("17").number, search_of("17").id) == (17, None)
    assert (search_of(spelled).number, search_of(spelled).id) == (None, spelled.lower())
    assert (search_of("17a").number, search_of("17a").id) == (None, None)


def test_a_task_without_key_and_name_is_found_by_nothing_but_its_number_and_id() -> None:
    assert [search_of(text).matches(task(7)) for text in ("7", "8", "")] == [True, False, False]


@pytest.mark.parametrize("reason", [None, *Reason])
@pytest.mark.parametrize("is_held", [False, True])
def test_what_a_row_tells_is_what_core_says(reason: Reason | None, is_held: bool) -> None:
    waiting = task(1, reason=reason, held=is_held, run_at=NOW + timedelta(seconds=1))
    assert waits_for(waiting, is_due=False) == waiting_for(waiting, now=NOW, is_kind_live=False)
    assert waits_for(waiting, is_due=True) == (Waiting.HOLD if is_held else None)
    assert waits_for(task(1, state=State.RUNNING), is_due=True) is None
