"""Who may talk to the server: names, origins, and requests that try to be two."""

from __future__ import annotations

import pytest
from http_front import Front

from windlass.errors import WindlassError
from windlass.http.cors import Pages
from windlass.http.middleware import Admission


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8080",
        "LOCALHOST.",
        "windlass.localhost:1",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.9.9.9",
        "[::1]",
        "[::1]:8080",
        "[0:0:0:0:0:0:0:1]",
        "front.test",
        "Front.Test:443",
    ],
)
def test_it_answers_to_its_own_names(front: Front, host: str):
    assert front.ask("GET", "/healthz", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "notlocalhost",
        "front.test.evil.example",
        "front.test@evil.example",
        "evil@localhost",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:10.0.0.1]",
        "192.168.1.5:8080",
        "2130706433",
        "localhost:80:80",
        "localhost:x",
        "localhost/x",
        "localhost evil",
        "[::1",
        "",
        "localhost, evil.example",
    ],
)
def test_it_answers_to_no_other(front: Front, host: str):
    answer = front.ask("GET", "/healthz", Host=host)
    assert (answer.status, answer.json["code"]) == (421, "bad_host")


@pytest.mark.parametrize("lines", [b"", b"Host: localhost\r\nHost: localhost\r\n"])
def test_a_request_names_its_host_once(front: Front, lines: bytes):
    received = front.raw(b"GET /healthz HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 421 ")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "server", "bound", "passes"),
    [
        (b"192.168.1.5:8080", ("192.168.1.5", 8080), [], True),
        (b"192.168.1.6:8080", ("192.168.1.5", 8080), [], False),
        (b"[fe80::1]", ("fe80:0::1", 8080), [], True),
        (b"192.168.1.5", ("::ffff:192.168.1.5", 8080), [], True),
        (b"10.1.1.1", None, ["10.1.1.1"], True),
        (b"0.0.0.0:8080", ("127.0.0.1", 8080), ["0.0.0.0"], False),
        (b"[fd00::7]", None, ["fd00:0:0::7"], True),
    ],
)
async def test_the_address_a_connection_came_in_at_is_a_name_too(
    host: bytes, server: tuple[str, int] | None, bound: list[str], passes: bool
):
    passed: list[bool] = []

    async def behind(*_: object) -> None:
        passed.append(True)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", host)], "server": server}
    try:
        await Admission(behind, bound, Pages((), ()))(scope, None, None)  # type: ignore[arg-type]
    except WindlassError as error:
        passed.append(error.code != "bad_host")
    assert passed == [passes]


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://localhost:8080", "localhost:8080", 200),
        ("https://front.test", "front.test", 200),
        ("HTTP://LOCALHOST:8080", "localhost:8080", 200),
        ("http://localhost:3000", "localhost:8080", 403),
        ("http://127.0.0.1:8080", "localhost:8080", 403),
        ("https://evil.example", "localhost:8080", 403),
        ("http://localhost:8080.evil.example", "localhost:8080", 403),
        ("http://evil.example/localhost:8080", "localhost:8080", 403),
        ("null", "localhost:8080", 403),
        ("", "localhost:8080", 403),
        ("file://", "localhost:8080", 403),
    ],
)
def test_a_page_of_another_origin_changes_nothing(front: Front, origin: str, host: str, status: int):
    front.submit()
    answer = front.ask("POST", "/v1/tasks/1/cancel", Host=host, Origin=origin)
    assert answer.status == status
    assert (front.engine.tasks[1].version == 1) == (status == 403)
    assert "access-control-allow-origin" not in answer.headers
    assert front.ask("GET", "/v1/tasks/1", Host=host, Origin=origin).status == 200


def test_the_refusal_does_not_wait_for_the_body(front: Front):
    received = front.raw(
        b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 403 ")


_POST = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_TASK = b'{"kind":"echo"}'


@pytest.mark.parametrize(
    "sent",
    [
        _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n\r\nf\r\n" + _TASK + b"\r\n0\r\n\r\n",
        _POST + b"Content-Length: 15\r\nContent-Length: 16\r\n\r\n" + _TASK,
        _POST + b"Content-Length: +15\r\n\r\n" + _TASK,
        _POST + b"Content-Length: 0x0f\r\n\r\n" + _TASK,
        _POST + b"Content-Length : 15\r\n\r\n" + _TASK,
        _POST + b"Transfer-Encoding: chunked, identity\r\n\r\nf\r\n" + _TASK + b"\r\n0\r\n\r\n",
        _POST + b"Transfer-Encoding: xchunked\r\n\r\nf\r\n" + _TASK + b"\r\n0\r\n\r\n",
        _POST + b"X: a\r\n b\r\nContent-Length: 15\r\n\r\n" + _TASK,
        _POST.replace(b"\r\n", b"\n") + b"Content-Length: 15\n\n" + _TASK,
        b"GET http://evil.example/v1/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET v1/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/t\xffsks HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/tasks HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_not_one_plain_request_is_refused_and_the_connection_ends(front: Front, sent: bytes):
    received = front.raw(sent)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    assert b'"code":"bad_request"' in body
    assert front.engine.tasks == {}


def test_an_upgrade_is_passed_over(front: Front):
    received = front.raw(
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 200 ")


def test_what_stands_behind_an_upgrade_is_no_request(front: Front):
    asked = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    received = front.raw(asked + b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received


@pytest.mark.parametrize("framing", ["Content-Length: %d", "Transfer-Encoding: chunked"])
def test_a_body_behind_an_upgrade_is_not_read_as_the_next_request(front: Front, framing: str):
    inner = (
        b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n"
    )
    inner += b'{"kind":"anything","payload":{} }  '[:34]
    length = framing % len(inner) if "%" in framing else framing
    head = f"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{length}\r\n\r\n"
    received = front.raw(head.encode() + inner)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert front.engine.tasks == {}


def test_requests_on_one_connection_are_answered_in_order(front: Front):
    front.submit()
    one = b"GET /v1/tasks/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    two = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    received = front.raw(one + two)
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert received.endswith(b"OK")


@pytest.mark.parametrize(
    "behind", [b"}", b"x", b"GET\x00", b"POST /v1/tasks HTTP/1.1\r\nContent-Length: nothing\r\n\r\n"]
)
def test_what_comes_behind_a_request_does_not_take_its_answer(front: Front, behind: bytes):
    received = front.raw(_POST + b"Content-Length: 15\r\n\r\n" + _TASK + behind)
    assert received.startswith(b"HTTP/1.1 202 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert len(front.engine.tasks) == 1


def test_half_a_request_behind_a_long_wait_does_not_end_the_wait(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.protocol.HEAD_RECEIPT_S", 0.05)
    received = front.raw(_POST + b"Prefer: wait=1\r\nContent-Length: 15\r\n\r\n" + _TASK + b"GET /v1/ta")
    assert received.startswith(b"HTTP/1.1 202 ")
    assert received.count(b"HTTP/1.1 ") == 1
