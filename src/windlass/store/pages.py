"""Which stretch of a list a page examines, and where the next one goes on. Reads no store.

Numbers rise without being reused, so a stretch of numbers bounds the rows in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from windlass.core.limits import PAGE_SCAN_ROWS
from windlass.core.query import Order, Page, TaskQuery
from windlass.core.task import Task


class Stretch(msgspec.Struct, frozen=True):
    """Task numbers from `low` to `high`, both included; nothing when `low` exceeds `high`. `is_last`: none beyond."""

    low: int
    high: int
    is_last: bool


def stretch(query: TaskQuery, *, low: int, high: int) -> Stretch:
    """Choose what a page examines of the numbers `low` to `high` that the store has.

    A key narrows more than any stretch could: with one, all that is left is examined, through its index.
    """
    room = high if query.key is not None else PAGE_SCAN_ROWS
    if query.order is Order.NEWEST:
        top = high if query.after is None else max(low - 1, min(high, query.after - 1))
        bottom = max(low, top - room + 1)
        return Stretch(bottom, top, bottom <= low)
    bottom = low if query.after is None else min(high + 1, max(low, query.after + 1))
    top = min(high, bottom + room - 1)
    return Stretch(bottom, top, top >= high)


def page_of(found: Sequence[Task], query: TaskQuery, examined: Stretch) -> Page:
    """Make the page of what `examined` held, of which `found` is the first `query.limit + 1` in order, or all."""
    if len(found) > query.limit:
        tasks = list(found[: query.limit])
        return Page(tasks=tasks, after=tasks[-1].number)
    if examined.is_last:
        return Page(tasks=list(found), after=None)
    return Page(tasks=list(found), after=examined.low if query.order is Order.NEWEST else examined.high)
