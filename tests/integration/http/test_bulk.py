"""One thing done to many tasks: what matches, what is done, and how it goes on."""

from __future__ import annotations

from typing import Any

import pytest
from live_front import Live


def bulk(live: Live, action: str, **fields: Any) -> Any:
    answer = live.ask("POST", "/v1/bulk", {"action": action, **fields})
    assert answer.status == 200, answer
    return answer.json


def counts(done: Any) -> tuple[int, int, int, int]:
    return done["matched"], done["changed"], done["unchanged"], done["refused"]


def test_a_dry_run_counts_what_the_real_one_then_does(live: Live):
    live.submit_many(2_500, queue="dry")
    dry = bulk(live, "cancel", filter={"queue": "dry"}, dry_run=True)
    assert (counts(dry), dry["dry_run"], dry["next_cursor"]) == ((2_500, 0, 0, 0), True, None)
    assert len(live.numbers("queue=dry&state=queued&limit=500")) == 2_500
    real = bulk(live, "cancel", filter={"queue": "dry"}, reason="not needed")
    assert (counts(real), real["dry_run"], real["next_cursor"]) == ((2_500, 2_500, 0, 0), False, None)
    assert len(live.numbers("queue=dry&state=cancelled&limit=500")) == 2_500
    assert counts(bulk(live, "cancel", filter={"queue": "dry"})) == (0, 0, 0, 0)
    assert counts(bulk(live, "delete", filter={"queue": "dry"}, dry_run=True)) == (2_500, 0, 0, 0)
    assert counts(bulk(live, "delete", filter={"queue": "dry"})) == (2_500, 2_500, 0, 0)
    assert live.numbers("queue=dry") == []


def test_a_bounded_request_says_where_to_go_on_and_meets_each_task_once(live: Live):
    placed = live.submit_many(250, queue="steps")
    seen: list[tuple[int, int, int, int]] = []
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        done = bulk(live, "cancel", filter={"queue": "steps"}, limit=100, **more)
        seen.append(counts(done))
        left = len(live.numbers("queue=steps&state=queued&limit=500"))
        assert left == 250 - sum(step[0] for step in seen)
        if (cursor := done["next_cursor"]) is None:
            break
    assert sum(step[0] for step in seen) == sum(step[1] for step in seen) == len(placed)
    assert max(step[0] for step in seen) == 100


def test_tasks_that_run_are_stopped_with_those_that_wait(live: Live):
    running = live.run(queue="both")
    live.submit_many(3, queue="both")
    assert counts(bulk(live, "cancel", filter={"queue": "both"}, grace_s=0)) == (4, 4, 0, 0)
    path = f"/v1/tasks/{running['id']}"
    while (now := live.ask("GET", f"{path}?wait=5").json)["state"] != "cancelled":
        assert now["cancel_requested_at"] is not None
    assert counts(bulk(live, "retry", filter={"queue": "both"}, dry_run=True)) == (4, 0, 0, 0)
    assert counts(bulk(live, "retry", filter={"queue": "both"})) == (4, 4, 0, 0)


def test_a_state_in_the_filter_is_taken_at_its_word(live: Live):
    live.submit_many(2, queue="word")
    ended = live.end(queue="word")
    assert counts(bulk(live, "cancel", filter={"queue": "word", "state": "succeeded"})) == (1, 0, 0, 1)
    assert counts(bulk(live, "delete", filter={"queue": "word", "state": "queued"})) == (2, 0, 0, 2)
    assert live.ask("GET", f"/v1/tasks/{ended['id']}").json["state"] == "succeeded"
    cancelled = bulk(live, "cancel", filter={"queue": "word", "state": "queued"})
    again = bulk(live, "cancel", filter={"queue": "word", "state": "cancelled"})
    assert (counts(cancelled), counts(again)) == ((2, 2, 0, 0), (2, 0, 2, 0))


def test_every_filter_of_a_list_is_one_here(live: Live):
    live.submit(queue="filters", key="f1", name="first", tags={"a": "b:c"})
    live.submit(queue="filters", kind="download", payload={"files": [{"url": "http://127.0.0.1/x"}]})
    ended = live.end(queue="filters")

    def matched(action: str, **filter_: Any) -> int:
        return bulk(live, action, filter={"queue": "filters", **filter_}, dry_run=True)["matched"]

    assert matched("cancel") == 2
    assert matched("cancel", kind="download") == 1
    assert matched("cancel", key="f1") == matched("cancel", q="fir") == matched("cancel", tag="a:b:c") == 1
    assert matched("cancel", waiting="until") == 2
    assert matched("cancel", waiting="hold") == 0
    assert matched("cancel", created_after=ended["created_at"]) == 0
    assert matched("cancel", created_before=ended["created_at"]) == 2
    assert matched("delete", finished_after="2020-01-01T00:00:00Z") == 1
    assert matched("delete", finished_before="2020-01-01T00:00:00Z") == 0


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/action", "missing_field"),
        ({"action": "hold", "all": True}, "/action", "invalid_value"),
        ({"action": "cancel"}, "/all", "missing_field"),
        ({"action": "delete", "filter": {}}, "/all", "missing_field"),
        ({"action": "delete", "filter": {"queue": None}}, "/all", "missing_field"),
        ({"action": "delete", "filter": {"queue": "x"}, "all": True}, "/all", "exclusive_fields"),
        ({"action": "cancel", "filter": {"stat": "queued"}}, "/filter/stat", "unknown_field"),
        ({"action": "cancel", "filter": {"state": "lost"}}, "/filter/state", "invalid_value"),
        ({"action": "cancel", "filter": {"limit": 1}}, "/filter/limit", "unknown_field"),
        ({"action": "cancel", "filter": {"tag": "x"}}, "/filter/tag", "invalid_value"),
        ({"action": "cancel", "filter": {"waiting": "slot"}}, "/filter/waiting", "invalid_value"),
        ({"action": "cancel", "all": True, "limit": 0}, "/limit", "invalid_value"),
        ({"action": "cancel", "all": True, "limit": 10_001}, "/limit", "invalid_value"),
        ({"action": "cancel", "all": True, "cursor": "x"}, "/cursor", "bad_cursor"),
        ({"action": "cancel", "all": True, "reason": "a\nb"}, "/reason", "invalid_text"),
        ({"action": "retry", "all": True, "reason": "x"}, "/reason", "exclusive_fields"),
        ({"action": "delete", "all": True, "grace_s": 1}, "/grace_s", "exclusive_fields"),
    ],
)
def test_a_wrong_order_is_refused_by_name_and_does_nothing(live: Live, body: Any, pointer: str, code: str):
    kept = live.submit(queue="kept")
    answer = live.ask("POST", "/v1/bulk", body)
    assert (answer.status, answer.faults) == (422, [(pointer, code)])
    assert live.ask("GET", f"/v1/tasks/{kept['id']}").json["state"] == "queued"
