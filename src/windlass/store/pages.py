"""Which stretch of a list a page examines, where the next one goes on, and what a search looks for. Reads no store.

Numbers rise without being reused, so a stretch of numbers bounds the rows in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import msgspec

from windlass.core.ids import TaskId, parse_task_ref
from windlass.core.limits import PAGE_SCAN_ROWS
from windlass.core.query import Order, Page, TaskQuery
from windlass.core.task import Task
from windlass.core.waiting import Waiting, waiting_for
from windlass.store.instants import from_micros, to_micros

Ending = tuple[int, int]
"""When a task has ended, in microseconds, and its number: how tasks are ordered by their ends."""

_FIRST: Final = -(2**63)
_LAST: Final = 2**63 - 1
"""LIMIT: of the integers that a store can hold."""
LAST_ENDING: Final[Ending] = (_LAST, 0)
"""Behind every end there can be."""
_BEFORE: Final = timedelta(microseconds=1)
_OF_ROWS: Final = frozenset({Waiting.UNTIL, Waiting.RETRY, Waiting.HOLD})
"""What a row tells alone; nothing has dependencies yet."""


class Stretch(msgspec.Struct, frozen=True):
    """Task numbers from `low` to `high`, both included; nothing when `low` exceeds `high`. `is_last`: none beyond."""

    low: int
    high: int
    is_last: bool


def stretch(query: TaskQuery, *, low: int, high: int, is_narrow: bool = False) -> Stretch:
    """Choose what a page examines of the numbers `low` to `high` that the store has.

    A key narrows more than any stretch could, and so may an origin or what is searched for, as `is_narrow` says: then
    all that is left is examined, through an index.
    """
    room = high if is_narrow or query.key is not None else PAGE_SCAN_ROWS
    if query.order is Order.NEWEST:
        top = high if query.after is None else max(low - 1, min(high, query.after - 1))
        bottom = max(low, top - room + 1)
        return Stretch(bottom, top, bottom <= low)
    bottom = low if query.after is None else min(high + 1, max(low, query.after + 1))
    top = min(high, bottom + room - 1)
    return Stretch(bottom, top, top >= high)


def up_to(examined: Stretch, query: TaskQuery, last: int | None) -> Stretch:
    """Cut a stretch behind the last number that is examined of it; None when that is all."""
    if last is None:
        return examined
    if query.order is Order.NEWEST:
        return Stretch(last, examined.high, is_last=False)
    return Stretch(examined.low, last, is_last=False)


def page_of(found: Sequence[Task], query: TaskQuery, examined: Stretch) -> Page:
    """Make the page of what `examined` held, of which `found` is the first `query.limit + 1` in order, or all."""
    if len(found) > query.limit:
        tasks = list(found[: query.limit])
        return Page(tasks=tasks, after=tasks[-1].number)
    if examined.is_last:
        return Page(tasks=list(found), after=None)
    return Page(tasks=list(found), after=examined.low if query.order is Order.NEWEST else examined.high)


# ── in the order of their ends ─────────────────────────────────────


def endings_of(query: TaskQuery) -> tuple[Ending, Ending]:
    """Say between which ends a page goes on: from the first, which is included, up to the second, which is not."""
    low = _FIRST if query.finished_after is None else to_micros(query.finished_after) + 1
    tops: list[Ending] = [LAST_ENDING]
    if query.finished_before is not None:
        tops.append((to_micros(query.finished_before), 0))
    if query.after is not None and query.after_at is not None:
        tops.append((to_micros(query.after_at), max(0, min(query.after, _LAST))))
    return (low, 0), min(tops)


def ended_page_of(found: Sequence[Task], query: TaskQuery, last: Ending | None) -> Page:
    """Make the page of a stretch of ends; `last` is the last one examined, None when there are no more.

    `found` is the first `query.limit + 1` in order, or all.
    """
    if len(found) > query.limit:
        tasks = list(found[: query.limit])
        return Page(tasks=tasks, after=tasks[-1].number, after_at=tasks[-1].finished_at)
    if last is None:
        return Page(tasks=list(found), after=None)
    return Page(tasks=list(found), after=last[1], after_at=from_micros(last[0]))


# ── what is looked for ─────────────────────────────────────────────


class Search(msgspec.Struct, frozen=True):
    """What is searched for: a task with this number, id or key, or whose name begins with `text`.

    Such names are those from `text` up to `beyond`, which is not included; None when there is no text beyond them.
    """

    text: str
    number: int | None
    id: TaskId | None
    beyond: str | None

    def matches(self, task: Task) -> bool:
        """Whether `task` is one of those."""
        is_named = task.name is not None and task.name.startswith(self.text)
        return is_named or task.key == self.text or task.number == self.number or task.id == self.id


def search_of(text: str) -> Search:
    """Read what a client searches for."""
    ref = parse_task_ref(text)
    number, task_id = (ref, None) if isinstance(ref, int) else (None, ref)
    return Search(text, number, task_id, text_beyond(text))


def text_beyond(prefix: str) -> str | None:
    r"""Give the least text, by code points, above all that begins with `prefix`; None when there is none.

    >>> text_beyond("ab"), text_beyond(chr(0x10FFFF)), text_beyond("a" + chr(0x10FFFF)), text_beyond(chr(0xD7FF))
    ('ac', None, 'b', '\ue000')
    """
    kept = prefix.rstrip(chr(0x10FFFF))
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if following == 0xD800 else following)  # no text holds what lies between


def waits_for(task: Task, *, is_due: bool) -> Waiting | None:
    """Say what `task` waits for as far as its row tells; `is_due`: the store has seen its time come."""
    waiting = waiting_for(task, now=task.run_at if is_due else task.run_at - _BEFORE, is_kind_live=True)
    return waiting if waiting in _OF_ROWS else None
