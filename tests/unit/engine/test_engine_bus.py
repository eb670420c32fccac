"""Wakes of those who wait for a task, without a loop: an event is set or it is not."""

from __future__ import annotations

import contextlib

import pytest

from windlass.engine.bus import Bus


def entries(bus: Bus) -> int:
    """Count what the bus keeps."""
    return len(bus._waiters)


def test_a_listener_is_woken_by_changes_of_its_task_from_its_first_moment_on():
    bus = Bus()
    bus.touch(1)
    with bus.listen(1) as event:
        assert not event.is_set()
        bus.touch(2)
        assert not event.is_set()
        bus.touch(1)
        assert event.is_set()
        event.clear()
        bus.touch(1)
        assert event.is_set()


def test_every_listener_of_a_task_is_woken():
    bus = Bus()
    with contextlib.ExitStack() as stack:
        events = [stack.enter_context(bus.listen(7)) for _ in range(100)]
        others = [stack.enter_context(bus.listen(n)) for n in (6, 8)]
        bus.touch(7)
        assert all(event.is_set() for event in events)
        assert not any(event.is_set() for event in others)


def test_one_that_has_left_takes_nobody_else_with_it():
    bus = Bus()
    with bus.listen(1) as staying:
        with bus.listen(1) as leaving:
            pass
        bus.touch(1)
        assert staying.is_set()
        assert not leaving.is_set()


def test_nothing_is_kept_of_those_who_have_left_however_they_left():
    bus = Bus()
    for number in range(1_000):
        with bus.listen(number % 10):
            bus.touch(number)
        with pytest.raises(KeyError), bus.listen(number):
            raise KeyError
    assert entries(bus) == 0
    with bus.listen(1), bus.listen(1), bus.listen(2):
        assert entries(bus) == 2
    assert entries(bus) == 0


def test_touching_a_task_that_nobody_waits_for_keeps_nothing():
    bus = Bus()
    for number in range(1_000):
        bus.touch(number)
    assert entries(bus) == 0


def test_a_close_wakes_everybody_for_good():
    bus = Bus()
    assert not bus.is_closed
    with bus.listen(1) as first, bus.listen(2) as second:
        bus.close()
        assert bus.is_closed
        assert first.is_set()
        assert second.is_set()
    with bus.listen(3) as late:
        assert late.is_set()
    assert entries(bus) == 0
    bus.close()


def test_a_look_at_the_versions_wakes_those_alone_whose_task_has_changed():
    bus = Bus()
    with bus.listen(1, version=5) as same, bus.listen(2, version=5) as changed, bus.listen(3, version=5) as gone:
        assert sorted(bus.waited()) == [1, 2, 3]
        bus.compare([1, 2, 3], {1: 5, 2: 6})
        assert (same.is_set(), changed.is_set(), gone.is_set()) == (False, True, True)
        changed.clear()
        gone.clear()
        bus.compare([1, 2, 3], {1: 5, 2: 6})
        assert not changed.is_set()
        assert not gone.is_set()
    assert not bus.waited()


def test_a_listener_that_has_left_during_the_look_is_forgotten():
    bus = Bus()
    with bus.listen(1, version=5):
        asked = bus.waited()
    bus.compare(asked, {1: 6})
    assert not bus.waited()
    with bus.listen(1, version=6) as event:
        bus.compare([1], {1: 6})
        assert not event.is_set()


def test_what_the_first_of_two_listeners_knew_counts_as_known():
    bus = Bus()
    with bus.listen(1, version=5) as first, bus.listen(1, version=6) as second:
        bus.compare([1], {1: 6})
        assert first.is_set()
        assert second.is_set()
