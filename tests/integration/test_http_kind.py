"""Calls of urls as their users rely on them: against a real server, well and badly behaved, and by a real worker."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from download_server import (
    FileServer,
    RecordingHost,
    Seen,
    endless,
    head,
    make_context,
    raw,
    redirect,
    refusing_port,
    silent,
    status,
)
from live import running, until

from windlass.app.signals import Fail
from windlass.handlers.http_call.answer import Answer, CallFailed
from windlass.handlers.http_call.handler import http
from windlass.outbound.failure import FailureClass, TransferFailed
from windlass.outbound.guard import Guard
from windlass.outbound.transport import Limits, Request, Transport

pytestmark = pytest.mark.anyio
TASK = "0192e4a0-0000-7000-8000-000000000001"
OK = b"HTTP/1.1 200 OK\r\n"
JSON = "Content-Type: application/json"


class Received(msgspec.Struct, frozen=True):
    """A request with its method and its body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class CallServer(FileServer):
    """Answers by script, as its parent does, and reads requests whole."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Received] = []
        self.hung_up = threading.Event()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                if connection.recv(1, socket.MSG_PEEK) == b"\x16":  # a client that speaks TLS
                    connection.sendall(head(400))
                    return
                method, path, *_ = stream.readline().decode("latin-1").split(" ")
                lines = iter(lambda: stream.readline().decode("latin-1").strip(), "")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = stream.read(int(headers.get("content-length", "0")))
                self.calls.append(Received(method, path, headers, body))
                answers = self._scripts.get(path, [status(404)])
                (answers.pop(0) if len(answers) > 1 else answers[0])(connection, Seen(path, headers))
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
        except OSError:
            pass
        finally:
            self.hung_up.set()


@pytest.fixture
def server() -> Iterator[CallServer]:
    with CallServer() as server:
        yield server


async def call(url: str, *, allow: list[str] | None = None, **payload: Any) -> dict[str, Any]:
    context = make_context(Path("unused"), RecordingHost(), allow=["127.0.0.0/8"] if allow is None else allow)
    return await http(url, ctx=context, **payload)


async def refused(url: str, **payload: Any) -> Fail:
    with pytest.raises(Fail) as failure:
        await call(url, **payload)
    return failure.value


async def postponed(url: str, **payload: Any) -> CallFailed:
    with pytest.raises(CallFailed) as failure:
        await call(url, **payload)
    return failure.value


# ── the request ────────────────────────────────────────────────────


async def test_json_is_posted_and_the_answer_is_the_result(server: CallServer) -> None:
    url = server.on("/orders?a=1", status(201, JSON, "X-Id: 7", body=b'{"id": 7}'))
    result = await call(url, method="POST", json={"n": 1}, headers={"Authorization": "Bearer s3cret"})
    assert result.pop("elapsed_s") < 5
    assert result == {
        "status": 201,
        "headers": {"content-type": "application/json", "x-id": "7", "content-length": "9", "connection": "close"},
        "json": {"id": 7},
        "truncated": False,
        "url": url,
    }
    [received] = server.calls
    assert (received.method, received.path, received.body) == ("POST", "/orders?a=1", b'{"n":1}')
    sent = {name: value for name, value in received.headers.items() if name != "host"}
    assert sent == {
        "user-agent": "windlass",
        "authorization": "Bearer s3cret",
        "content-type": "application/json",
        "idempotency-key": TASK,
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": "7",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_arrives_as_it_was_asked_for(server: CallServer, method: str) -> None:
    url = server.on("/", raw(OK + b"Content-Length: 2\r\n\r\n" + (b"" if method == "HEAD" else b"ok")))
    result = await call(url, method=method, headers={"Idempotency-Key": "mine"})
    assert result["body"] == ("" if method == "HEAD" else "ok")
    [received] = server.calls
    assert (received.method, received.body, received.headers["idempotency-key"]) == (method, b"", "mine")
    assert received.headers.get("content-length") == ("0" if method in ("POST", "PUT", "PATCH") else None)
    assert "content-type" not in received.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_body_arrives_whole_with_every_method_that_has_one(server: CallServer, method: str) -> None:
    body = "é" * 600_000  # from a mebibyte on, libcurl would wait for a 100
    await call(server.on("/", status(200)), method=method, body=body)
    assert (server.calls[0].method, server.calls[0].body) == (method, body.encode())
    assert "expect" not in server.calls[0].headers


async def test_a_header_that_would_be_smuggled_is_never_sent(server: CallServer) -> None:
    for headers in ({"Host": "elsewhere"}, {"A": "b\r\nC: d"}, {"Content-Length": "1"}):
        assert (await refused(server.url("/"), headers=headers)).code == "header_not_allowed"
    assert (await refused(server.url("/"), json={})).code == "payload_invalid"
    assert server.connections == 0


# ── the answer ─────────────────────────────────────────────────────


async def test_a_status_decides_whether_there_is_another_try(server: CallServer) -> None:
    url = server.on("/", status(503, "Retry-After: 9"), status(429), status(409, body=b"no\n"))
    assert ((again := await postponed(url)).code, again.after) == ("http_status", 9.0)
    assert (await postponed(url)).after is None
    assert str(await refused(url)) == "HTTP 409 from 127.0.0.1: no\\n"


async def test_an_endless_answer_is_left_once_enough_of_it_is_kept(server: CallServer) -> None:
    result = await call(server.on("/", endless), max_bytes=10)
    assert (result["body"], result["truncated"]) == ("x" * 10, True)
    assert str(await refused(server.on("/no", raw(head(404), b"x" * 600_000)))).endswith(": " + "x" * 256)
    assert await asyncio.to_thread(server.hung_up.wait, 5)


async def test_an_encoded_answer_is_kept_as_it_came(server: CallServer) -> None:
    result = await call(server.on("/", status(200, "Content-Encoding: gzip", body=b"\x1f\x8b")))
    assert result["body_base64"] == "H4s="


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP at all",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nabc",
        OK + b"X: y\r\n" * 101 + b"\r\n",
        OK + b"X: " + b"y" * 400_000 + b"\r\n\r\n",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_is_no_http_fails_for_good(server: CallServer, answer: bytes) -> None:
    assert (await refused(server.on("/", raw(answer)))).code == "bad_response"


async def test_headers_without_end_are_left(server: CallServer) -> None:
    def babble(connection: socket.socket, request: Seen) -> None:
        connection.sendall(OK)
        while True:
            connection.sendall(b"X: y\r\n" * 100)

    assert (await refused(server.on("/", babble))).code == "bad_response"


# ── trouble on the way ─────────────────────────────────────────────


async def test_a_server_that_is_not_there_is_tried_again(server: CallServer) -> None:
    with refusing_port() as port:
        assert (await postponed(f"http://127.0.0.1:{port}/")).code == "not_connected"
    assert (await postponed("http://no-such-name.invalid/")).code == "no_such_host"
    assert (await postponed(server.url("/").replace("http:", "https:"))).code == "tls_failed"
    assert (await postponed(server.on("/cut", raw(OK + b"Content-Length: 9\r\n\r\nno")))).code == "connection_lost"


async def test_a_call_ends_when_its_time_is_up_however_it_is_drawn_out(server: CallServer) -> None:
    gone = threading.Event()

    def drip(connection: socket.socket, request: Seen) -> None:
        connection.sendall(head(200))
        while not gone.wait(0.05):
            connection.sendall(b"x")

    def half_a_head(connection: socket.socket, request: Seen) -> None:
        connection.sendall(OK)
        silent(connection, request)

    began_at = time.monotonic()
    for answer in (silent, drip, half_a_head):
        failure = await postponed(server.on("/", answer), timeout_s=0.3)
        assert (failure.code, str(failure)) == ("too_slow", "127.0.0.1 did not end its answer within 0.3 s")
    gone.set()
    assert time.monotonic() - began_at < 4


async def test_redirects_do_not_win_a_call_more_time(server: CallServer) -> None:
    def slowly(connection: socket.socket, request: Seen) -> None:
        time.sleep(0.25)
        redirect("/")(connection, request)

    began_at = time.monotonic()
    assert (await postponed(server.on("/", slowly), timeout_s=0.4, redirects=5)).code == "too_slow"
    assert time.monotonic() - began_at < 3


async def test_a_name_that_takes_too_long_is_too_slow_and_not_unknown() -> None:
    answered = threading.Event()
    transport = Transport(Guard(), Limits(total_s=0.2), resolver=lambda *_: [str(answered.wait(10))])
    with pytest.raises(TransferFailed) as failure:
        transport.fetch(Request(url="http://files.invalid/"), Answer(0), lambda: False)
    answered.set()
    assert (failure.value.code, failure.value.kind) == ("too_slow", FailureClass.TRANSIENT)


async def test_a_cancel_ends_the_transfer_and_never_holds_the_loop(server: CallServer) -> None:
    work = asyncio.create_task(call(server.on("/", silent)))
    await asyncio.to_thread(until, lambda: server.calls, "the request is there")
    loop = asyncio.get_running_loop()
    lags: list[float] = []

    async def tick() -> None:
        while True:
            asked_at = loop.time()
            await asyncio.sleep(0.01)
            lags.append(loop.time() - asked_at)

    ticking = asyncio.create_task(tick())
    began_at = loop.time()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    ticking.cancel()
    assert loop.time() - began_at < 2
    assert max(lags) < 0.5
    assert await asyncio.to_thread(server.hung_up.wait, 5)


# ── where it may go ────────────────────────────────────────────────


async def test_an_address_inside_is_not_called(server: CallServer) -> None:
    failure = await refused(server.url("/"), allow=[])
    assert failure.code == "destination_blocked"
    assert (await refused("http://169.254.169.254/latest/meta-data/")).code == "destination_blocked"
    assert server.connections == 0


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "http://user:s3cret@127.0.0.1/", "http://127.0.0.1\\@x/", "http:///"]
)
async def test_a_url_that_is_none_is_not_called(url: str) -> None:
    failure = await refused(url)
    assert failure.code == "url_not_allowed"
    assert "s3cret" not in str(failure)


async def test_a_redirect_is_an_answer_unless_it_was_asked_for(server: CallServer) -> None:
    url = server.on("/1", redirect("/2"))
    server.on("/2", status(200, body=b"there"))
    assert str(await refused(url)) == "HTTP 302 from 127.0.0.1: no"
    result = await call(url, redirects=1)
    assert (result["body"], result["url"]) == ("there", server.url("/2"))
    server.on("/2", redirect("/1"))
    assert (await refused(url, redirects=3)).code == "too_many_redirects"
    assert len(server.calls) == 1 + 2 + 4


@pytest.mark.parametrize(("number", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_a_post_goes_on_as_the_redirect_says(server: CallServer, number: int, method: str) -> None:
    server.on("/2", status(200))
    await call(server.on("/1", redirect("/2", number)), method="POST", body="text", redirects=5)
    last = server.calls[-1]
    is_post = method == "POST"
    assert (last.method, last.body, "content-type" in last.headers) == (method, b"text" if is_post else b"", is_post)
    assert last.headers["idempotency-key"] == TASK


async def test_neither_headers_nor_a_body_go_to_another_origin(server: CallServer) -> None:
    secret = {"Authorization": "s3cret", "X-Api-Key": "s3cret"}
    with CallServer() as other:
        other.on("/", status(200))
        for number in (303, 307):
            server.on("/get", redirect(other.url("/"), number))
            await call(server.url("/get"), headers=secret, redirects=1)
        server.on("/post", redirect(other.url("/"), 307))
        failure = await refused(server.url("/post"), method="POST", json="s3cret", headers=secret, redirects=1)
        assert failure.code == "redirect_refused"
        assert len(other.calls) == 2
        assert not any({"authorization", "x-api-key", "idempotency-key"} & set(seen.headers) for seen in other.calls)
        assert "s3cret" not in repr(other.calls)


async def test_a_redirect_is_judged_as_the_url_was(server: CallServer) -> None:
    for location, code in (
        ("http://127.0.0.2:1/", "destination_blocked"),
        ("http://169.254.169.254/", "destination_blocked"),
        ("file:///etc/passwd", "url_not_allowed"),
        ("gopher://127.0.0.1/", "url_not_allowed"),
    ):
        failure = await refused(server.on("/", redirect(location)), allow=["127.0.0.1/32"], redirects=5)
        assert failure.code == code


# ── by a real worker ───────────────────────────────────────────────


def test_a_server_lists_the_kind_calls_a_url_and_cancels_a_call(server: CallServer, tmp_path: Path) -> None:
    hook = server.on("/hook?token=hunter2", status(503, "Retry-After: 0"), status(200, JSON, body=b'{"ok":true}'))
    payload = {"url": hook, "method": "POST", "json": {"a": 1}, "headers": {"Authorization": "Bearer hunter2"}}
    quick = {"base": 0.01, "cap": 0.01}
    with running(tmp_path) as front:
        kinds = {kind["name"]: kind for kind in front.request("GET", "/v1/kinds")[1]["kinds"]}
        assert "pattern" in json.dumps(kinds["http"]["schema"])
        number, problem = front.request("POST", "/v1/tasks", {"kind": "http", "payload": {"url": "ftp://hunter2@h/"}})
        assert (number, problem["errors"][0]["pointer"]) == (422, "/payload/url")
        assert "hunter2" not in json.dumps(problem)

        called = front.wait(front.submit("http", payload, retry=quick))
        assert (called["state"], called["attempt"], called["result"]["json"]) == ("succeeded", 2, {"ok": True})
        assert {seen.headers["idempotency-key"] for seen in server.calls} == {called["id"]}
        assert "hunter2" not in json.dumps(front.request("GET", f"/v1/tasks/{called['id']}")[1])
        attempts = front.request("GET", f"/v1/tasks/{called['id']}/attempts")[1]["attempts"]
        error = attempts[0]["error"]
        assert (error["code"], error["message"]) == ("http_status", "HTTP 503 from 127.0.0.1: no")

        failed = front.wait(front.submit("http", {"url": server.on("/gone", status(410))}))
        assert (failed["state"], failed["reason"], failed["error"]["code"]) == (
            "failed",
            "not_retryable",
            "http_status",
        )

        hanging = front.submit("http", {"url": server.on("/silent", silent)})
        until(lambda: any(seen.path == "/silent" for seen in server.calls), "the call is there")
        front.cancel(hanging)
        assert front.wait(hanging, timeout_s=5)["state"] == "cancelled"
        front.stop()
        assert "hunter2" not in front.log.read_text()
