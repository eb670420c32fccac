"""The front door as one table: what comes in that must not, and what is answered, on a real server over raw sockets.

After every refusal the same server answers `/healthz`, on the same connection unless that was to be closed, and has
stored nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from live import LiveServer, running

from windlass.core import limits
from windlass.http import protocol

APP = """
import windlass

app = windlass.App(version="1")

@app.task()
def leave(*, ctx: windlass.Context) -> None:
    (ctx.directory / "a.bin").write_bytes(bytes(range(256)) * 40)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server with one task, number 1, that has left a file."""
    directory = tmp_path_factory.mktemp("door")
    (directory / "door_tasks.py").write_text(APP)
    with running(directory, "door_tasks:app") as server:
        assert server.wait(server.submit("leave"))["state"] == "succeeded"
        yield server


class Row(NamedTuple):
    """What is sent, and what is answered. `closes`: the connection ends with it."""

    name: str
    sent: bytes
    status: int
    code: str
    closes: bool = False


def head(*lines: str, target: str = "/v1/tasks", method: str = "POST") -> bytes:
    """Spell the head of a request."""
    return "".join(f"{line}\r\n" for line in (f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "")).encode(
        "latin-1"
    )


def get(target: str, *lines: str, method: str = "GET") -> bytes:
    return head(*lines, target=target, method=method)


JSON = "Content-Type: application/json"
FILE = "/v1/tasks/1/files/a.bin"
GOOD = b'{"kind":"simulate"}'


def post(body: bytes, *lines: str, media: str = JSON) -> bytes:
    """Spell a submit."""
    return head(media, f"Content-Length: {len(body)}", *lines) + body


def submit(**fields: Any) -> bytes:
    """Spell a submit that is sound but for `fields`."""
    return post(json.dumps({"kind": "simulate", **fields}).encode())


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return head(JSON, "Transfer-Encoding: chunked") + b"".join(chunks) + end


def chunk(body: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(body), extension, body)


def nested(depth: int) -> bytes:
    return b'{"kind":"simulate","payload":{"a":' + b"[" * depth + b"]" * depth + b"}}"


def valued(text: bytes) -> bytes:
    """Spell a submit whose payload holds `text` as a value."""
    return post(b'{"kind":"simulate","payload":{"a":' + text + b"}}")


NO_JSON = [
    Row("S01 no JSON", post(b"hello"), 400, "invalid_json"),
    Row("S01 empty", post(b""), 400, "invalid_json"),
    Row("S01 spaces", post(b" \r\n\t"), 400, "invalid_json"),
    Row("S01 byte order mark", post(b"\xef\xbb\xbf" + GOOD), 400, "invalid_json"),
    Row("S01 UTF-16", post(GOOD.decode().encode("utf-16")), 400, "invalid_json"),
    Row("S01 invalid UTF-8", post(b'{"kind":"\xff"}'), 400, "invalid_json"),
    Row("S01 over-long UTF-8", post(b'{"kind":"\xc0\xaf"}'), 400, "invalid_json"),
    Row("S01 trailing data", post(GOOD + b"{}"), 400, "invalid_json"),
    Row("S01 trailing comma", post(b'{"kind":"simulate",}'), 400, "invalid_json"),
    Row("S01 cut off", post(GOOD[:-1]), 400, "invalid_json"),
]
CONTENT = [
    Row("S02 NaN", valued(b"NaN"), 400, "non_finite_number"),
    Row("S02 Infinity", valued(b"Infinity"), 400, "non_finite_number"),
    Row("S02 1e999", valued(b"1e999"), 400, "non_finite_number"),
    Row("S02 -1e400", valued(b"-1e400"), 400, "non_finite_number"),
    Row("S03 a key twice", post(b'{"kind":"simulate","kind":"simulate"}'), 400, "duplicate_key"),
    Row("S03 a key twice, escaped", post(b'{"kind":"simulate","\\u006bind":"x"}'), 400, "duplicate_key"),
    Row("S03 a key twice, deep", valued(b'[{"a":1,"a":2}]'), 400, "duplicate_key"),
    Row("S04 too deep by one", post(nested(limits.JSON_DEPTH - 1)), 422, "too_deep"),
    Row("S04 100,000 deep", post(nested(100_000)), 422, "too_deep"),
    Row("S04 500,000 deep", post(nested(500_000)), 422, "too_deep"),
    Row("S04 deep without an end", post(b"[" * 1_000_000), 422, "too_deep"),
    Row("S05 2^63", valued(b"9223372036854775808"), 422, "number_out_of_range"),
    Row("S05 below -2^63", valued(b"-9223372036854775809"), 422, "number_out_of_range"),
    Row("S05 5,000 digits", valued(b"7" * 5_000), 422, "number_out_of_range"),
    Row("S05 1,000,000 digits", valued(b"7" * 1_000_000), 422, "number_out_of_range"),
    Row("S06 lone surrogate", valued(b'"\\ud800"'), 422, "invalid_text"),
    Row("S06 lone surrogate in a key", valued(b'{"\\udfff":1}'), 422, "invalid_text"),
    Row("S06 NUL", valued(b'"\\u0000"'), 422, "invalid_text"),
    Row("S06 control in a name", submit(name="a\x1b[31m"), 422, "invalid_text"),
    Row("S06 line end in a key", submit(key="a\r\nb"), 422, "invalid_text"),
    Row("S06 control in a tag", submit(tags={"a": "b\x07"}), 422, "invalid_text"),
    Row("S06 look-alike queue", submit(queue="cafe\u0301"), 422, "invalid_value"),
    Row("S06 control in a queue", submit(queue="a\x01"), 422, "invalid_value"),
    Row("keys per object", valued(json.dumps({str(n): 1 for n in range(1_001)}).encode()), 422, "too_many_keys"),
    Row("nodes", valued(b"[" + b"1," * 100_000 + b"1]"), 422, "too_many_values"),
    Row("string", valued(b'"' + b"x" * (256 * 1024 + 1) + b'"'), 422, "string_too_long"),
    Row("S09 state", submit(state="succeeded"), 422, "unknown_field"),
    Row("S09 attempt", submit(attempt=7), 422, "unknown_field"),
    Row("S09 token", submit(token="x"), 422, "unknown_field"),
    Row("S09 owner", submit(owner="root"), 422, "unknown_field"),
    Row("S09 id", submit(id="0192e4a0-0000-7000-8000-000000000001"), 422, "unknown_field"),
    Row("S09 origin", submit(origin="downloads"), 422, "unknown_field"),
    Row("S10 unknown kind", submit(kind="simulat"), 422, "unknown_kind"),
    Row("S10 dotted path", submit(kind="os.system"), 422, "unknown_kind"),
    Row("S10 dunder path", submit(kind="builtins.__import__"), 422, "unknown_kind"),
    Row("S10 slash", submit(kind="../simulate"), 422, "unknown_kind"),
    Row("S10 not ASCII", submit(kind="s\u0131mulate"), 422, "unknown_kind"),
]
MEDIA = [
    Row("S08 no Content-Type", head("Content-Length: 19") + GOOD, 415, "unsupported_media_type"),
    Row("S08 text", post(GOOD, media="Content-Type: text/plain"), 415, "unsupported_media_type"),
    Row("S08 form", post(GOOD, media="Content-Type: multipart/form-data; boundary=x"), 415, "unsupported_media_type"),
    Row("S08 Latin-1", post(GOOD, media=JSON + "; charset=iso-8859-1"), 415, "unsupported_media_type"),
    Row("S08 gzip", post(GOOD, "Content-Encoding: gzip"), 415, "unsupported_media_type"),
    Row("S08 gzip hidden", post(GOOD, "Content-Encoding: identity, gzip"), 415, "unsupported_media_type"),
]
_TE = "Transfer-Encoding: chunked"
_TWO = chunk(GOOD) + b"0\r\n\r\n"
FRAMING = [
    Row(f"S11 {name}", sent, 400, "bad_request", closes=True)
    for name, sent in {
        "both lengths": head(JSON, _TE, "Content-Length: 19") + _TWO,
        "both lengths, the other way": head(JSON, "Content-Length: 19", _TE) + _TWO,
        "two lengths": head(JSON, "Content-Length: 19", "Content-Length: 20") + GOOD,
        "the same length twice": head(JSON, "Content-Length: 19", "Content-Length: 19") + GOOD,
        "a list of lengths": head(JSON, "Content-Length: 19, 19") + GOOD,
        "+19": head(JSON, "Content-Length: +19") + GOOD,
        "-19": head(JSON, "Content-Length: -19") + GOOD,
        "0x13": head(JSON, "Content-Length: 0x13") + GOOD,
        "1 9": head(JSON, "Content-Length: 1 9") + GOOD,
        "19.0": head(JSON, "Content-Length: 19.0") + GOOD,
        "no length": head(JSON, "Content-Length:") + GOOD,
        "2^64 + 19": head(JSON, "Content-Length: 18446744073709551635") + GOOD,
        "folded header": head(JSON, "X: a\r\n b", "Content-Length: 19") + GOOD,
        "folded first": head(" X: a", JSON, "Content-Length: 19") + GOOD,
        "bare LF": post(GOOD).replace(b"\r\n", b"\n"),
        "one bare LF": post(GOOD).replace(b"localhost\r\n", b"localhost\n"),
        "bare CR": post(GOOD, "X: a\rb"),
        "NUL in a header": post(GOOD, "X: a\0b"),
        "control in a header": post(GOOD, "X: a\x01b"),
        "space before colon": head(JSON, "Content-Length : 19") + GOOD,
        "tab before colon": head(JSON, "Content-Length\t: 19") + GOOD,
        "space in a name": post(GOOD, "X Y: a"),
        "empty name": post(GOOD, ": a"),
        "no colon": post(GOOD, "Xa"),
        "chunked not last": head(JSON, "Transfer-Encoding: chunked, identity") + _TWO,
        "chunked twice": head(JSON, "Transfer-Encoding: chunked, chunked") + _TWO,
        "unknown coding": head(JSON, "Transfer-Encoding: xchunked") + _TWO,
        "gzip coding": head(JSON, "Transfer-Encoding: gzip") + GOOD,
        "chunked, disguised": head(JSON, "Transfer-Encoding: \x0bchunked") + _TWO,
        "chunked by HTTP/1.0": (head(JSON, _TE) + _TWO).replace(b"HTTP/1.1", b"HTTP/1.0"),
        "extension of 1 MB": chunked(chunk(GOOD, b";x=" + b"y" * 1_000_000)),
        "extensions everywhere": chunked(*(chunk(b" ", b";" + b"y" * 100) for _ in range(5_000)), chunk(GOOD)),
        "size of 1 MB": chunked(b"0" * 1_000_000 + chunk(GOOD)),
        "trailer": chunked(chunk(GOOD), end=b"0\r\nX: a\r\n\r\n"),
        "trailer with a length": chunked(chunk(GOOD), end=b"0\r\nContent-Length: 7\r\n\r\n"),
        "10,001 chunks": chunked(*[chunk(b" ")] * 10_001, chunk(GOOD)),
        "chunk size 0x": chunked(b"0x13\r\n" + GOOD + b"\r\n"),
        "chunk size +": chunked(b"+13\r\n" + GOOD + b"\r\n"),
        "chunk size -": chunked(b"-1\r\n" + GOOD + b"\r\n"),
        "chunk size of 2^64": chunked(b"10000000000000013\r\n" + GOOD + b"\r\n"),
        "chunk size, then LF": chunked(b"13\n" + GOOD + b"\r\n"),
        "chunk longer than it says": chunked(b"12\r\n" + GOOD + b"\r\n"),
    }.items()
]
TARGETS = [
    Row("S12 whole URL", get("http://localhost/v1/tasks"), 400, "bad_request", closes=True),
    Row("S12 star", get("*", method="OPTIONS"), 400, "bad_request", closes=True),
    Row("S12 no slash", get("v1/tasks"), 400, "bad_request", closes=True),
    Row("S12 space in it", get("/v1/tasks /x"), 400, "bad_request", closes=True),
    Row("S12 not ASCII", get("/v1/t\xe4sks"), 400, "bad_request", closes=True),
    Row("S12 fragment", get("/v1/tasks#x"), 400, "bad_request", closes=True),
    Row("S12 two slashes", get("//v1/tasks"), 404, "not_found"),
    Row("S12 two slashes, a host", get("//localhost/v1/tasks"), 404, "not_found"),
    Row("S12 dots", get("/v1/tasks/../tasks"), 404, "not_found"),
    Row("S12 dots, encoded", get("/%2e%2e/etc/passwd"), 404, "not_found"),
    Row("S12 dots, encoded twice", get("/%252e%252e/etc/passwd"), 404, "not_found"),
    Row("S12 dots in a file's name", get("/v1/tasks/1/files/..%2f..%2fwindlass.db"), 404, "not_found"),
    Row("S12 NUL", get("/v1/tasks%00"), 404, "not_found"),
    Row("S12 line end", get("/v1/tasks%0d%0aX:y"), 404, "not_found"),
    Row("S12 over-long UTF-8", get("/v1%c0%aftasks"), 404, "not_found"),
    Row("S12 parameters", get("/v1/tasks;x=1"), 404, "not_found"),
    Row("S12 backslash", get("/v1\\tasks"), 404, "not_found"),
    Row("S12 another case", get("/V1/Tasks"), 404, "not_found"),
    Row("S12 HTTP/0.9", b"GET /v1/tasks\r\n\r\n", 400, "bad_request", closes=True),
    Row("S12 HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request", closes=True),
    Row("S12 HTTP/2.0", get("/healthz").replace(b"1.1", b"2.0"), 400, "bad_request", closes=True),
    Row("S12 HTTP/1.2", get("/healthz").replace(b"1.1", b"1.2"), 400, "bad_request", closes=True),
    Row("S12 TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request", closes=True),
]
HOSTS = [
    Row(f"S13 {name}", b"GET /v1/tasks HTTP/1.1\r\n" + lines + b"\r\n", 421, "bad_host")
    for name, lines in {
        "none": b"",
        "empty": b"Host:\r\n",
        "two": b"Host: localhost\r\nHost: localhost\r\n",
        "another": b"Host: evil.example\r\n",
        "an address": b"Host: 10.0.0.1\r\n",
        "userinfo": b"Host: localhost@evil.example\r\n",
        "ours as userinfo": b"Host: evil@localhost\r\n",
        "a suffix": b"Host: localhost.evil.example\r\n",
        "a number": b"Host: 2130706433\r\n",
        "a list": b"Host: localhost, evil.example\r\n",
    }.items()
]
METHODS = [
    Row("S14 TRACE", get("/v1/tasks", method="TRACE"), 405, "method_not_allowed"),
    Row("S14 PUT", get("/v1/tasks", method="PUT"), 405, "method_not_allowed"),
    Row("S14 PROPFIND", get("/v1/tasks", method="PROPFIND"), 405, "method_not_allowed"),
    Row("S14 CONNECT", get("localhost:80", method="CONNECT"), 405, "method_not_allowed", closes=True),
    Row("S14 unknown", get("/v1/tasks", method="FROBNICATE"), 405, "method_not_allowed", closes=True),
    Row("S14 lower case", get("/v1/tasks", method="post"), 405, "method_not_allowed", closes=True),
    Row("S14 override", get("/healthz", "X-HTTP-Method-Override: GET", method="POST"), 405, "method_not_allowed"),
    Row("S14 other override", get("/healthz", "X-Method: GET", method="DELETE"), 405, "method_not_allowed"),
    Row("S14 override in the query", get("/v1/tasks?_method=POST"), 422, "unknown_field"),
    Row("S25 another origin", post(GOOD, "Origin: http://evil.example"), 403, "bad_origin"),
    Row("S25 no origin", post(GOOD, "Origin: null"), 403, "bad_origin"),
]
_TARGET, _HEADER = protocol.TARGET_BYTES, protocol.HEADER_BYTES
LIMITS = [
    Row("target", get("/" + "x" * _TARGET), 414, "target_too_long", closes=True),
    Row("target without an end", b"GET /" + b"x" * 100_000, 414, "target_too_long", closes=True),
    Row("query", get("/v1/tasks?key=" + "x" * _TARGET), 414, "target_too_long", closes=True),
    Row("header", get("/healthz", "X: " + "x" * _HEADER), 431, "headers_too_large", closes=True),
    Row("header's name", get("/healthz", "X" * _HEADER + ": x"), 431, "headers_too_large", closes=True),
    Row("headers", get("/healthz", *["X: " + "x" * 2_000] * 17), 431, "headers_too_large", closes=True),
    Row("header count", get("/healthz", *["X: x"] * 100), 431, "headers_too_large", closes=True),
    Row("header without an end", get("/")[:-2] + b"X: " + b"x" * 100_000, 431, "headers_too_large", closes=True),
    Row("S16 10,000 ranges", get(FILE, "Range: bytes=" + "0-1," * 10_000), 431, "headers_too_large", closes=True),
    Row("body", post(b" " * limits.BODY_BYTES + GOOD), 413, "body_too_large"),
    Row("body that only says so", head(JSON, "Content-Length: 99999999999"), 413, "body_too_large", closes=True),
    Row("body in chunks", chunked(*[chunk(b" " * 65_536)] * 16, chunk(GOOD)), 413, "body_too_large"),
    Row("page", get("/v1/tasks?limit=501"), 422, "invalid_value"),
    Row("page of nothing", get("/v1/tasks?limit=0"), 422, "invalid_value"),
    Row("filter", get("/v1/tasks?key=" + "x" * 1_025), 422, "string_too_long"),
    Row("order", get("/v1/tasks?order=payload"), 422, "invalid_value"),
    Row("cursor", get("/v1/tasks?cursor=x"), 422, "bad_cursor"),
    Row("filter twice", get("/v1/tasks?kind=a&kind=b"), 422, "repeated_parameter"),
    Row("filter nobody knows", get("/v1/tasks?owner=x"), 422, "unknown_field"),
    Row("filter with NUL", get("/v1/tasks?key=%00"), 422, "invalid_text"),
    Row("filter no UTF-8", get("/v1/tasks?key=%ff"), 422, "invalid_text"),
]

TABLE = [*NO_JSON, *CONTENT, *MEDIA, *FRAMING, *TARGETS, *HOSTS, *METHODS, *LIMITS]


class Answer(NamedTuple):
    """What came back on a connection."""

    status: int
    headers: dict[str, str]
    body: bytes


def exchange(connection: socket.socket, sent: bytes, *, method: str = "GET") -> Answer:
    """Send a request and read its answer; a server that answers early may leave the rest unread."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(sent)
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def has_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def count_tasks(server: LiveServer) -> int:
    status, page = server.request("GET", "/v1/tasks?limit=500")
    assert status == 200
    return len(page["tasks"])


