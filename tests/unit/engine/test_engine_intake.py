"""What a client's wish becomes: defaults, times and the fingerprint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from windlass.contracts.engine_api import Submission
from windlass.core.backoff import RetryPolicy
from windlass.core.ids import TaskId
from windlass.core.kind import Isolation, Kind
from windlass.core.state import Recovery
from windlass.core.task import NewTask
from windlass.engine.intake import fingerprint, make_task
from windlass.errors import InputError

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
ID = TaskId("0192e4a0-0000-7000-8000-000000000001")
KIND = Kind(
    name="report",
    app="tasks:app",
    version="1",
    schema=b"{}",
    isolation=Isolation.SOLO,
    queue="reports",
    timeout_s=60.0,
    grace_s=3.0,
    max_attempts=7,
    retry=RetryPolicy(base_s=1),
    recovery=Recovery.HOLD,
)


def made(kind: Kind = KIND, **options: Any) -> NewTask:
    payload = options.pop("payload", {"b": 1, "a": [2]})
    return make_task(Submission(kind="report", payload=payload, **options), kind, id=ID, now=NOW)


def refusal(**options: Any) -> InputError:
    with pytest.raises(InputError) as refused:
        made(**options)
    return refused.value


def test_what_a_client_leaves_open_comes_from_the_kind():
    task = made()
    assert (task.id, task.kind, task.queue, task.created_at, task.run_at) == (ID, "report", "reports", NOW, NOW)
    assert (task.timeout_s, task.grace_s, task.max_attempts) == (60.0, 3.0, 7)
    assert (task.retry, task.recovery) == (RetryPolicy(base_s=1), Recovery.HOLD)
    assert (task.priority, task.key, task.origin, task.fingerprint) == (0, None, None, None)
    assert task.payload == b'{"a":[2],"b":1}'


def test_what_a_client_asks_for_is_kept():
    asked: dict[str, Any] = {
        "queue": "urgent",
        "priority": 9,
        "key": "k",
        "origin": "web",
        "timeout_s": 5.0,
        "grace_s": 1.0,
        "max_attempts": 1,
        "retry": RetryPolicy(factor=2),
        "recovery": Recovery.FAIL,
        "name": "November",
        "description": "all of it",
        "tags": {"team": "a"},
    }
    task = made(**asked)
    assert {name: getattr(task, name) for name in asked} == asked
    assert task.fingerprint is not None


def test_no_timeout_and_no_grace_can_be_asked_for():
    assert made(timeout_s=0.0).timeout_s is None
    assert made(grace_s=0.0).grace_s == 0.0


@pytest.mark.parametrize(
    ("option", "run_at"),
    [
        ({"delay_s": 90.0}, NOW + timedelta(seconds=90)),
        ({"delay_s": 0.0}, NOW),
        ({"run_at": NOW + timedelta(days=366)}, NOW + timedelta(days=366)),
        ({"run_at": NOW - timedelta(days=9_999)}, NOW),
        ({"run_at": (NOW + timedelta(hours=1)).astimezone(timezone(timedelta(hours=9)))}, NOW + timedelta(hours=1)),
    ],
)
def test_a_task_runs_when_it_is_asked_for_and_never_in_the_past(option: dict[str, Any], run_at: datetime):
    assert made(**option).run_at == run_at


@pytest.mark.parametrize(
    ("options", "code", "pointer"),
    [
        ({"run_at": NOW, "delay_s": 1.0}, "exclusive_fields", "/delay"),
        ({"run_at": NOW + timedelta(days=366, seconds=1)}, "invalid_value", "/run_at"),
        ({"run_at": datetime.max.replace(tzinfo=UTC)}, "invalid_value", "/run_at"),
        ({"run_at": NOW.replace(tzinfo=None)}, "naive_time", "/run_at"),
        ({"queue": "no spaces"}, "invalid_value", "/queue"),
        ({"queue": "x" * 65}, "invalid_value", "/queue"),
        ({"payload": {"n": float("nan")}}, "not_json", "/n"),
        ({"payload": {"n": 2**70}}, "not_json", "/n"),
    ],
)
def test_a_wish_that_cannot_be_granted_is_refused_by_its_field(options: dict[str, Any], code: str, pointer: str):
    error = refusal(**options)
    assert (error.code, error.errors[0][0]) == (code, pointer)


# ── the fingerprint ────────────────────────────────────────────────


def print_of(**options: Any) -> bytes:
    payload = options.pop("payload", {"b": 1, "a": {"y": 1, "x": 2}})
    return fingerprint(Submission(kind=options.pop("kind", "report"), payload=payload, **options))


def test_the_key_and_where_it_came_from_are_not_in_the_fingerprint():
    assert print_of(key="a", origin="web") == print_of(key="b", origin="shop") == print_of()
    assert len(print_of()) == 32


def test_the_order_of_keys_does_not_change_the_fingerprint():
    assert print_of(payload={"a": {"x": 2, "y": 1}, "b": 1}) == print_of()
    assert print_of(tags={"a": "1", "b": "2"}) == print_of(tags={"b": "2", "a": "1"})


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "other"},
        {"payload": {"b": 1, "a": {"y": 1, "x": 3}}},
        {"payload": {"b": 1, "a": {"y": 1, "x": 2}, "c": None}},
        {"payload": {"b": True, "a": {"y": 1, "x": 2}}},
        {"queue": "default"},
        {"priority": 1},
        {"run_at": NOW},
        {"delay_s": 1.0},
        {"timeout_s": 0.0},
        {"grace_s": 10.0},
        {"max_attempts": 5},
        {"retry": RetryPolicy()},
        {"recovery": Recovery.RETRY},
        {"name": "x"},
        {"description": "x"},
        {"tags": {"a": "1"}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_everything_else_that_is_asked_for_changes_the_fingerprint(options: dict[str, Any]):
    assert print_of(**options) != print_of()


def test_defaults_of_the_kind_do_not_change_the_fingerprint():
    other = Kind(name="report", app="tasks:app", version="2", schema=b"{}", isolation=Isolation.SHARED, max_attempts=1)
    assert made(key="k").fingerprint == made(other, key="k").fingerprint == print_of(payload={"a": [2], "b": 1})


def test_the_lists_of_a_payload_keep_their_order_in_the_fingerprint():
    assert print_of(payload={"a": [1, 2]}) != print_of(payload={"a": [2, 1]})
