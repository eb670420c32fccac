"""How many may come in at once: caps, who makes room, and clients that take their time."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_front import Front
from live import PATIENCE_S, running, until

from windlass.http.connections import Connections

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CAP = 8


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Front]:
    """A server that takes eight connections."""
    front = Front(tmp_path, connections=CAP, connections_per_address=CAP)
    yield front
    front.close()


class Clients:
    """Open connections, closed together."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.stack = contextlib.ExitStack()

    def connect(self, first: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        self.stack.enter_context(connection)
        connection.sendall(first)
        return connection

    def connect_and_ask(self) -> socket.socket:
        connection = self.connect(HEALTH)
        assert read_answer(connection).startswith(b"HTTP/1.1 200 ")
        return connection


@pytest.fixture
def clients(small: Front) -> Iterator[Clients]:
    clients = Clients(small.port)
    with clients.stack:
        yield clients


def read_answer(connection: socket.socket) -> bytes:
    """Read one answer to `/healthz`, or what there is until the end."""
    received = b""
    while not received.endswith(b"\r\n\r\nOK") and (chunk := connection.recv(65536)):
        received += chunk
    return received


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended a connection on which nothing was to be read; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def is_open(connection: socket.socket) -> bool:
    connection.sendall(HEALTH)
    return read_answer(connection).startswith(b"HTTP/1.1 200 ")


def test_beyond_the_cap_the_oldest_that_never_asked_makes_room(small: Front, clients: Clients):
    asked = clients.connect_and_ask()
    silent = [clients.connect() for _ in range(CAP - 1)]
    until(lambda: len(small.server.connections) == CAP, "all are in")
    newest = clients.connect_and_ask()
    assert is_closed(silent[0])
    assert all(is_open(connection) for connection in [asked, newest, *silent[1:]])
    assert len(small.server.connections) == CAP


def test_half_a_request_is_none(small: Front, clients: Clients):
    halves = [clients.connect(HEALTH[:-2]) for _ in range(CAP)]
    until(lambda: len(small.server.connections) == CAP, "all are in")
    clients.connect_and_ask()
    assert is_closed(halves[0])


def test_of_those_that_have_asked_the_one_idle_for_longest_makes_room(small: Front, clients: Clients):
    asked = [clients.connect_and_ask() for _ in range(CAP)]
    assert is_open(asked[0])
    clients.connect_and_ask()
    assert is_closed(asked[1])
    assert all(is_open(connection) for connection in [asked[0], *asked[2:]])


def test_a_request_under_way_is_never_driven_out(small: Front, clients: Clients):
    small.submit()
    until(lambda: len(small.server.connections) == 0, "who submitted is gone")
    waiting = [
        clients.connect(b"GET /v1/tasks/1?wait=30 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        for _ in range(CAP)
    ]
    small.run(small.engine.until_waiters(CAP))
    refused = clients.connect()
    received = b""
    while chunk := refused.recv(65536):
        received += chunk
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"too_many_connections"' in received
    assert b"retry-after: 5\r\n" in received
    assert b"connection: close\r\n" in received
    small.change(1, priority=1)
    for connection in waiting:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert is_open(clients.connect())


def test_a_place_is_free_again_when_its_connection_ends(small: Front, clients: Clients):
    for _ in range(3 * CAP):
        with clients.connect(HEALTH) as connection:
            assert read_answer(connection).startswith(b"HTTP/1.1 200 ")
    until(lambda: len(small.server.connections) == 0, "all are gone")


class Place:
    """A connection that notes being closed."""

    def __init__(self) -> None:
        self.has_given_way = False

    def give_way(self) -> None:
        self.has_given_way = True


def test_one_address_cannot_take_all_places_and_this_machine_can():
    connections = Connections(10, 3)
    stranger = [Place() for _ in range(4)]
    assert [connections.enter(place, "192.0.2.7") for place in stranger] == [True, True, True, False]
    assert not any(place.has_given_way for place in stranger)
    assert connections.enter(Place(), "192.0.2.8")
    assert all(connections.enter(Place(), None) for _ in range(6))
    assert len(connections) == 10
    connections.leave(stranger[0])
    connections.leave(stranger[0])
    assert connections.enter(stranger[3], "192.0.2.7")
    assert not connections.enter(Place(), "192.0.2.7")


def test_who_has_made_room_can_neither_rest_nor_leave_again():
    connections = Connections(1, 1)
    first, second = Place(), Place()
    connections.enter(first, None)
    connections.enter(second, None)
    assert first.has_given_way
    connections.rest(first)
    connections.leave(first)
    assert len(connections) == 1
    connections.work(second)
    assert not connections.enter(Place(), None)
    assert not second.has_given_way


def test_a_large_request_does_not_count_for_the_one_behind_it(small: Front, clients: Clients):
    body = b" " * 60_000 + b'{"kind":"echo"}'
    connection = clients.connect(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + HEALTH[:20])
    first = connection.recv(65536)
    connection.sendall(HEALTH[20:])
    received = first + read_answer(connection)
    assert received.startswith(b"HTTP/1.1 202 ")
    assert received.count(b"HTTP/1.1 200 ") == 1


def allow_files(wanted: int) -> None:
    """Let this process open so many files, or skip."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may have {hard} files here, and this takes {wanted}")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.mark.timeout(60)
def test_five_thousand_silent_connections_drive_out_nobody_who_asks(front: Front):
    allow_files(7_000)
    clients = Clients(front.port)
    with clients.stack:
        regular = clients.connect_and_ask()
        for number in range(5_000):
            clients.connect()
            if number % 250 == 0:
                assert is_open(regular)
                with clients.connect(HEALTH) as passer_by:
                    assert read_answer(passer_by).startswith(b"HTTP/1.1 200 ")
        assert is_open(regular)
        assert len(front.server.connections) <= 1_000
        assert front.submit()["state"] == "queued"
    until(lambda: len(front.server.connections) == 0, "all are gone")


@pytest.mark.parametrize("sent", [b"G", HEALTH[:-2], POST + b"X: ", b"\r\n"], ids=["byte", "head", "header", "empty"])
def test_slow_headers_are_given_up_while_others_are_answered(
    front: Front, monkeypatch: pytest.MonkeyPatch, sent: bytes
):
    monkeypatch.setattr("windlass.http.protocol.HEAD_RECEIPT_S", 0.3)
    clients = Clients(front.port)
    with clients.stack:
        slow = [clients.connect(sent) for _ in range(50)]
        assert is_open(clients.connect())
        for connection in slow:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
            assert is_closed(connection)


def test_empty_lines_do_not_keep_a_connection_alive(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.protocol.HEAD_RECEIPT_S", 0.2)
    clients = Clients(front.port)
    with clients.stack:
        connection = clients.connect_and_ask()
        connection.sendall(b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert is_closed(connection)


def test_a_body_that_trickles_is_given_up_before_its_time_is_over(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.protocol.BODY_SLOW_S", 0.2)
    monkeypatch.setattr("windlass.http.protocol._LOOK_S", 0.05)
    clients = Clients(front.port)
    with clients.stack:
        slow = [clients.connect(POST + b"Content-Length: 60000\r\n\r\n") for _ in range(20)]
        give_up_at = time.monotonic() + PATIENCE_S
        while not select.select(slow, [], [], 0.02)[0]:
            assert time.monotonic() < give_up_at
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.sendall(b" ")
        for connection in slow:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert is_open(clients.connect())
    assert front.engine.tasks == {}


def test_a_body_that_comes_fast_enough_is_waited_for(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.protocol.BODY_SLOW_S", 0.05)
    monkeypatch.setattr("windlass.http.protocol._LOOK_S", 0.05)
    clients = Clients(front.port)
    with clients.stack:
        connection = clients.connect(POST + b"Content-Length: 60015\r\n\r\n")
        for _ in range(10):
            connection.sendall(b" " * 6_000)
            time.sleep(0.03)
        connection.sendall(b'{"kind":"echo"}')
        assert connection.recv(65536).startswith(b"HTTP/1.1 202 ")


def test_a_server_that_may_open_no_more_files_lives_on(tmp_path: Path):
    with running(tmp_path) as server:
        open_files = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_files + 40, open_files + 40))
        clients = Clients(server.port)
        with clients.stack:
            for _ in range(200):
                clients.connect()
        assert until(server.is_ready, "it answers again")
        assert server.stop() == 0
