"""Tasks over HTTP: what is sent, what comes back."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from http_front import Front

from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy
from windlass.core.state import Reason, Recovery, State
from windlass.core.task import Error, Progress


def test_a_task_is_taken_with_202_where_it_can_be_found(front: Front):
    answer = front.ask("POST", "/v1/tasks", {"kind": "echo", "payload": {"b": 1, "a": [None, 2.5]}, "tags": {"x": "1"}})
    assert answer.status == 202
    task = answer.json
    assert (task["number"], task["state"], task["waiting"], task["version"]) == (1, "queued", "slot", 1)
    assert task["payload"] == {"b": 1, "a": [None, 2.5]}
    assert task["result"] is None
    assert answer.headers["location"] == f"/v1/tasks/{task['id']}"
    assert front.ask("GET", answer.headers["location"]).json == task
    assert front.ask("GET", "/v1/tasks/1").json == task


def test_every_option_reaches_the_engine_in_seconds(front: Front):
    run_at = datetime(2026, 11, 20, 15, tzinfo=UTC)
    front.submit(
        queue="reports",
        priority=-5,
        key="k",
        run_at="2026-11-20T16:00:00+01:00",
        timeout="1h30m",
        grace=2.5,
        max_attempts=7,
        retry={"base": "500ms", "jitter": 0},
        recovery="hold",
        name="a name",
        description="two\nlines",
        tags={"a": "b"},
    )
    front.submit(delay="90s", timeout=None)
    front.submit(timeout=0)
    full, unlimited, zero = front.engine.submissions
    assert (full.queue, full.priority, full.key, full.run_at) == ("reports", -5, "k", run_at)
    assert (full.timeout_s, full.grace_s, full.max_attempts) == (5400.0, 2.5, 7)
    assert full.retry == RetryPolicy(base_s=0.5, factor=DEFAULT_RETRY.factor, cap_s=DEFAULT_RETRY.cap_s, jitter=0.0)
    assert (full.recovery, full.name, full.description, full.tags) == (
        Recovery.HOLD,
        "a name",
        "two\nlines",
        {"a": "b"},
    )
    assert (unlimited.delay_s, unlimited.timeout_s, unlimited.grace_s, unlimited.retry) == (90.0, 0.0, None, None)
    assert zero.timeout_s == 0.0
    front.submit()
    assert front.engine.submissions[3].timeout_s is None


BROKEN: list[tuple[Any, list[tuple[str, str]]]] = [
    ({}, [("/kind", "missing_field")]),
    ([], [("", "invalid_value")]),
    ("echo", [("", "invalid_value")]),
    (None, [("", "invalid_value")]),
    ({"kind": "eco"}, [("/kind", "unknown_kind")]),
    ({"kind": "os.system"}, [("/kind", "unknown_kind")]),
    ({"kind": "a/b"}, [("/kind", "unknown_kind")]),
    ({"kind": "../x"}, [("/kind", "unknown_kind")]),
    ({"kind": ""}, [("/kind", "invalid_value")]),
    ({"kind": 1}, [("/kind", "invalid_value")]),
    ({"kind": "echo", "payload": []}, [("/payload", "invalid_value")]),
    ({"kind": "echo", "payload": None}, [("/payload", "invalid_value")]),
    ({"kind": "echo", "paylaod": {}}, [("/paylaod", "unknown_field")]),
    *(
        ({"kind": "echo", name: 1}, [(f"/{name}", "unknown_field")])
        for name in ("state", "attempt", "token", "origin", "number", "id", "version", "webhook", "unique")
    ),
    ({"kind": "echo", "a/b~c": 1}, [("/a~1b~0c", "unknown_field")]),
    ({"kind": "echo", "queue": "../x"}, [("/queue", "invalid_value")]),
    ({"kind": "echo", "queue": "x\n"}, [("/queue", "invalid_value")]),
    ({"kind": "echo", "queue": "x" * 65}, [("/queue", "invalid_value")]),
    ({"kind": "echo", "priority": 101}, [("/priority", "invalid_value")]),
    ({"kind": "echo", "priority": True}, [("/priority", "invalid_value")]),
    ({"kind": "echo", "priority": "1"}, [("/priority", "invalid_value")]),
    ({"kind": "echo", "key": ""}, [("/key", "invalid_value")]),
    ({"kind": "echo", "key": "a\nb"}, [("/key", "invalid_text")]),
    ({"kind": "echo", "key": "x" * 257}, [("/key", "invalid_value")]),
    ({"kind": "echo", "name": "a\u0007"}, [("/name", "invalid_text")]),
    ({"kind": "echo", "description": "a\u001b[2J"}, [("/description", "invalid_text")]),
    ({"kind": "echo", "delay": "5"}, [("/delay", "bad_duration")]),
    ({"kind": "echo", "delay": -1}, [("/delay", "bad_duration")]),
    ({"kind": "echo", "delay": "9999d"}, [("/delay", "bad_duration")]),
    ({"kind": "echo", "delay": 1, "run_at": "2026-11-20T15:00:00Z"}, [("/delay", "exclusive_fields")]),
    ({"kind": "echo", "run_at": "2026-11-20T15:00:00"}, [("/run_at", "invalid_value")]),
    ({"kind": "echo", "run_at": "tomorrow"}, [("/run_at", "invalid_value")]),
    ({"kind": "echo", "run_at": 1}, [("/run_at", "invalid_value")]),
    ({"kind": "echo", "run_at": "9999-12-31T23:59:59-14:00"}, [("/run_at", "invalid_value")]),
    ({"kind": "echo", "timeout": "1 year"}, [("/timeout", "bad_duration")]),
    ({"kind": "echo", "grace": "2h"}, [("/grace", "bad_duration")]),
    ({"kind": "echo", "max_attempts": 0}, [("/max_attempts", "invalid_value")]),
    ({"kind": "echo", "recovery": "x" * 999}, [("/recovery", "invalid_value")]),
    ({"kind": "echo", "retry": {"delay": 1}}, [("/retry/delay", "unknown_field")]),
    (
        {"kind": "echo", "retry": {"factor": 0, "cap": "1"}},
        [("/retry/factor", "invalid_value"), ("/retry/cap", "bad_duration")],
    ),
    ({"kind": "echo", "tags": {"a b": "1", "c": 2}}, [("/tags/a b", "invalid_value"), ("/tags/c", "invalid_value")]),
    ({"kind": "echo", "tags": {"a": "\u0000x"}}, [("/tags/a", "invalid_text")]),
    ({"kind": "echo", "tags": {str(index): "" for index in range(33)}}, [("/tags", "invalid_value")]),
    (
        {"queue": "!", "delay": "5", "timeout": -1, "nmae": "x", "priority": 999},
        [
            ("/nmae", "unknown_field"),
            ("/kind", "missing_field"),
            ("/queue", "invalid_value"),
            ("/priority", "invalid_value"),
            ("/delay", "bad_duration"),
            ("/timeout", "bad_duration"),
        ],
    ),
]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One server for all rows that store nothing."""
    front = Front(tmp_path_factory.mktemp("refusing"))
    yield front
    assert front.engine.tasks == {}
    front.close()


