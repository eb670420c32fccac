"""Stretches of numbers and the pages made of them, as rules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.ids import TaskId
from windlass.core.limits import PAGE_SCAN_ROWS
from windlass.core.query import Order, TaskQuery
from windlass.core.state import State
from windlass.core.task import Task
from windlass.store.pages import Stretch, page_of, stretch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST, OLDEST = Order.NEWEST, Order.OLDEST


def task(number: int) -> Task:
    return Task(
        number=number,
        id=TaskId(str(number)),
        kind="k",
        queue="q",
        state=State.QUEUED,
        created_at=NOW,
        run_at=NOW,
    )


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
