"""Two workers, a client and an operator who act on one task in every possible order break no promise."""

from __future__ import annotations

import time

import pytest
from model_interleavings import explore

from windlass.contracts.tasks import Refusal
from windlass.core.state import EventName, Recovery

OCCURS = {
    "submitted", "started", "succeeded", "retrying", "failed", "cancel_requested", "cancelled", "retried",
    Refusal.STALE, Refusal.CHANGED, Refusal.STATE,
}  # fmt: skip
ONLY_WITH = {
    Recovery.RETRY: {EventName.INTERRUPTED},
    Recovery.FAIL: set[EventName](),
    Recovery.HOLD: {EventName.HELD, EventName.RELEASED},
}


def explore_and_tell(recovery: Recovery, depth: int) -> None:
    began = time.monotonic()
    explored = explore(recovery, depth)
    print(
        f"recovery {recovery}: {explored.orders:,} orders of {depth} events, which are {explored.steps:,} different "
        f"steps between {explored.worlds:,} situations; in {time.monotonic() - began:.1f} s"
    )
    assert explored.seen == OCCURS | ONLY_WITH[recovery]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("recovery", "depth"), [(Recovery.RETRY, 9), (Recovery.FAIL, 12), (Recovery.HOLD, 12)])
def test_no_order_of_events_breaks_a_promise(recovery: Recovery, depth: int) -> None:
    explore_and_tell(recovery, depth)


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_no_order_of_twelve_events_breaks_a_promise() -> None:
    explore_and_tell(Recovery.RETRY, 12)