@pytest.mark.parametrize(("body", "faults"), BROKEN)
def test_a_wrong_submit_names_every_broken_field_and_stores_nothing(
    refusing: Front, body: Any, faults: list[tuple[str, str]]
):
    answer = refusing.ask("POST", "/v1/tasks", b"null" if body is None else body, Content_Type="application/json")
    problem = answer.json
    assert (answer.status, problem["stored"]) == (422, "no"), problem
    assert [(fault["pointer"], fault["code"]) for fault in problem["errors"]] == faults
    assert problem["code"] == faults[0][1]
    assert all(len(fault["detail"]) < 200 for fault in problem["errors"])


def test_very_many_faults_are_not_all_listed(front: Front):
    answer = front.ask("POST", "/v1/tasks", {f"f{index}": 1 for index in range(900)})
    assert (answer.status, len(answer.json["errors"])) == (422, 20)


@pytest.mark.parametrize(("sent", "meant"), [("paylaod", "payload"), ("que", "queue"), ("retries", "retry")])
def test_a_misspelled_field_is_told_its_nearest_name(front: Front, sent: str, meant: str):
    answer = front.ask("POST", "/v1/tasks", {"kind": "echo", sent: {}})
    assert answer.json["detail"] == f"there is no '{sent}' here; did you mean '{meant}'?"


