"""Changing a task that is there, and taking it away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from live_front import Live


def patch(live: Live, task: Any, **changes: Any) -> Any:
    return live.ask("PATCH", f"/v1/tasks/{task['id']}", changes)


def test_a_queued_task_can_be_changed_in_all_that_is_open_to_change(live: Live):
    task = live.submit(queue="old", name="old", description="old", tags={"a": "1"}, priority=1)
    answer = patch(
        live,
        task,
        name="new",
        description="two\nlines",
        tags={"b": "2"},
        priority=-7,
        queue="new",
        run_at="2027-01-01T00:00:00+01:00",
    )
    assert answer.status == 200
    now = answer.json
    assert (now["name"], now["description"], now["tags"]) == ("new", "two\nlines", {"b": "2"})
    assert (now["priority"], now["queue"], now["run_at"]) == (-7, "new", "2026-12-31T23:00:00Z")
    assert (now["state"], now["version"], now["payload"]) == ("queued", task["version"] + 1, {})
    assert live.ask("GET", f"/v1/tasks/{task['number']}").json == now
    assert live.numbers("queue=new&tag=b:2") == [task["number"]]
    assert live.numbers("queue=old") == []


def test_null_takes_a_name_and_a_description_away_and_what_is_left_out_stays(live: Live):
    task = live.submit(name="n", description="d", tags={"a": "1"})
    now = patch(live, task, name=None, description=None).json
    assert (now["name"], now["description"], now["tags"]) == (None, None, {"a": "1"})
    assert patch(live, task, tags={}).json["tags"] == {}


def test_what_changes_nothing_makes_no_version(live: Live):
    task = live.submit(name="n", priority=3)
    assert patch(live, task).json["version"] == task["version"]
    assert patch(live, task, name="n", priority=3).json["version"] == task["version"]


def test_a_delay_counts_from_now_and_none_begins_at_once(live: Live):
    task = live.submit(payload={"duration_s": 0}, queue="sooner")
    later = patch(live, task, delay="10m").json
    assert 590 < (datetime.fromisoformat(later["run_at"]) - datetime.now(UTC)).total_seconds() <= 600
    patch(live, task, delay=0)
    assert live.ask("GET", f"/v1/tasks/{task['id']}").json["waiting"] != "until"
    while live.ask("GET", f"/v1/tasks/{task['id']}?wait=5").json["state"] != "succeeded":
        pass


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"nmae": "x"}, "/nmae", "unknown_field"),
        ({"state": "succeeded"}, "/state", "unknown_field"),
        ({"payload": {}}, "/payload", "unknown_field"),
        ({"key": "k"}, "/key", "unknown_field"),
        ({"name": ""}, "/name", "invalid_value"),
        ({"name": "a\nb"}, "/name", "invalid_text"),
        ({"description": "a\u0007"}, "/description", "invalid_text"),
        ({"tags": {"a b": "1"}}, "/tags/a b", "invalid_value"),
        ({"tags": {"a": "\u0000"}}, "/tags/a", "invalid_text"),
        ({"tags": None}, "/tags", "invalid_value"),
        ({"priority": 101}, "/priority", "invalid_value"),
        ({"priority": None}, "/priority", "invalid_value"),
        ({"queue": "../x"}, "/queue", "invalid_value"),
        ({"run_at": "2026-11-20T15:00:00"}, "/run_at", "invalid_value"),
        ({"run_at": "2999-01-01T00:00:00Z"}, "/run_at", "invalid_value"),
        ({"delay": "5"}, "/delay", "bad_duration"),
        ({"delay": 1, "run_at": "2026-11-20T15:00:00Z"}, "/delay", "exclusive_fields"),
    ],
)
def test_a_wrong_change_is_refused_by_name(live: Live, changes: dict[str, Any], pointer: str, code: str):
    task = live.submit()
    answer = patch(live, task, **changes)
    assert (answer.status, answer.faults) == (422, [(pointer, code)])
    assert "stored" not in answer.json
    assert live.ask("GET", f"/v1/tasks/{task['id']}").json["version"] == task["version"]


def test_a_running_task_keeps_its_priority_and_may_change_its_labels(live: Live):
    task = live.run()
    answer = patch(live, task, priority=5, name="x")
    assert (answer.status, answer.json["code"]) == (409, "task_state")
    assert (answer.json["task"]["id"], answer.json["task"]["state"]) == (task["id"], "running")
    assert patch(live, task, name="x").json["name"] == "x"
    live.ask("POST", f"/v1/tasks/{task['id']}/cancel", {"grace_s": 0})


def test_an_ended_task_keeps_its_queue_and_may_change_its_labels(live: Live):
    task = live.end()
    assert patch(live, task, queue="x").status == 409
    assert patch(live, task, tags={"seen": "yes"}).json["tags"] == {"seen": "yes"}


def test_a_change_that_races_with_the_claim_is_made_before_it_or_refused(live: Live):
    tasks = live.submit_many(60, queue="race", delay=0, payload={"duration_s": 0})
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda task: patch(live, task, priority=9), tasks))
    assert {answer.status for answer in answers} <= {200, 409}
    for task, answer in zip(tasks, answers, strict=True):
        now = live.ask("GET", f"/v1/tasks/{task['id']}").json
        assert now["priority"] == (9 if answer.status == 200 else 0)
        if answer.status == 409:
            assert answer.json["task"]["state"] != "queued"


# ── delete ─────────────────────────────────────────────────────────


def test_a_deleted_task_is_410_wherever_it_is_asked_for(live: Live):
    task = live.end(key="deleted")
    files = live.server.directory / "data" / "files" / task["id"]
    files.mkdir(parents=True, exist_ok=True)
    (files / "left").write_text("behind")
    answer = live.ask("DELETE", f"/v1/tasks/{task['number']}")
    assert (answer.status, answer.body) == (204, b"")
    assert not files.exists()
    for ref in (task["id"], task["number"]):
        for method, below in (
            ("GET", ""),
            ("GET", "?wait=1"),
            ("GET", "/result"),
            ("GET", "/attempts"),
            ("GET", "/files"),
            ("GET", "/files/left"),
            ("POST", "/cancel"),
            ("POST", "/retry"),
            ("POST", "/hold"),
            ("POST", "/release"),
            ("DELETE", ""),
        ):
            gone = live.ask(method, f"/v1/tasks/{ref}{below}")
            assert (gone.status, gone.json["code"]) == (410, "task_deleted"), (method, below)
        assert live.ask("PATCH", f"/v1/tasks/{ref}", {"name": "x"}).status == 410
    assert live.numbers("key=deleted") == []
    assert live.submit(key="deleted", priority=1)["number"] > task["number"]


def test_a_task_that_has_not_ended_is_not_deleted(live: Live):
    queued, running = live.submit(), live.run()
    for task in (queued, running):
        answer = live.ask("DELETE", f"/v1/tasks/{task['id']}")
        assert (answer.status, answer.json["code"]) == (409, "task_state")
        assert answer.json["task"]["state"] == task["state"]
        assert live.ask("GET", f"/v1/tasks/{task['id']}").status == 200
    live.ask("POST", f"/v1/tasks/{running['id']}/cancel", {"grace_s": 0})


@pytest.mark.parametrize("ref", ["999999999", "0192e4a0-0000-7000-8000-000000000001", "x"])
def test_what_never_was_is_404(live: Live, ref: str):
    for method, body in (("DELETE", None), ("PATCH", {"name": "x"})):
        assert live.ask(method, f"/v1/tasks/{ref}", body).status == 404


def test_of_two_who_delete_one_is_told_that_it_is_gone(live: Live):
    tasks = live.submit_many(20, queue="two")
    live.ask("POST", "/v1/bulk", {"action": "cancel", "filter": {"queue": "two"}})
    for task in tasks[:10]:
        with ThreadPoolExecutor(2) as threads:
            path = f"/v1/tasks/{task['id']}"
            answers = list(threads.map(lambda _, path=path: live.ask("DELETE", path).status, range(2)))
        assert sorted(answers) == [204, 410]
