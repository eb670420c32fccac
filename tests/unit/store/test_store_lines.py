"""The memory store's lines: a task counts once, where it was put last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from windlass.core.ids import TaskId
from windlass.core.state import State
from windlass.core.task import Task
from windlass.store.instants import to_micros
from windlass.store.lines import Lines

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MICROS = to_micros(NOW)
LANE = ("q", "k", False)


def task(number: int, *, delay_s: float = 0, **changes: object) -> Task:
    whole = Task(
        number=number,
        id=TaskId(str(number)),
        kind="k",
        queue="q",
        state=State.QUEUED,
        created_at=NOW,
        run_at=NOW + timedelta(seconds=delay_s),
    )
    return msgspec.structs.replace(whole, **changes)


def drained(lines: Lines) -> list[int]:
    found: list[int] = []
    while LANE in set(lines.lanes()) and lines.head(LANE) is not None:
        found.append(lines.take(LANE))
    return found


def test_a_task_put_many_times_is_in_the_line_once() -> None:
    lines = Lines()
    for _ in range(3):
        lines.put(task(1), MICROS)
        lines.put(task(1, held=True), MICROS)
    lines.put(task(1), MICROS)
    lines.put(task(2), MICROS)
    assert drained(lines) == [1, 2]


def test_a_task_that_left_the_line_is_passed_over() -> None:
    lines = Lines()
    for number in (1, 2, 3):
        lines.put(task(number), MICROS)
    lines.put(task(1, state=State.CANCELLED), MICROS)
    lines.put(task(2, held=True), MICROS)
    assert drained(lines) == [3]


def test_a_task_put_back_at_another_time_stands_there() -> None:
    lines = Lines()
    lines.put(task(1, delay_s=-20), MICROS)
    lines.put(task(2, delay_s=-10), MICROS)
    lines.put(task(1), MICROS)
    assert drained(lines) == [2, 1]


def test_what_is_due_is_promoted_in_the_order_of_time_and_no_more_than_asked() -> None:
    lines = Lines()
    for number, delay_s in ((1, 3), (2, 1), (3, 2), (4, 9)):
        lines.put(task(number, delay_s=delay_s), MICROS)
    later = MICROS + 5_000_000
    lines.promote(later, limit=2)
    assert (drained(lines), lines.next_due_at()) == ([2, 3], MICROS + 3_000_000)
    lines.promote(later, limit=2)
    assert (drained(lines), lines.next_due_at()) == ([1], MICROS + 9_000_000)


def test_a_scheduled_task_that_was_cancelled_is_never_due() -> None:
    lines = Lines()
    lines.put(task(1, delay_s=5), MICROS)
    lines.put(task(1, state=State.CANCELLED), MICROS)
    assert lines.next_due_at() is None


def test_only_lanes_that_hold_a_ready_task_are_named() -> None:
    lines = Lines()
    other = ("r", "k", True)
    lines.put(task(1), MICROS)
    lines.put(task(2), MICROS)
    lines.put(task(3, queue="r", solo=True), MICROS)
    lines.put(task(4, queue="s", delay_s=5), MICROS)
    assert set(lines.lanes()) == {LANE, other}
    lines.put(task(3, state=State.CANCELLED), MICROS)
    assert (lines.head(LANE), lines.take(LANE)) == ((0, MICROS, 1), 1)
    assert lines.lanes() == [LANE]
    lines.put(task(2, held=True), MICROS)
    assert (lines.lanes(), lines.head(LANE)) == ([], None)
    lines.promote(MICROS + 5_000_000, limit=9)
    assert lines.lanes() == [("s", "k", False)]


def test_a_task_is_scheduled_until_its_time_has_come() -> None:
    lines = Lines()
    lines.put(task(1, delay_s=5), MICROS)
    lines.put(task(2), MICROS)
    assert (lines.is_scheduled(1), lines.is_scheduled(2)) == (True, False)
    lines.promote(MICROS + 5_000_000, limit=9)
    assert not lines.is_scheduled(1)
