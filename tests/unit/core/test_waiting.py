"""Why a queued task does not run yet."""

from __future__ import annotations

from datetime import timedelta

import pytest

from windlass.core.queue import Queue
from windlass.core.state import Reason, State
from windlass.core.waiting import Waiting, waiting_for

from .making import NOW, a_task

SOON = NOW + timedelta(microseconds=1)


@pytest.mark.parametrize("state", [state for state in State if state is not State.QUEUED])
def test_a_task_that_is_not_queued_waits_for_nothing(state: State) -> None:
    assert waiting_for(a_task(state=state, run_at=SOON, held=True), now=NOW, is_kind_live=False) is None


@pytest.mark.parametrize("is_kind_live", [True, False])
@pytest.mark.parametrize("run_at", [NOW, SOON])
def test_a_held_task_waits_for_a_person_before_all_else(run_at: object, is_kind_live: bool) -> None:
    task = a_task(state=State.QUEUED, held=True, run_at=run_at, reason=Reason.LOST)
    assert waiting_for(task, now=NOW, is_kind_live=is_kind_live) == "hold"


@pytest.mark.parametrize(
    ("reason", "waiting"),
    [
        (None, "until"),
        (Reason.INTERRUPTED, "until"),
        (Reason.ERROR, "retry"),
        (Reason.TIMED_OUT, "retry"),
        (Reason.LOST, "retry"),
    ],
)
@pytest.mark.parametrize("is_kind_live", [True, False])
def test_a_task_before_its_time_waits_for_it_and_says_whether_it_failed_before(
    reason: Reason | None, waiting: str, is_kind_live: bool
) -> None:
    task = a_task(state=State.QUEUED, run_at=SOON, reason=reason)
    assert waiting_for(task, now=NOW, is_kind_live=is_kind_live) == waiting


@pytest.mark.parametrize("reason", [None, Reason.ERROR, Reason.INTERRUPTED])
@pytest.mark.parametrize("run_at", [NOW, NOW - timedelta(days=1)])
def test_a_task_whose_time_has_come_waits_for_a_slot_or_for_a_worker(reason: Reason | None, run_at: object) -> None:
    task = a_task(state=State.QUEUED, run_at=run_at, reason=reason)
    assert waiting_for(task, now=NOW, is_kind_live=True) == "slot"
    assert waiting_for(task, now=NOW, is_kind_live=False) == "no_worker"


def test_a_task_that_could_start_waits_for_its_queue_and_a_pause_comes_before_all_else() -> None:
    task = a_task(state=State.QUEUED, run_at=NOW)
    limited = Queue(name="reports", set_concurrency=2)
    paused = Queue(name="reports", set_concurrency=2, paused_at=NOW)
    expected = {
        (limited, 1, True): "slot",
        (limited, 2, True): "limit",
        (limited, 3, True): "limit",
        (limited, 2, False): "no_worker",
        (paused, 0, True): "paused",
        (paused, 2, False): "paused",
        (Queue(name="reports"), 1_000, True): "slot",
    }
    for (queue, running, is_live), waiting in expected.items():
        assert waiting_for(task, now=NOW, is_kind_live=is_live, queue=queue, running=running) == waiting
    early, held = a_task(state=State.QUEUED, run_at=SOON), a_task(state=State.QUEUED, held=True)
    for other, waiting in ((early, "until"), (held, "hold")):
        assert waiting_for(other, now=NOW, is_kind_live=True, queue=paused) == waiting


def test_what_a_task_waits_for_has_stable_names() -> None:
    published = {"slot", "until", "retry", "dependencies", "hold", "paused", "limit", "no_worker"}
    assert set(Waiting) <= published