def test_the_same_key_and_content_is_the_same_task_and_other_content_a_conflict(front: Front):
    first = front.submit(key="order-1", payload={"n": 1})
    again = front.ask("POST", "/v1/tasks", {"kind": "echo", "key": "order-1", "payload": {"n": 1}})
    assert (again.status, again.json["id"]) == (200, first["id"])
    other = front.ask("POST", "/v1/tasks", {"kind": "echo", "key": "order-1", "payload": {"n": 2}})
    assert (other.status, other.json["code"], other.json["stored"]) == (409, "key_conflict", "no")
    assert other.json["task"]["id"] == first["id"]


def test_a_preferred_wait_gives_the_ended_task(front: Front):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(front.ask, "POST", "/v1/tasks", {"kind": "echo"}, {"Prefer": "respond-async, wait=20"})
        front.run(front.engine.until_waiters(1))
        front.succeed(1, {"answer": 42})
        answer = asked.result(10)
    assert (answer.status, answer.headers["preference-applied"]) == (200, "wait=20")
    assert (answer.json["state"], answer.json["result"]) == ("succeeded", {"answer": 42})


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=0", "wait=0"), ('wait="1"', "wait=1"), ("wait=x", None), ("waiting=1", None), ("return=minimal", None)],
)
def test_a_wait_that_is_over_gives_the_task_as_it_stands(front: Front, prefer: str, applied: str | None):
    answer = front.ask("POST", "/v1/tasks", {"kind": "echo"}, {"Prefer": prefer})
    assert (answer.status, answer.json["state"]) == (202, "queued")
    assert answer.headers.get("preference-applied") == applied


def test_a_longer_wait_than_allowed_is_cut_and_said(front: Front):
    front.submit(key="k")
    front.succeed(1, None)
    answer = front.ask("POST", "/v1/tasks", {"kind": "echo", "key": "k", "payload": {}}, {"Prefer": "wait=9999"})
    assert (answer.status, answer.headers["preference-applied"]) == (200, "wait=60")


