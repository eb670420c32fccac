"""Tasks as dialects meet them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from windlass.core.ids import TaskId
from windlass.core.state import State
from windlass.core.task import Error, Task

CREATED = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
STARTED = CREATED + timedelta(seconds=10)
NOW = CREATED + timedelta(seconds=100)
ID = TaskId("01a1fb1e-ac96-77fd-b9c1-f31b812f796b")
ERROR = Error(type="OSError", message="the upstream is away")


def task_in(state: State, **changes: Any) -> Task:
    """Build a task in `state`: one that runs has run for 90 s, one that has ended ran for 60.25 s."""
    fields: dict[str, Any] = {
        "number": 17,
        "id": ID,
        "kind": "simulate",
        "queue": "any",
        "state": state,
        "created_at": CREATED,
        "run_at": CREATED,
        "origin": "any",
        "origin_number": 3,
    }
    if state is not State.QUEUED:
        fields |= {"attempt": 1, "started_at": STARTED}
    if state.has_ended:
        fields |= {"run_s": 60.25, "finished_at": STARTED + timedelta(seconds=60.25)}
    return Task(**(fields | changes))
