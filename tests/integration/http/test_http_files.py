"""Files served back: whole, ranged, and never as anything a browser would show or run."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from http_front import Front

from windlass.errors import WindlassError
from windlass.http.ranges import CHUNK_BYTES, disposition, parse_range

CONTENT = bytes(range(100))
FILE = "/v1/tasks/1/files/a.iso"


@pytest.fixture
def filed(front: Front) -> Front:
    """A task with one completed file of 100 bytes, one under way, and an empty one."""
    front.submit()
    front.leave_file(1, "a.iso", CONTENT)
    front.leave_file(1, "b.iso", b"half", state="running")
    front.leave_file(1, "empty", b"")
    return front


def test_the_files_of_a_task_are_listed_with_how_far_each_has_come(filed: Front):
    files = filed.ask("GET", "/v1/tasks/1/files").json["files"]
    assert [(file["name"], file["state"], file["size_bytes"]) for file in files] == [
        ("a.iso", "completed", 100),
        ("b.iso", "running", 4),
        ("empty", "completed", 0),
    ]


def test_a_file_comes_as_something_to_save_and_nothing_to_show(filed: Front):
    answer = filed.ask("GET", FILE)
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename=\"a.iso\"; filename*=UTF-8''a.iso"
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["accept-ranges"] == "bytes"
    assert re.fullmatch(r'"[0-9a-f-]+"', answer.headers["etag"])


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=90-", 206, 90, 100),
        ("bytes=0-", 206, 0, 100),
        ("bytes=-5", 206, 95, 100),
        ("bytes=-500", 206, 0, 100),
        ("bytes=50-500", 206, 50, 100),
        ("bytes= 1-2", 206, 1, 3),
        ("bytes=0-0,2-3", 200, 0, 100),
        ("bytes=" + ",".join(f"{index}-{index}" for index in range(700)), 200, 0, 100),
        ("bytes=5-2", 200, 0, 100),
        ("bytes=-", 200, 0, 100),
        ("bytes=a-b", 200, 0, 100),
        ("items=0-1", 200, 0, 100),
        ("bytes=0-1 ,", 200, 0, 100),
        ("bytes=" + "9" * 30 + "-", 200, 0, 100),
    ],
)
def test_one_range_is_served_and_everything_else_is_the_whole_file(
    filed: Front, asked: str, status: int, start: int, end: int
):
    answer = filed.ask("GET", FILE, Range=asked)
    assert (answer.status, answer.body) == (status, CONTENT[start:end])
    assert answer.headers.get("content-range") == (f"bytes {start}-{end - 1}/100" if status == 206 else None)
    head = filed.ask("HEAD", FILE, Range=asked)
    assert (head.status, head.headers["content-length"], head.body) == (200, "100", b"")


@pytest.mark.parametrize(("name", "asked"), [("a.iso", "bytes=100-"), ("a.iso", "bytes=-0"), ("empty", "bytes=0-")])
def test_a_range_that_is_not_there_is_416_with_the_size(filed: Front, name: str, asked: str):
    answer = filed.ask("GET", f"/v1/tasks/1/files/{name}", Range=asked)
    assert (answer.status, answer.json["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{100 if name == 'a.iso' else 0}"


def test_an_empty_file_is_empty(filed: Front):
    answer = filed.ask("GET", "/v1/tasks/1/files/empty")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "0", b"")


def test_the_strong_etag_saves_the_body_and_guards_a_range(filed: Front):
    etag = filed.ask("GET", FILE).headers["etag"]
    assert filed.ask("GET", FILE, If_None_Match=etag).status == 304
    assert filed.ask("GET", FILE, If_None_Match='"other"').status == 200
    assert filed.ask("GET", FILE, Range="bytes=0-1", If_Range=etag).status == 206
    for stale in ('"other"', f"W/{etag}", "Fri, 20 Nov 2026 15:00:00 GMT"):
        assert filed.ask("GET", FILE, Range="bytes=0-1", If_Range=stale).body == CONTENT


def test_the_etag_changes_with_the_bytes(filed: Front):
    etag = filed.ask("GET", FILE).headers["etag"]
    path = filed.directory / filed.engine.tasks[1].id / "a.iso"
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(1, 1))
    answer = filed.ask("GET", FILE, Range="bytes=0-1", If_Range=etag)
    assert (answer.status, answer.body) == (200, CONTENT[::-1])


@pytest.mark.parametrize("name", ["b.iso", "c.iso", "A.ISO", "", "../a.iso", "..%2Fa.iso", "%2Fetc%2Fpasswd", "a.iso/"])
def test_only_a_completed_file_of_the_task_is_served(filed: Front, name: str):
    assert filed.ask("GET", f"/v1/tasks/1/files/{name}").status == 404


def test_a_file_that_is_gone_or_no_file_is_not_there(filed: Front):
    path = filed.directory / filed.engine.tasks[1].id / "a.iso"
    path.unlink()
    for make in (lambda: None, lambda: path.symlink_to("/etc/passwd"), lambda: os.mkfifo(path), path.mkdir):
        make()
        assert filed.ask("GET", FILE).status == 404
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["ä ö.txt", 'a"b\\c;d.txt', "a%20b+c.html", "日本.svg", "a\u202etxt.exe"])
def test_any_name_can_be_served_and_breaks_no_header(front: Front, name: str):
    front.submit()
    front.leave_file(1, name, b"<script>")
    answer = front.ask("GET", f"/v1/tasks/1/files/{quote(name)}")
    assert (answer.status, answer.body) == (200, b"<script>")
    said = answer.headers["content-disposition"]
    assert said.isascii()
    assert unquote(said.partition("UTF-8''")[2]) == name
    assert re.fullmatch(r'attachment; filename="[A-Za-z0-9 ._()+,@=-]*"; filename\*=UTF-8\'\'[A-Za-z0-9%._~-]+', said)


@pytest.mark.parametrize("name", ["a\r\nSet-Cookie: x=1", "a\0b", '"; filename="x'])
def test_a_name_cannot_leave_its_header(name: str):
    said = disposition(name)
    assert not re.search(rb"[\x00-\x1f]", said)
    assert said.count(b'"') == 2


def test_a_large_file_comes_through_whole(front: Front):
    content = os.urandom(CHUNK_BYTES * 5 + 7)
    front.submit()
    front.leave_file(1, "large", content)
    assert front.ask("GET", "/v1/tasks/1/files/large").body == content
    assert front.ask("GET", "/v1/tasks/1/files/large", Range="bytes=100-").body == content[100:]


def test_a_file_is_let_go_of_when_the_client_leaves(front: Front):
    front.submit()
    front.leave_file(1, "large", b"")
    path = str(front.directory / front.engine.tasks[1].id / "large")
    os.truncate(path, 1 << 40)  # nobody reads this to its end in the time of a test
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        connection.sendall(b"GET /v1/tasks/1/files/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(1_000)
        assert path in _open_files()
    gives_up_at = time.monotonic() + 10
    while path in _open_files():
        assert time.monotonic() < gives_up_at
        time.sleep(0.005)


def test_a_file_that_shrinks_on_the_way_ends_the_connection(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.ranges.CHUNK_BYTES", 1_000)
    front.submit()
    front.leave_file(1, "large", b"\0" * 64 * 1024 * 1024)
    path = front.directory / front.engine.tasks[1].id / "large"
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        connection.sendall(b"GET /v1/tasks/1/files/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = len(connection.recv(1_000))
        os.truncate(path, 10)
        while chunk := connection.recv(1 << 20):
            received += len(chunk)
    assert received < 64 * 1024 * 1024


def _open_files() -> set[str]:
    found: set[str] = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            found.add(str(Path(entry.path).readlink()))
        except FileNotFoundError:
            continue
    return found


@pytest.mark.parametrize(
    ("text", "size", "part"),
    [(None, 5, None), ("", 5, None), ("bytes=0-4", 5, (0, 5)), ("bytes=4-", 5, (4, 5)), ("bytes=-1", 5, (4, 5))],
)
def test_ranges_are_half_open_inside(text: str | None, size: int, part: tuple[int, int] | None):
    assert parse_range(text, size) == part


def test_a_range_behind_the_end_is_an_error_that_names_the_size():
    with pytest.raises(WindlassError, match="100 bytes") as caught:
        parse_range("bytes=100-200", 100)
    assert caught.value.details["size_bytes"] == 100


def test_a_reader_that_takes_nothing_is_cut_off(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.protocol.WRITE_STALL_S", 0.2)
    front.submit()
    front.leave_file(1, "big", b"x" * 30_000_000)
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        connection.sendall(b"GET /v1/tasks/1/files/big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1.0)  # the silence is the point
        taken = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(1_000_000):
                taken += len(chunk)
        assert taken < 30_000_000


def test_a_reader_that_takes_its_time_gets_it_all(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.http.protocol.WRITE_STALL_S", 2.0)
    front.submit()
    front.leave_file(1, "big", b"x" * 8_000_000)
    with socket.create_connection(("127.0.0.1", front.port), timeout=15) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /v1/tasks/1/files/big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        taken = 0
        while chunk := connection.recv(200_000):
            taken += len(chunk)
            time.sleep(0.005)
        assert taken > 8_000_000