def test_the_table_names_each_case_once():
    assert len({row.name for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_what_must_not_come_in_is_answered_as_written_and_stores_nothing(server: LiveServer, row: Row):
    before = count_tasks(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        answer = exchange(connection, row.sent)
        problem = json.loads(answer.body)
        assert (answer.status, problem["code"]) == (row.status, row.code), answer
        _check_problem(row, answer, problem)
        if row.closes:
            assert answer.headers.get("connection") == "close" or row.code == "body_too_large"
            if row.code != "body_too_large":
                assert has_ended(connection)
        else:
            assert exchange(connection, get("/healthz")).status == 200
    assert server.request("GET", "/healthz") == (200, b"OK")
    assert count_tasks(server) == before


def _check_problem(row: Row, answer: Answer, problem: dict[str, Any]) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert problem["status"] == row.status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"].startswith("/docs#problem-")
    assert len(answer.body) < 4_096
    if row.code == "invalid_json":
        assert "(byte " in problem["detail"]
    if row.status == 405:
        assert answer.headers["allow"]
    if row.sent.startswith(b"POST /v1/tasks HTTP/") and row.status != 405:
        assert problem.get("stored") == "no" or row.code == "bad_origin", problem


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        (b'{"duration_s":-0}', {"duration_s": 0}),
        (b'{"duration_s":0.25e0}', {"duration_s": 0.25}),
    ],
)
def test_minus_zero_is_zero(server: LiveServer, payload: bytes, kept: Any):
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        answer = exchange(connection, post(b'{"kind":"simulate","payload":' + payload + b"}"))
    task = json.loads(answer.body)
    assert (answer.status, task["payload"]) == (202, kept)
    server.wait(task)
    assert server.request("DELETE", f"/v1/tasks/{task['id']}")[0] in (200, 204)


@pytest.mark.parametrize(
    ("range_", "status"),
    [
        ("bytes=" + "0-1," * 1_500 + "2-3", 200),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 1_600, 2)), 200),
        ("bytes=0-1,0-1", 200),
        ("bytes=0-1", 206),
        ("bytes=99999-", 416),
        ("bytes=-0", 416),
        ("lines=1-2", 200),
    ],
)
def test_one_range_is_served_and_many_are_the_whole_file(server: LiveServer, range_: str, status: int):
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        answer = exchange(connection, get(FILE, f"Range: {range_}"))
        assert answer.status == status
        assert len(answer.body) == 10_240 or status != 200
        assert exchange(connection, get("/healthz")).status == 200
