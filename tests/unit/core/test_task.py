"""The task: frozen, and never without a time zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from windlass.core.ids import TaskId
from windlass.core.task import NewTask, Task
from windlass.errors import InputError
from windlass.wire.v1 import SubmitRequest

from .making import NOW, a_task

NAIVE = datetime(2026, 11, 20, 15, 0)  # noqa: DTZ001 - what must be refused


def a_new_task(**changes: Any) -> NewTask:
    """Build a task on its way into the store."""
    fields: dict[str, Any] = {
        "id": TaskId("0192e4a0-0000-7000-8000-000000000001"),
        "kind": "build_report",
        "queue": "reports",
        "payload": b"{}",
        "created_at": NOW,
        "run_at": NOW,
    }
    return NewTask(**(fields | changes))


@pytest.mark.parametrize("name", ["created_at", "run_at"])
def test_an_instant_without_a_zone_never_gets_as_far_as_the_store(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} must say its time zone") as refused:
        a_new_task(**{name: NAIVE})
    assert refused.value.errors[0][:2] == (f"/{name}", "naive_time")
    with pytest.raises(InputError):
        msgspec.structs.replace(a_new_task(), **{name: NAIVE})


def test_a_client_must_say_the_zone_of_an_instant() -> None:
    def submit(run_at: str) -> SubmitRequest:
        return msgspec.json.decode(msgspec.json.encode({"kind": "k", "run_at": run_at}), type=SubmitRequest)

    with pytest.raises(msgspec.ValidationError, match="timezone"):
        submit("2026-11-20T15:00:00")
    assert submit("2026-11-20T15:00:00Z").run_at == NOW
    assert submit("2026-11-21T00:00:00+09:00").run_at == NOW


@pytest.mark.parametrize("task", [a_task(), a_new_task()], ids=["stored", "new"])
def test_a_task_is_changed_by_copy_alone(task: Task | NewTask) -> None:
    with pytest.raises(AttributeError):
        task.queue = "other"  # pyright: ignore[reportAttributeAccessIssue]
    assert msgspec.structs.replace(task, queue="other").queue == "other"


def test_tasks_do_not_share_their_tags() -> None:
    first, second = a_new_task(), a_new_task()
    first.tags["team"] = "finance"
    assert second.tags == {}
