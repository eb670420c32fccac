"""The server on its socket: binding, serving, and an end that leaves nobody hanging."""

from __future__ import annotations

import asyncio
import http.client
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from http_front import BODY_BYTES, DictEngine, Front, WallClock

from windlass.config.dialects import Dialects
from windlass.core.state import State
from windlass.engine.access import KeyRing
from windlass.errors import ConfigError
from windlass.http.app import HttpApp, build_app
from windlass.http.call import Services
from windlass.http.server import HttpServer, bind
from windlass.store.memory.keys import MemoryKeys


def test_a_port_that_is_taken_is_named_with_how_to_choose_another():
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            bind("127.0.0.1", port)
    for word in (f"port {port}", "taken", "--port", "WINDLASS_PORT"):
        assert word in caught.value.detail


@pytest.mark.parametrize(
    ("host", "words"), [("203.0.113.7", "no address of this machine"), ("no such host", "no name that resolves")]
)
def test_an_address_that_is_not_ours_is_named(host: str, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        bind(host, 0)
    assert host in caught.value.detail


def test_the_socket_is_kept_from_child_processes():
    with bind("127.0.0.1", 0) as listener:
        assert not listener.get_inheritable()


def test_a_connection_made_before_serving_waits_for_it(tmp_path: Path):
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    early = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    early.request("GET", "/healthz")

    async def serve_once() -> None:
        app = build_app(
            DictEngine(tmp_path), KeyRing(MemoryKeys(), WallClock()), clock=WallClock(), body_bytes=BODY_BYTES, hosts=[]
        )
        server = HttpServer(app)
        serving = asyncio.create_task(server.serve(listener))
        response = await asyncio.to_thread(early.getresponse)
        assert await asyncio.to_thread(response.read) == b"OK"
        await server.stop(1)
        await server.stop(1)
        await serving

    asyncio.run(serve_once())
    early.close()
    assert listener.fileno() == -1


def test_it_takes_no_signals_from_its_process(tmp_path: Path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def look() -> None:
        listener = bind("127.0.0.1", 0)
        app = build_app(
            DictEngine(tmp_path), KeyRing(MemoryKeys(), WallClock()), clock=WallClock(), body_bytes=BODY_BYTES, hosts=[]
        )
        server = HttpServer(app)
        serving = asyncio.create_task(server.serve(listener))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readline()
        # asyncio's own runner holds SIGINT while it runs; the server adds nothing to that.
        assert signal.getsignal(signal.SIGTERM) == before[1]
        writer.close()
        await writer.wait_closed()
        await server.stop(1)
        await serving

    asyncio.run(look())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_stopping_before_serving_serves_nothing(tmp_path: Path):
    async def stop_first() -> None:
        app = build_app(
            DictEngine(tmp_path), KeyRing(MemoryKeys(), WallClock()), clock=WallClock(), body_bytes=BODY_BYTES, hosts=[]
        )
        server = HttpServer(app)
        await server.stop(1)
        await server.serve(bind("127.0.0.1", 0))

    asyncio.run(asyncio.wait_for(stop_first(), 5))


def test_a_stop_answers_those_who_wait_with_what_there_is(front: Front):
    front.submit()
    front.change(1, state=State.RUNNING)
    with ThreadPoolExecutor(3) as pool:
        read = pool.submit(front.ask, "GET", "/v1/tasks/1?wait=50")
        held = pool.submit(front.ask, "GET", "/v1/tasks/1?wait=50", None, {"If-None-Match": 'W/"2"'})
        sent = pool.submit(front.ask, "POST", "/v1/tasks", {"kind": "echo"}, {"Prefer": "wait=50"})
        front.run(front.engine.until_waiters(3))
        began_at = time.monotonic()
        front.stop(grace_s=10)
        assert time.monotonic() - began_at < 5
        assert (read.result(1).status, read.result(1).json["state"]) == (200, "running")
        assert held.result(1).status == 304
        assert (sent.result(1).status, sent.result(1).json["state"]) == (202, "queued")
    assert front.engine.waiters == 0


def test_a_stop_closes_what_is_idle_and_takes_nothing_new(front: Front):
    idle = http.client.HTTPConnection("127.0.0.1", front.port, timeout=15)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    front.stop()
    assert idle.sock.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        front.ask("GET", "/healthz")


def test_a_stop_does_not_wait_longer_than_its_grace(front: Front, caplog: pytest.LogCaptureFixture):
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as stuck:
        stuck.sendall(
            b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        )
        assert stuck.recv(100).startswith(b"HTTP/1.1 100 ")  # the handler waits for the body
        began_at = time.monotonic()
        front.stop(grace_s=0.2)
        assert 0.1 < time.monotonic() - began_at < 5
        with suppress(ConnectionResetError):
            assert stuck.recv(1) == b""
    assert front.engine.tasks == {}
    assert not caplog.records


def test_who_the_client_is_comes_from_the_connection_and_no_header(tmp_path: Path):
    async def tell_client(scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": f"{scope['client'][0]} {scope['scheme']}".encode()})

    async def ask() -> bytes:
        listener = bind("127.0.0.1", 0)
        access = KeyRing(MemoryKeys(), WallClock())
        services = Services(
            DictEngine(tmp_path),
            access,
            WallClock(),
            body_bytes=BODY_BYTES,
            dialects=Dialects(),
            documents=(b"", b""),
        )
        server = HttpServer(HttpApp(tell_client, services))
        serving = asyncio.create_task(server.serve(listener))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\r\n"
        )
        received = await reader.read()
        writer.close()
        await writer.wait_closed()
        await server.stop(1)
        await serving
        return received

    assert b"127.0.0.1 http\r\n" in asyncio.run(ask())


def test_an_answer_leaves_in_one_piece(front: Front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        for _ in range(20):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body == b"OK"
