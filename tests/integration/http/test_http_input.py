"""Bodies at the door: what kind, how large, how slow; and that errors have one form."""

from __future__ import annotations

import http.client
import socket
import time
from contextlib import suppress
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from http_front import BODY_BYTES, Answer, Front
from structlog.testing import capture_logs

from windlass.errors import NotReadyError, SaturatedError, StoreFull, StoreUnavailable
from windlass.http.routes import ROUTES
from windlass.wire.problems import MEDIA_TYPE

_POST = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
TASK = b'{"kind":"echo"}'


def _is_problem(answer: Answer) -> Any:
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = answer.json
    assert problem["status"] == answer.status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert {"type", "title", "detail", "code"} <= problem.keys()
    return problem


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_json"),
        (b"kind=echo", 400, "invalid_json"),
        (b"\xef\xbb\xbf" + TASK, 400, "invalid_json"),
        ('{"kind":"echo"}'.encode("utf-16"), 400, "invalid_json"),
        (TASK + b"x", 400, "invalid_json"),
        (b'{"kind":"\xff"}', 400, "invalid_json"),
        (b'{"kind":"echo","payload":{"a":NaN}}', 400, "non_finite_number"),
        (b'{"kind":"echo","payload":{"a":1e999}}', 400, "non_finite_number"),
        (b'{"kind":"echo","kind":"echo"}', 400, "duplicate_key"),
        (b'{"kind":"echo","payload":{"a":1,"a":2}}', 400, "duplicate_key"),
        (b'{"kind":"echo","payload":{"a":9223372036854775808}}', 422, "number_out_of_range"),
        (b'{"kind":"echo","payload":{"a":"\\u0000"}}', 422, "invalid_text"),
        (b'{"kind":"echo","payload":{"a":' + b"[" * 63 + b"]" * 63 + b"}}", 422, "too_deep"),
        (b"[" * 60_000, 422, "too_deep"),
    ],
)
def test_what_is_not_strict_json_is_refused(front: Front, body: bytes, status: int, code: str):
    answer = front.ask("POST", "/v1/tasks", body, Content_Type="application/json")
    problem = _is_problem(answer)
    assert (answer.status, problem["code"], problem["stored"]) == (status, code, "no")
    assert front.engine.tasks == {}


def test_names_that_mean_something_elsewhere_are_plain_data(front: Front):
    payload = {"__proto__": {"x": 1}, "constructor": 1, "__class__": "a", "toString": None}
    assert front.submit(payload=payload)["payload"] == payload


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 202),
        ({"Content-Type": "Application/JSON; charset=UTF-8"}, 202),
        ({"Content-Type": 'application/json;charset="utf-8"'}, 202),
        ({"Content-Type": "application/json", "Content-Encoding": "identity"}, 202),
        ({}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "application/json-patch+json"}, 415),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
def test_only_plain_json_in_utf8_is_taken(front: Front, headers: dict[str, str], status: int):
    assert front.ask("POST", "/v1/tasks", TASK, headers).status == status


@pytest.mark.parametrize("action", ["cancel", "retry", "hold", "release"])
def test_a_body_that_may_be_left_out_is_json_where_there_is_one(front: Front, action: str):
    front.submit()
    assert front.ask("POST", f"/v1/tasks/1/{action}", b"{}", Content_Type="text/plain").status == 415
    assert front.ask("POST", f"/v1/tasks/1/{action}", b"{}").status == 415
    assert front.ask("POST", f"/v1/tasks/1/{action}", b"{", Content_Type="application/json").status == 400
    assert front.engine.tasks[1].version == 1


