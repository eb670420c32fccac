"""Pages of other origins: which may call what, and what a browser is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from http_front import Answer, Front

from windlass.config.dialects import Dialects

APP = "https://app.example.org"
PAGE = "http://localhost:3000"
STRANGERS = [
    "https://evil.example",
    "null",
    "",
    "file://",
    "http://localhost.evil.example:3000",
    "http://localhost:3000.evil.example",
    "http://127.0.0.1.evil.example",
    "https://app.example.org.evil.example",
    "https://app.example.org:444",
    "http://app.example.org",
    "ftp://localhost",
    "http://localhost:3000/",
    "http://localhost:3000, https://evil.example",
]
TASK = {"urls": ["http://example.org/a.iso"]}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Front]:
    """A server that a page elsewhere may call."""
    front = Front(tmp_path, app={"cors_origins": [APP]})
    yield front
    front.close()


def said(answer: Answer) -> dict[str, str]:
    """Give what a browser is told."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def is_let_in(answer: Answer, origin: str) -> bool:
    assert answer.headers["vary"] == "origin"
    assert "access-control-allow-credentials" not in answer.headers
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed in (None, origin)
    return allowed is not None


@pytest.mark.parametrize(
    "origin",
    [
        PAGE,
        "http://127.0.0.1:5500",
        "http://127.8.8.8",
        "http://[::1]:3000",
        "https://localhost",
        "http://app.localhost:1",
        "HTTP://LOCALHOST:3000",
    ],
)
def test_a_page_of_this_machine_may_call_the_dialects(front: Front, origin: str):
    asked = front.ask("OPTIONS", "/tasks", Origin=origin, Access_Control_Request_Method="POST")
    assert (asked.status, asked.body, asked.headers["allow"]) == (204, b"", "OPTIONS, POST")
    assert is_let_in(asked, origin)
    assert "POST" in asked.headers["access-control-allow-methods"].split(", ")
    assert "Content-Type" in asked.headers["access-control-allow-headers"].split(", ")
    assert int(asked.headers["access-control-max-age"]) > 0
    made = front.ask("POST", "/tasks", TASK, Origin=origin)
    assert (made.status, is_let_in(made, origin)) == (202, True)
    shown = front.ask("GET", f"/tasks/{made.json['task_id']}", Origin=origin)
    assert (shown.status, is_let_in(shown, origin)) == (200, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/tasks", 400),
        ("GET", "/tasks/nothing", 404),
        ("GET", "/tasks", 405),
        ("GET", "/task/nothing/status/", 400),
        ("GET", "/api/task", 200),
        ("GET", "/api/task/task/", 200),
    ],
)
def test_a_page_that_is_let_in_can_read_errors_and_lists_too(front: Front, method: str, path: str, status: int):
    answer = front.ask(method, path, b"{" if method == "POST" else None, Origin=PAGE)
    assert (answer.status, is_let_in(answer, PAGE)) == (status, True)
    assert "Retry-After" in answer.headers["access-control-expose-headers"]


def test_pages_of_this_machine_may_not_call_the_native_api(front: Front):
    front.submit()
    for method, path in (("OPTIONS", "/v1/tasks"), ("GET", "/v1/tasks"), ("GET", "/healthz"), ("GET", "/v1/nothing")):
        answer = front.ask(method, path, Origin=PAGE, Access_Control_Request_Method="POST")
        assert not is_let_in(answer, PAGE)
        assert said(answer) == {}
    refused = front.ask("POST", "/v1/tasks", {"kind": "echo"}, Origin=PAGE)
    assert (refused.status, refused.json["code"]) == (403, "bad_origin")
    assert "WINDLASS_CORS_ORIGINS" in refused.json["detail"]
    assert len(front.engine.tasks) == 1


@pytest.mark.parametrize("path", ["/tasks", "/v1/tasks", "/v1/nothing"])
@pytest.mark.parametrize("origin", STRANGERS)
def test_a_page_elsewhere_changes_nothing_and_reads_nothing(door: Front, path: str, origin: str):
    refused = door.ask("POST", path, TASK, Origin=origin)
    assert refused.status == 403
    assert not is_let_in(refused, origin)
    asked = door.ask("OPTIONS", path, Origin=origin, Access_Control_Request_Method="POST")
    assert said(asked) == {}
    assert said(door.ask("GET", "/task", Origin=origin)) == {}
    assert door.engine.tasks == {}


def test_a_page_is_refused_before_its_body_is_read(front: Front):
    received = front.raw(
        b"POST /tasks HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nConnection: close\r\n"
        b"Content-Length: 100\r\n\r\n"  # and nothing of it comes
    )
    assert received.startswith(b"HTTP/1.1 403 ")
    assert b'{"error":"a page of another origin may change nothing here' in received


def test_two_origins_are_none(front: Front):
    received = front.raw(
        b"POST /task HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"Origin: http://localhost:1\r\nOrigin: http://localhost:2\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("path", ["/v1/tasks", "/tasks"])
def test_a_page_that_is_configured_may_call_everything(door: Front, path: str):
    asked = door.ask("OPTIONS", path, Origin=APP, Access_Control_Request_Method="POST")
    assert is_let_in(asked, APP)
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    body = TASK if path == "/tasks" else {"kind": "echo"}
    made = door.ask("POST", path, body, Origin=APP)
    assert (made.status, is_let_in(made, APP)) == (202, True)
    refused = door.ask("POST", path, b"{", Origin=APP)
    assert (refused.status, is_let_in(refused, APP)) == (400 if path == "/tasks" else 415, True)


def test_a_page_that_is_let_in_needs_a_key_where_everybody_does(door: Front):
    door.make_key("admin")
    answer = door.ask("GET", "/v1/tasks", Origin=APP)
    assert (answer.status, is_let_in(answer, APP)) == (401, True)


def test_a_page_of_the_server_itself_and_a_program_are_told_nothing_of_it(front: Front):
    own = front.ask("POST", "/tasks", TASK, Host="localhost:8080", Origin="http://localhost:8080")
    assert (own.status, said(own)) == (202, {})
    program = front.ask("POST", "/tasks", TASK)
    assert (program.status, said(program), "vary" in program.headers) == (202, {}, False)


def test_a_dialect_that_is_not_served_lets_nobody_in(tmp_path: Path):
    front = Front(tmp_path, app={"dialects": Dialects(enabled=["enqueue"])})
    try:
        assert front.ask("POST", "/tasks", TASK).status == 404
        assert front.ask("POST", "/tasks", TASK, Origin=PAGE).status == 403
        assert front.ask("POST", "/enqueue", {"id": "a"}, Origin=PAGE).status == 202
    finally:
        front.close()


def test_a_request_by_a_wrong_name_is_answered_in_the_form_of_the_dialect(front: Front):
    answer = front.ask("GET", "/task", Host="evil.example")
    assert answer.status == 421
    assert list(answer.json) == ["error"]
