"""What the work of a dialect is by default, and how a message is tried again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from dialect_servers import ask_of
from live import LiveServer, running, until
from stores import STORES, fresh_store

BASE_S, CAP_S = 0.1, 10.0
DEFAULTS: dict[str, tuple[str, Any, dict[str, Any], dict[str, Any]]] = {
    "workmate": (
        "/task",
        None,
        {"duration_s": [180.0, 300.0], "failure_rate": 0.1},
        {"max_attempts": 1, "recovery": "retry"},
    ),
    "check_result": (
        "/task/create",
        {"task": "x"},
        {"duration_s": [60.0, 180.0], "failure_rate": 0.0, "echo": {"task": "x"}},
        {"max_attempts": 1, "recovery": "fail", "timeout_s": 240.0},
    ),
    "tasktrack": (
        "/api/task",
        {"name": "x"},
        {"duration_s": [180.0, 300.0], "failure_rate": 0.1, "echo": {"name": "x", "description": ""}},
        {"max_attempts": 1, "recovery": "retry"},
    ),
    "enqueue": (
        "/enqueue",
        {"id": "x", "max_retries": 2},
        {"duration_s": [0.1, 0.15], "failure_rate": 0.2, "echo": {"id": "x", "payload": ""}},
        {"max_attempts": 3, "recovery": "retry", "key": "x"},
    ),
    "downloads": (
        "/tasks",
        {"urls": ["nonsense"]},
        {"files": ["nonsense"]},
        {"max_attempts": 3, "recovery": "retry", "kind": "download"},
    ),
}
"""Of each dialect: what is sent where, and the payload and some fields of the task that this makes."""


@pytest.fixture(params=STORES)
def failing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveServer]:
    """Give a server on each store whose work fails at once."""
    settings = {"WINDLASS_SIMULATE__DURATION_S": "0.01", "WINDLASS_SIMULATE__FAILURE_RATE": "1"}
    with fresh_store(request.param) as database, running(tmp_path, database=database, **settings) as server:
        yield server


@pytest.mark.timeout(60)
def test_the_work_of_each_dialect_is_by_default_what_its_service_did(tmp_path: Path):
    with running(tmp_path) as server:
        for path, body, _, _ in DEFAULTS.values():
            answer = ask_of(server, "POST", path, {}, None if body is None else json.dumps(body).encode())
            assert answer.status in (201, 202), answer
        tasks = server.request("GET", "/v1/tasks")[1]["tasks"]
        assert {task["origin"] for task in tasks} == set(DEFAULTS)
        for task in map(server.get, tasks):
            _, _, payload, fields = DEFAULTS[task["origin"]]
            assert task["payload"] == payload
            due = {"kind": "simulate", "queue": task["origin"], **fields}
            assert {name: task[name] for name in due} == due


@pytest.mark.timeout(60)
def test_a_message_is_tried_again_after_delays_that_double_up_to_ten_seconds_and_are_rolled(failing: LiveServer):
    tasks = [_enqueue(failing, f"message-{number}", max_retries=9) for number in range(4)]
    histories = [_hurry_to_the_end(failing, task) for task in tasks]
    shares: list[float] = []
    for history in histories:
        assert [one["attempt"] for one in history] == list(range(1, 11))
        assert history[-1]["next_run_at"] is None
        for number, one in enumerate(history[:-1]):
            longest_s = min(CAP_S, BASE_S * 2**number)
            delay_s = (_at(one["next_run_at"]) - _at(one["ended_at"])).total_seconds()
            assert longest_s / 2 - 0.001 <= delay_s <= longest_s + 0.001, f"after failure {number + 1}: {delay_s} s"
            shares.append(delay_s / longest_s)
    assert len({round(share, 2) for share in shares}) > len(shares) / 4, f"not rolled: {shares}"


@pytest.mark.timeout(60)
def test_a_message_waits_out_its_delay_before_it_is_tried_again(failing: LiveServer):
    task = failing.wait(_enqueue(failing, "patient", max_retries=3))
    history = _attempts(failing, task)
    assert (task["state"], task["reason"], task["charged"]) == ("failed", "exhausted", 4)
    for one, following in pairwise(history):
        assert _at(following["started_at"]) >= _at(one["next_run_at"]), history


def _enqueue(server: LiveServer, key: str, **message: Any) -> dict[str, Any]:
    answer = ask_of(server, "POST", "/enqueue", {}, json.dumps({"id": key, **message}).encode())
    assert answer.status == 202, answer
    (task,) = server.request("GET", f"/v1/tasks?key={key}")[1]["tasks"]
    return task


def _attempts(server: LiveServer, task: dict[str, Any]) -> list[dict[str, Any]]:
    status, said = server.request("GET", f"/v1/tasks/{task['id']}/attempts")
    assert status == 200, said
    return said["attempts"]


def _hurry_to_the_end(server: LiveServer, task: dict[str, Any]) -> list[dict[str, Any]]:
    """Have no delay waited out: it is rolled and written down before."""

    def has_failed() -> bool:
        now = server.get(task)
        if now["waiting"] == "retry":
            server.request("PATCH", f"/v1/tasks/{task['id']}", {"delay": 0})
        return now["state"] == "failed"

    until(has_failed, "the message has failed for good", log=server.log)
    return _attempts(server, task)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