def test_a_body_is_counted_by_what_it_says_of_itself_before_it_is_read(front: Front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        connection.sendall(_POST + b"Content-Length: 1000000000000000\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, msgspec.json.decode(response.read())["code"]) == (413, "body_too_large")


def test_who_sends_too_much_gets_to_read_that_it_is_too_much(front: Front):
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=15)
    for _ in range(2):
        connection.request("POST", "/v1/tasks", b" " * 8_000_000, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, msgspec.json.decode(response.read())["code"]) == (413, "body_too_large")
    connection.request("GET", "/healthz")
    assert connection.getresponse().read() == b"OK"
    connection.close()


@pytest.mark.parametrize("bound", ["LINGER_BYTES", "BODY_RECEIPT_S"])
def test_what_is_thrown_away_is_bounded_too(front: Front, monkeypatch: pytest.MonkeyPatch, bound: str):
    monkeypatch.setattr(f"windlass.http.protocol.{bound}", 0.05)
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        connection.sendall(_POST + b"Content-Length: 1000000000000000\r\n\r\n")
        with suppress(ConnectionError):
            received = connection.recv(65536)
            connection.sendall(b" ")
            while chunk := connection.recv(65536):
                received += chunk
    assert received.count(b"HTTP/1.1 ") == received.count(b"HTTP/1.1 413 ") == 1


def test_a_body_is_counted_by_its_bytes_where_it_says_nothing(front: Front):
    head = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        connection.sendall(head + chunk * 5)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(("size", "status"), [(BODY_BYTES, 202), (BODY_BYTES + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_limit_is_exact(front: Front, size: int, status: int, chunked: bool):
    body = TASK + b" " * (size - len(TASK))
    headers = b"Host: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    if chunked:
        parts = [body[start : start + 10_000] for start in range(0, size, 10_000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        headers += b"Transfer-Encoding: chunked\r\n\r\n"
    else:
        headers += b"Content-Length: %d\r\n\r\n" % size
    received = front.raw(b"POST /v1/tasks HTTP/1.1\r\n" + headers + body)
    assert received.startswith(b"HTTP/1.1 %d " % status)


def test_a_body_that_does_not_come_is_given_up(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.protocol.BODY_RECEIPT_S", 0.05)
    received = front.raw(_POST + b"Content-Length: 9\r\n\r\n{")
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in received


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: lo"])
def test_headers_that_do_not_come_are_given_up(front: Front, monkeypatch: pytest.MonkeyPatch, sent: bytes):
    monkeypatch.setattr("windlass.http.protocol.HEAD_RECEIPT_S", 0.05)
    received = front.raw(sent)
    assert received.startswith(b"HTTP/1.1 408 ")


_GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (_GET + b"X-A: " + b"x" * 8_100 + b"\r\n\r\n", 200),
        (_GET + b"X-A: " + b"x" * 8_300 + b"\r\n\r\n", 431),
        (_GET + (b"X-A: " + b"x" * 7_000 + b"\r\n") * 4 + b"\r\n", 200),
        (_GET + (b"X-A: " + b"x" * 7_000 + b"\r\n") * 5 + b"\r\n", 431),
        (_GET + b"X-A: 1\r\n" * 98 + b"\r\n", 200),
        (_GET + b"X-A: 1\r\n" * 99 + b"\r\n", 431),
        (b"GET /healthz?" + b"x" * 8_000 + _GET[12:] + b"\r\n", 200),
        (b"GET /healthz?" + b"x" * 9_000 + _GET[12:] + b"\r\n", 414),
        (_GET + b"X-A: " + b"x" * 45_000, 431),
    ],
)
def test_requests_have_bounds(front: Front, sent: bytes, status: int):
    received = front.raw(sent)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert status == 200 or b"content-type: application/problem+json" in received


def test_a_head_that_comes_in_pieces_is_counted_once(front: Front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        for piece in (_GET, *[b"X-A: " + b"x" * 7_000 + b"\r\n"] * 4, b"\r\n"):
            connection.sendall(piece)
            time.sleep(0.01)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("breakage", "status", "code", "retry_after", "stored"),
    [
        (SaturatedError("20,000 writes wait", retry_after_s=1.5), 503, "saturated", "2", "no"),
        (NotReadyError("the app has not said hello yet", retry_after_s=3), 503, "starting", "3", "no"),
        (StoreUnavailable("the store does not answer"), 503, "store_unavailable", "5", "no"),
        (StoreFull("no space is left"), 507, "storage_full", "5", "no"),
    ],
)
def test_what_the_engine_refuses_is_told_with_when_to_come_again(
    front: Front, breakage: Exception, status: int, code: str, retry_after: str, stored: str
):
    front.engine.breakage = breakage
    answer = front.ask("POST", "/v1/tasks", {"kind": "echo"})
    problem = _is_problem(answer)
    assert (answer.status, problem["code"], problem["stored"]) == (status, code, stored)
    assert (answer.headers["retry-after"], problem["detail"]) == (retry_after, str(breakage))


def test_what_nobody_expected_is_500_with_an_id_that_the_log_has_too(front: Front):
    front.engine.breakage = RuntimeError("secret: /srv/data")
    with capture_logs() as lines:
        answer = front.ask("POST", "/v1/tasks", {"kind": "echo"})
    problem = _is_problem(answer)
    assert (answer.status, problem["code"], problem["stored"]) == (500, "internal", "unknown")
    assert b"secret" not in answer.body
    [line] = lines
    assert (line["event"], line["request_id"], line["path"]) == ("request.failed", problem["request_id"], "/v1/tasks")
    assert line["exc_info"] is front.engine.breakage
    assert "stored" not in front.ask("GET", "/v1/tasks/1").json


def test_every_error_has_the_one_form_that_is_documented(front: Front):
    document = front.ask("GET", "/openapi.json").json
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    front.submit()
    front.succeed(1, None)
    refused = [
        front.ask("GET", "/nothing"),
        front.ask("PUT", "/v1/tasks"),
        front.ask("POST", "/v1/tasks", {"kind": 1}),
        front.ask("POST", "/v1/tasks", b"{", Content_Type="application/json"),
        front.ask("POST", "/v1/tasks", TASK),
        front.ask("POST", "/v1/tasks/1/cancel"),
        front.ask("GET", "/v1/tasks/99"),
        front.ask("GET", "/v1/tasks", Host="evil.example"),
        front.ask("POST", "/v1/tasks/1/cancel", Origin="http://evil.example"),
    ]
    assert [answer.status for answer in refused] == [404, 405, 422, 400, 415, 409, 404, 421, 403]
    for answer in refused:
        validator.validate(_is_problem(answer))


def test_every_body_and_query_that_is_declared_is_what_the_handler_reads(front: Front):
    front.submit()
    for route in (route for route in ROUTES if route.dialect is None):  # their clients may say what they like
        path = route.path.replace("{id}", "1").replace("{name:path}", "a")
        if route.request is not None:
            answer = front.ask(route.method, path, {"nobody_knows": 1})
            assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/nobody_knows"), route.path
        if route.query is not None and route.method == "GET":
            answer = front.ask(route.method, f"{path}?nobody_knows=1")
            assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/nobody_knows"), route.path


def test_request_ids_never_repeat(front: Front):
    ids = {front.ask("GET", "/healthz").headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20
