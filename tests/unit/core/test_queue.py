"""What limits of a queue mean: which one holds, and how much room it leaves."""

from __future__ import annotations

import pytest

from windlass.core.queue import Queue, places_left, slots_left

from .making import NOW


@pytest.mark.parametrize(("default", "chosen", "holds"), [(None, None, None), (4, None, 4), (4, 9, 9), (None, 2, 2)])
def test_what_an_operator_has_set_wins_over_the_settings(
    default: int | None, chosen: int | None, holds: int | None
) -> None:
    queue = Queue(
        name="q", default_concurrency=default, set_concurrency=chosen, default_capacity=default, set_capacity=chosen
    )
    assert (queue.concurrency, queue.capacity) == (holds, holds)


def test_a_limit_of_nothing_is_a_limit() -> None:
    queue = Queue(name="q", default_capacity=5, set_capacity=0)
    assert places_left(queue, queued=0) == 0


@pytest.mark.parametrize(("running", "left"), [(0, 3), (2, 1), (3, 0), (7, 0)])
def test_room_is_what_a_limit_leaves_and_never_less_than_nothing(running: int, left: int) -> None:
    assert slots_left(Queue(name="q", set_concurrency=3), running=running) == left
    assert places_left(Queue(name="q", set_capacity=3), queued=running) == left


def test_a_queue_without_limits_has_any_room_and_a_paused_one_starts_nothing_but_takes_tasks() -> None:
    plain, paused = Queue(name="q"), Queue(name="q", paused_at=NOW)
    assert (slots_left(plain, running=10**6), places_left(plain, queued=10**6)) == (None, None)
    assert (slots_left(paused, running=0), places_left(paused, queued=10**6)) == (0, None)


def test_a_queue_is_plain_only_while_nothing_is_said_of_it() -> None:
    assert Queue(name="q").is_plain
    for said in ({"default_capacity": 1}, {"set_concurrency": 1}, {"paused_at": NOW}):
        assert not Queue(name="q", **said).is_plain
