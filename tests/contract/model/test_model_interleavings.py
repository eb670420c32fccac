"""Two workers, a client and an operator who act on one task in every possible order break no promise."""

from __future__ import annotations

import asyncio
import time

import pytest
from model_interleavings import PostgresShelf, explore
from model_postgres import PostgresRig
from postgres import database

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


def explore_on_postgres(recovery: Recovery, depth: int) -> None:
    with database("orders") as url, asyncio.Runner() as runner:
        run = runner.get_loop().run_until_complete
        rig = PostgresRig(url)
        run(rig.open())
        try:
            explored = explore(recovery, depth, lambda: PostgresShelf(rig, run))
        finally:
            run(rig.close())
    assert {"started", "succeeded", "cancelled", Refusal.STALE, Refusal.STATE} <= explored.seen


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("recovery", "depth"), [(Recovery.RETRY, 9), (Recovery.FAIL, 12), (Recovery.HOLD, 12)])
def test_no_order_of_events_breaks_a_promise(recovery: Recovery, depth: int) -> None:
    explore_and_tell(recovery, depth)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("recovery", list(Recovery))
def test_no_order_of_events_breaks_a_promise_on_postgresql(recovery: Recovery) -> None:
    explore_on_postgres(recovery, 4)


@pytest.mark.prove
@pytest.mark.timeout(1_800)
def test_no_order_of_seven_events_breaks_a_promise_on_postgresql() -> None:
    explore_on_postgres(Recovery.RETRY, 7)


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_no_order_of_twelve_events_breaks_a_promise() -> None:
    explore_and_tell(Recovery.RETRY, 12)
