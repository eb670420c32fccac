"""What clients of dialects may send, and how they are told what went wrong: loosely read, in a sentence."""

from __future__ import annotations

import pytest
from http_front import BODY_BYTES, Front

from windlass.errors import NotReadyError, SaturatedError, StoreError, StoreFull

ID = "01a1fb1e-ac96-77fd-b9c1-f31b812f7900"
OF_ONE = [
    ("workmate", "GET", f"/task/{ID}/status"),
    ("workmate", "GET", f"/task/{ID}/result"),
    ("workmate", "DELETE", f"/task/{ID}"),
    ("check_result", "GET", f"/task/check-result?task_id={ID}"),
    ("downloads", "GET", f"/tasks/{ID}"),
    ("tasktrack", "GET", "/api/task/1"),
    ("tasktrack", "PATCH", "/api/task/1"),
    ("tasktrack", "DELETE", "/api/task/task/1"),
]
MADE = [
    ("POST", "/tasks", {"urls": ["http://example.org/a"]}, 202),
    ("POST", "/task/create", {"task": "count"}, 201),
    ("POST", "/api/task", {"name": "report"}, 201),
    ("POST", "/enqueue", {"id": "a"}, 202),
    ("POST", "/task", {}, 201),
]


@pytest.mark.parametrize(("origin", "method", "path"), OF_ONE)
def test_a_task_is_found_by_its_own_dialect_until_it_is_deleted_there(
    front: Front, origin: str, method: str, path: str
):
    body = b'{"name": "x"}' if method == "PATCH" else None
    assert front.ask(method, path, body).status == 404
    task = front.take(origin, ID)
    assert front.ask(method, path, body).status in (200, 202, 204)
    front.change(task.number, is_hidden=True)
    gone = front.ask(method, path, body)
    assert (gone.status, gone.json["error"].lower()) == (404, "task not found")
    front.change(task.number, is_hidden=False, origin="another")
    assert front.ask(method, path, body).status == 404
    front.change(task.number, origin=None)
    assert front.ask(method, path, body).status == 404


@pytest.mark.parametrize(("method", "path", "body", "status"), MADE)
@pytest.mark.parametrize(
    "media", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"]
)
def test_neither_content_types_nor_fields_that_nobody_knows_matter(
    front: Front, method: str, path: str, body: dict[str, object], status: int, media: str | None
):
    besides = {f"field_{number}": number for number in range(50)}
    headers = {} if media is None else {"Content-Type": media}
    answer = front.ask(method, f"{path}/?nobody=knows", {**besides, **body}, headers)
    assert answer.status == status, answer
    assert len(front.engine.tasks) == 1


def test_what_is_wrong_is_named_however_much_else_is_said(front: Front):
    besides = {f"field_{number}": number for number in range(50)}
    answer = front.ask("POST", "/enqueue", {**besides, "id": 7, "max_retries": -1})
    assert answer.status == 400
    assert answer.json["error"].startswith("id: must be a string, not an integer; max_retries: must be")
    assert "field_" not in answer.json["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"{}{}",
        b'{"id": "a", "id": "b"}',
        b'{"id": "\\u0000"}',
        b'{"id": NaN}',
        b"\xff",
    ],
)
@pytest.mark.parametrize("path", ["/tasks", "/task/create", "/api/task", "/enqueue"])
def test_a_body_that_is_no_object_is_refused_with_a_sentence(front: Front, path: str, body: bytes):
    answer = front.ask("POST", path, body)
    assert (answer.status, list(answer.json)) == (400, ["error"])
    assert answer.json["error"]
    assert front.engine.tasks == {}


def test_a_body_that_is_too_large_is_refused_before_it_is_read(front: Front):
    answer = front.ask("POST", "/tasks", b" " * (BODY_BYTES + 1))
    assert (answer.status, list(answer.json)) == (413, ["error"])


@pytest.mark.parametrize(
    ("breakage", "status", "after"),
    [
        (SaturatedError("the queue is full", code="queue_full", retry_after_s=2.1), 503, "3"),
        (NotReadyError("not every app has said hello yet", retry_after_s=1.0), 503, "1"),
        (StoreFull("the disk is full"), 507, "5"),
        (StoreError("secret"), 500, None),
        (RuntimeError("secret"), 500, None),
    ],
)
@pytest.mark.parametrize(("method", "path", "body"), [asked[:3] for asked in MADE])
def test_what_the_server_cannot_do_is_told_in_the_same_form(
    front: Front, method: str, path: str, body: object, breakage: Exception, status: int, after: str | None
):
    front.engine.breakage = breakage
    answer = front.ask(method, path, body)
    assert (answer.status, list(answer.json), answer.headers.get("retry-after")) == (status, ["error"], after)
    assert "secret" not in answer.json["error"]
    assert answer.headers["content-type"] == "application/json"


def test_labels_that_are_no_text_for_people_are_refused(front: Front):
    for body in ({"name": "two\nlines"}, {"name": "x" * 201}, {"name": "x", "description": "\u001b[31m"}):
        assert front.ask("POST", "/api/task", body).status == 400
    front.take("tasktrack", ID)
    assert front.ask("PATCH", "/api/task/1", {"name": "two\nlines"}).status == 400
    assert front.ask("PATCH", "/api/task/1", {"description": "two\nlines"}).status == 200
    assert front.engine.tasks[1].description == "two\nlines"
    assert front.engine.tasks[1].name == "report"
