"""Tasks, outcomes and policies to test the rules with: one by hand, any by hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from windlass.core.backoff import RetryPolicy
from windlass.core.ids import TaskId, Token
from windlass.core.limits import INTERRUPTED_MAX, LOST_MAX
from windlass.core.outcome import Errored, Interrupted, Lost, Snoozed, Succeeded, TimedOut
from windlass.core.state import Recovery, State
from windlass.core.task import Error, Task

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
TOKEN = Token("0123456789abcdef0123456789abcdef")
ERROR = Error(type="OSError", message="the upstream is away", code="upstream")

unhurried = settings(max_examples=60, deadline=None, database=None)
"""Few examples: the tables are complete, these look for what no table thought of, in every run anew.
No deadline: a busy machine is no defect. No database: unit tests write nothing.
"""


def a_task(**changes: Any) -> Task:
    """Build a task in its first attempt, changed by `changes`."""
    fields: dict[str, Any] = {
        "number": 17,
        "id": TaskId("0192e4a0-0000-7000-8000-000000000001"),
        "kind": "build_report",
        "queue": "reports",
        "state": State.RUNNING,
        "created_at": NOW - timedelta(minutes=5),
        "run_at": NOW - timedelta(minutes=4),
        "started_at": NOW - timedelta(minutes=3),
        "attempt": 1,
        "charged": 1,
        "token": TOKEN,
    }
    return Task(**(fields | changes))


policies = st.builds(
    RetryPolicy,
    base_s=st.just(0.0) | st.floats(1e-3, 1e6),
    factor=st.floats(1, 100) | st.integers(1, 100),
    cap_s=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)
rolls = st.floats(0, 1, exclude_max=True)
any_number = st.floats(allow_nan=True, allow_infinity=True)

outcomes = st.one_of(
    st.builds(Succeeded, result=st.binary(max_size=8)),
    st.builds(Errored, error=st.just(ERROR), retryable=st.booleans(), retry_after_s=st.none() | any_number),
    st.builds(Snoozed, delay_s=any_number),
    st.builds(TimedOut, error=st.just(ERROR)),
    st.builds(Interrupted, error=st.just(ERROR), isolate=st.booleans()),
    st.builds(Lost, error=st.just(ERROR)),
)


@st.composite
def running_tasks(draw: st.DrawFn) -> Task:
    """Draw any task that can be running: some budget is charged, no bound is passed yet."""
    max_attempts = draw(st.integers(1, 1_000))
    charged = draw(st.integers(1, max_attempts))
    return a_task(
        max_attempts=max_attempts,
        charged=charged,
        attempt=charged + draw(st.integers(0, 50)),
        lost=draw(st.integers(0, LOST_MAX - 1)),
        interrupted=draw(st.integers(0, INTERRUPTED_MAX - 1)),
        recovery=draw(st.sampled_from(Recovery)),
        retry=draw(policies),
        solo=draw(st.booleans()),
        cancel_requested_at=draw(st.none() | st.just(NOW - timedelta(seconds=1))),
    )