def test_a_client_that_leaves_ends_its_wait(front: Front):
    front.submit()
    gone = threading.Event()

    def ask_and_leave() -> None:
        with socket.create_connection(("127.0.0.1", front.port)) as connection:
            connection.sendall(b"GET /v1/tasks/1?wait=50 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            gone.wait(10)

    leaving = threading.Thread(target=ask_and_leave)
    leaving.start()
    front.run(front.engine.until_waiters(1))
    gone.set()
    leaving.join()
    front.run(front.engine.until_waiters(0))


@pytest.mark.parametrize(
    "path",
    ["/v1/tasks/2", "/v1/tasks/0192e4a0-0000-7000-8000-000000000001", "/v1/tasks/x", "/v1/tasks/" + "9" * 40],
)
def test_a_task_that_is_not_there_is_404_on_every_path_below_it(front: Front, path: str):
    for method, below in [("GET", ""), ("GET", "/result"), ("GET", "/files"), ("GET", "/files/a")]:
        assert front.ask(method, path + below).json["code"] == "not_found"
    for below in ("/cancel", "/retry", "/hold", "/release"):
        assert front.ask("POST", path + below).status == 404


def test_the_etag_is_the_version_and_saves_the_body(front: Front):
    front.submit()
    assert front.ask("GET", "/v1/tasks/1").headers["etag"] == 'W/"1"'
    for tags in ('W/"1"', '"1"', 'W/"7", W/"1"', "*"):
        answer = front.ask("GET", "/v1/tasks/1", If_None_Match=tags)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", 'W/"1"')
    front.change(1, progress=Progress(done=1))
    answer = front.ask("GET", "/v1/tasks/1", If_None_Match='W/"1"')
    assert (answer.status, answer.headers["etag"]) == (200, 'W/"2"')


def test_a_read_may_wait_for_the_next_change(front: Front):
    front.submit()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(front.ask, "GET", "/v1/tasks/1?wait=20", None, {"If-None-Match": 'W/"1"'})
        front.run(front.engine.until_waiters(1))
        front.change(1, state=State.RUNNING)
        answer = asked.result(10)
    assert (answer.status, answer.json["state"]) == (200, "running")
    at_once = front.ask("GET", "/v1/tasks/1?wait=20", If_None_Match='W/"1"')
    assert (at_once.status, at_once.headers["etag"]) == (200, 'W/"2"')
    in_vain = front.ask("GET", "/v1/tasks/1?wait=0.01", If_None_Match='W/"2"')
    assert in_vain.status == 304


@pytest.mark.parametrize("wait", ["61", "-1", "x", "NaN", ""])
def test_a_wait_out_of_bounds_is_refused(front: Front, wait: str):
    front.submit()
    answer = front.ask("GET", f"/v1/tasks/1?wait={wait}")
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/wait")


def test_lists_leave_out_what_is_large_and_lead_on_page_by_page(front: Front):
    for number in range(1, 6):
        front.submit(payload={"large": number})
    front.change(1, state=State.FAILED, error=Error(type="E", message="m", traceback="long"))
    seen: list[int] = []
    path = "/v1/tasks?limit=2"
    while True:
        page = front.ask("GET", path).json
        seen += [task["number"] for task in page["tasks"]]
        for task in page["tasks"]:
            assert not {"payload", "result"} & task.keys()
        if page["next_cursor"] is None:
            break
        path = f"/v1/tasks?limit=2&cursor={page['next_cursor']}"
    assert seen == [5, 4, 3, 2, 1]
    assert page["tasks"][0]["error"] == {"type": "E", "message": "m"}
    assert front.ask("GET", "/v1/tasks/1").json["error"]["traceback"] == "long"


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [3, 2, 1]),
        ("order=number", [1, 2, 3]),
        ("state=queued", [3, 2]),
        ("state=running", [1]),
        ("queue=b", [2]),
        ("key=k%2F1", [3]),
        ("tag=owner:a:b", [2]),
        ("kind=download", [3]),
        ("kind=echo&state=queued", [2]),
        ("limit=1", [3]),
    ],
)
def test_lists_are_filtered(front: Front, query: str, numbers: list[int]):
    front.submit()
    front.change(1, state=State.RUNNING)
    front.submit(queue="b", tags={"owner": "a:b"})
    front.submit(kind="download", key="k/1")
    assert [task["number"] for task in front.ask("GET", f"/v1/tasks?{query}").json["tasks"]] == numbers


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("stat=queued", "/stat", "unknown_field"),
        ("state=lost", "/state", "invalid_value"),
        ("state=queued&state=running", "/state", "repeated_parameter"),
        ("kind=a/b", "/kind", "invalid_value"),
        ("kind=", "/kind", "invalid_value"),
        ("limit=0", "/limit", "invalid_value"),
        ("limit=501", "/limit", "invalid_value"),
        ("limit=ten", "/limit", "invalid_value"),
        ("order=priority", "/order", "invalid_value"),
        ("tag=owner", "/tag", "invalid_value"),
        ("cursor=abc", "/cursor", "bad_cursor"),
        ("cursor=%ff", "", "invalid_text"),
        ("key=%00", "/key", "invalid_text"),
        ("key=" + "x" * 257, "/key", "invalid_value"),
    ],
)
def test_a_wrong_filter_is_refused_by_name(front: Front, query: str, pointer: str, code: str):
    answer = front.ask("GET", f"/v1/tasks?{query}")
    assert answer.status == 422
    assert [(fault["pointer"], fault["code"]) for fault in answer.json["errors"]] == [(pointer, code)]


