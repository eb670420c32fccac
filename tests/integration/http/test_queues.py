"""Queues over HTTP, on whole servers: limits, pauses, and what a full one answers."""

from __future__ import annotations

import pytest
from live_front import Live

BODY = {"kind": "simulate", "payload": {"duration_s": 0}}


def test_a_full_queue_answers_503_with_a_time_to_come_again_and_keeps_nothing(live: Live):
    live.ask("PATCH", "/v1/queues/full", {"capacity": 2})
    first = live.submit(queue="full", key="k")
    live.submit(queue="full")
    refused = live.ask("POST", "/v1/tasks", {**BODY, "queue": "full"})
    assert (refused.status, refused.json["code"], refused.json["stored"]) == (503, "queue_full", "no")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    batch = live.ask("POST", "/v1/tasks/batch", {"tasks": [{"kind": "simulate"}, {**BODY, "queue": "full"}]})
    assert (batch.status, batch.json["code"]) == (503, "queue_full")
    assert live.submit(queue="full", key="k")["id"] == first["id"]
    assert len(live.numbers("queue=full")) == 2
    live.ask("POST", f"/v1/tasks/{first['id']}/cancel")
    assert live.ask("POST", "/v1/tasks", {**BODY, "queue": "full"}).status == 202


def test_a_paused_queue_says_so_and_its_tasks_too(live: Live):
    paused = live.ask("PATCH", "/v1/queues/slow", {"paused": True, "pause_reason": "moving house"})
    assert (paused.status, paused.json["paused"], paused.json["pause_reason"]) == (200, True, "moving house")
    task = live.ask("POST", "/v1/tasks", {**BODY, "queue": "slow"}).json
    shown = live.ask("GET", f"/v1/tasks/{task['id']}").json
    assert (shown["state"], shown["waiting"]) == ("queued", "paused")
    queue = live.ask("GET", "/v1/queues/slow").json
    assert (queue["depth"], queue["running"], queue["paused_at"]) == (1, 0, paused.json["paused_at"])
    assert queue["oldest_wait_s"] >= 0
    resumed = live.ask("PATCH", "/v1/queues/slow", {"paused": False}).json
    assert (resumed["paused"], resumed["paused_at"], resumed["pause_reason"]) == (False, None, None)
    ended = live.ask("GET", f"/v1/tasks/{task['id']}?wait=10").json
    while ended["state"] in ("queued", "running"):
        ended = live.ask("GET", f"/v1/tasks/{task['id']}?wait=10").json
    assert ended["state"] == "succeeded"


def test_a_limit_is_set_and_taken_back_and_the_settings_hold_again(live: Live):
    declared = live.ask("GET", "/v1/queues/enqueue").json
    assert (declared["concurrency"], declared["capacity"]) == (4, 64)
    assert declared["defaults"] == {"concurrency": 4, "capacity": 64}
    changed = live.ask("PATCH", "/v1/queues/enqueue", {"concurrency": 9}).json
    assert (changed["concurrency"], changed["capacity"]) == (9, 64)
    assert changed["overrides"] == {"concurrency": 9, "capacity": None}
    again = live.ask("PATCH", "/v1/queues/enqueue", {"concurrency": None})
    assert again.json["overrides"] == {"concurrency": None, "capacity": None}
    assert again.json["concurrency"] == 4


def test_queues_are_listed_by_name(live: Live):
    live.submit(queue="b.first")
    live.ask("PATCH", "/v1/queues/a.second", {"capacity": 5})
    listed = live.ask("GET", "/v1/queues").json["queues"]
    names = [queue["name"] for queue in listed]
    assert names == sorted(names)
    assert {"a.second", "b.first", "default", "enqueue", "workmate"} <= set(names)
    by_name = {queue["name"]: queue for queue in listed}
    assert (by_name["b.first"]["depth"], by_name["b.first"]["oldest_wait_s"]) == (1, None)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"concurrency": 0}, ("/concurrency", "invalid_value")),
        ({"concurrency": True}, ("/concurrency", "invalid_value")),
        ({"capacity": -1}, ("/capacity", "invalid_value")),
        ({"capacity": 10**9}, ("/capacity", "invalid_value")),
        ({"paused": None}, ("/paused", "invalid_value")),
        ({"rate": 5}, ("/rate", "unknown_field")),
        ({"pause_reason": "x" * 201}, ("/pause_reason", "invalid_value")),
        ({"paused": True, "pause_reason": "a\nb"}, ("/pause_reason", "invalid_text")),
        ({"paused": False, "pause_reason": "x"}, ("/pause_reason", "exclusive_fields")),
        ({"pause_reason": "x"}, ("/pause_reason", "invalid_value")),
    ],
)
def test_what_is_no_change_of_a_queue_is_refused_by_its_field(live: Live, body: object, fault: tuple[str, str]):
    answer = live.ask("PATCH", "/v1/queues/untouched", body)
    assert (answer.status, answer.faults) == (422, [fault])
    assert live.ask("GET", "/v1/queues/untouched").status == 404


@pytest.mark.parametrize("name", ["nowhere", "%2e%2e", "a%20b", "x" * 65])
def test_a_queue_that_is_not_there_is_not_found(live: Live, name: str):
    answer = live.ask("GET", f"/v1/queues/{name}")
    assert (answer.status, answer.json["code"]) == (404, "queue_not_found")


@pytest.mark.parametrize("name", ["a%20b", "x" * 65, "-a"])
def test_what_cannot_be_a_queues_name_is_refused(live: Live, name: str):
    answer = live.ask("PATCH", f"/v1/queues/{name}", {"paused": True})
    assert (answer.status, answer.faults) == (422, [("/name", "invalid_value")])
