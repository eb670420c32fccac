"""How often things happened: counted over windows, and forgotten after them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from windlass.core.ids import TaskId
from windlass.core.state import EventName, State
from windlass.core.task import Event
from windlass.engine.pace import Pace

BEGUN_S = 10_000.0


def events(name: EventName, count: int) -> list[Event]:
    event = Event(
        seq=1,
        number=1,
        task_id=TaskId("x"),
        kind="k",
        ordinal=1,
        at=datetime(2026, 11, 20, tzinfo=UTC),
        name=name,
        state=State.QUEUED,
        attempt=0,
    )
    return [event] * count


def test_each_name_has_its_own_rate_over_each_window() -> None:
    pace = Pace(BEGUN_S)
    for second in range(600):
        now_s = BEGUN_S + second
        pace.take(events(EventName.SUBMITTED, 10) + events(EventName.FAILED, 1), now_s=now_s)
        if second >= 570:
            pace.take(events(EventName.SUCCEEDED, 4), now_s=now_s)
    minute, five = pace.rates(now_s=BEGUN_S + 600)
    assert (minute.window_s, five.window_s) == (60.0, 300.0)
    for rates in (minute, five):
        assert rates.submitted == pytest.approx(10, rel=0.1)
        assert rates.failed == pytest.approx(1, rel=0.1)
        assert (rates.started, rates.cancelled) == (0.0, 0.0)
    assert minute.succeeded == pytest.approx(2, rel=0.15)
    assert five.succeeded == pytest.approx(0.4, rel=0.15)


def test_what_is_older_than_a_window_does_not_count_in_it() -> None:
    pace = Pace(BEGUN_S)
    pace.take(events(EventName.CANCELLED, 100), now_s=BEGUN_S + 1)
    minute, five = pace.rates(now_s=BEGUN_S + 100)
    assert (minute.cancelled, five.cancelled) == (0.0, 1.0)
    assert pace.rates(now_s=BEGUN_S + 400)[1].cancelled == 0.0


def test_a_young_server_divides_by_its_age_and_a_newborn_by_a_second() -> None:
    pace = Pace(BEGUN_S)
    pace.take(events(EventName.STARTED, 30), now_s=BEGUN_S)
    assert pace.rates(now_s=BEGUN_S)[0].started == 30.0
    assert [rates.started for rates in pace.rates(now_s=BEGUN_S + 10)] == [3.0, 3.0]


def test_it_keeps_no_more_than_its_longest_window() -> None:
    pace = Pace(BEGUN_S)
    for span in range(10_000):
        pace.take(events(EventName.STARTED, 1), now_s=BEGUN_S + 5 * span)
    assert len(pace._ring._spans) <= 61