def test_a_cursor_of_the_other_order_is_refused(front: Front):
    for _ in range(3):
        front.submit()
    cursor = front.ask("GET", "/v1/tasks?limit=1").json["next_cursor"]
    assert front.ask("GET", f"/v1/tasks?order=number&cursor={cursor}").json["code"] == "bad_cursor"


def test_cancelling_a_queued_task_is_done_at_once_and_may_be_said_twice(front: Front):
    front.submit()
    for _ in range(2):
        answer = front.ask("POST", "/v1/tasks/1/cancel", {"reason": "not needed"})
        assert (answer.status, answer.json["state"]) == (200, "cancelled")
    result = front.ask("GET", "/v1/tasks/1/result")
    assert (result.status, result.json["code"], result.json["reason"]) == (409, "task_cancelled", "cancelled")
    assert "not needed" in result.json["detail"]


def test_cancelling_a_running_task_is_accepted(front: Front):
    front.submit()
    front.change(1, state=State.RUNNING)
    answer = front.ask("POST", "/v1/tasks/1/cancel")
    assert (answer.status, answer.json["state"]) == (202, "running")
    assert answer.json["cancel_requested_at"] is not None


def test_an_action_that_does_not_apply_shows_the_task(front: Front):
    front.submit()
    front.succeed(1, 1)
    for action in ("cancel", "hold", "release"):
        answer = front.ask("POST", f"/v1/tasks/1/{action}")
        assert (answer.status, answer.json["code"]) == (409, "conflict")
        assert (answer.json["task"]["number"], answer.json["task"]["state"]) == (1, "succeeded")
    assert front.ask("POST", "/v1/tasks/1/retry", {}).json["state"] == "queued"
    assert front.ask("POST", "/v1/tasks/1/retry").status == 409


def test_holding_and_releasing_shows_in_why_it_waits(front: Front):
    front.submit()
    assert front.ask("POST", "/v1/tasks/1/hold").json["waiting"] == "hold"
    assert front.ask("POST", "/v1/tasks/1/release").json["waiting"] == "slot"


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("cancel", {"why": "x"}, "/why"),
        ("cancel", {"reason": "a\nb"}, "/reason"),
        ("cancel", {"grace_s": -1}, "/grace_s"),
        ("cancel", [], ""),
        ("retry", {"state": "queued"}, "/state"),
        ("hold", {"x": 1}, "/x"),
        ("release", 1, ""),
    ],
)
def test_what_an_action_does_not_know_is_refused(front: Front, action: str, body: Any, pointer: str):
    front.submit()
    answer = front.ask("POST", f"/v1/tasks/1/{action}", body)
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, pointer)
    assert front.engine.tasks[1].version == 1


@pytest.mark.parametrize("result", [None, 0, "text", [1, {"a": None}], {"rows": 31_000}])
def test_the_result_is_what_the_handler_returned(front: Front, result: Any):
    front.submit()
    front.succeed(1, result)
    answer = front.ask("GET", "/v1/tasks/1/result")
    assert (answer.status, answer.headers["content-type"], answer.json) == (200, "application/json", result)


def test_the_result_of_an_unended_task_is_to_be_asked_for_again(front: Front):
    front.submit(delay=30)
    answer = front.ask("GET", "/v1/tasks/1/result")
    assert (answer.status, answer.json["number"]) == (202, 1)
    assert 25 <= int(answer.headers["retry-after"]) <= 30
    front.submit(delay="10d")
    assert front.ask("GET", "/v1/tasks/2/result").headers["retry-after"] == "60"


def test_the_result_of_a_failed_task_says_why_there_is_none(front: Front):
    front.submit()
    front.change(1, state=State.FAILED, reason=Reason.EXHAUSTED, error=Error(type="E", message="HTTP 404"))
    answer = front.ask("GET", "/v1/tasks/1/result")
    assert (answer.status, answer.json["code"], answer.json["reason"]) == (409, "task_failed", "exhausted")
    assert "HTTP 404" in answer.json["detail"]
    assert answer.json["task"]["error"]["message"] == "HTTP 404"
