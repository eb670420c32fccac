"""Downloads from servers and disks that misbehave: each ends plainly, and nothing wrong is ever published."""

from __future__ import annotations

import asyncio
import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_server import (
    Answer,
    FileServer,
    RecordingHost,
    endless,
    head,
    make_context,
    names_in,
    raw,
    refusing_port,
    serve,
    status,
)

from windlass.app.signals import Fail
from windlass.core.backoff import RetryPolicy
from windlass.handlers.download import budget
from windlass.handlers.download.folder import Folder
from windlass.handlers.download.handler import download
from windlass.handlers.download.plan import FileRequest

pytestmark = pytest.mark.anyio
CONTENT = b"0123456789abcdef" * 65536 * 2
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "BACKOFF", RetryPolicy(base_s=0.01, cap_s=0.05))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()


async def _fail(file: str | FileRequest, host: RecordingHost, directory: Path, **settings: object) -> Fail:
    with pytest.raises(Fail) as failure:
        await download([file], ctx=make_context(directory, host, **settings))
    assert host.files[0].state == "failed"
    assert host.files[0].error == str(failure.value)
    return failure.value


# ── the answer ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (status(404), "http_status"),
        (status(204, body=b""), "http_status"),
        (status(304, body=b""), "http_status"),
        (status(401), "http_status"),
        (raw(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nabc"), "bad_response"),
        (raw(b"HTTP/1.1 100 Go\r\n\r\n" * 11 + OK + b"Content-Length: 2\r\n\r\nno"), "bad_response"),
        (raw(b"no HTTP at all"), "bad_response"),
        (raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "bad_response"),
        (raw(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nno"), "bad_response"),
        (raw(OK + b"Content-Length: 2, 2\r\n\r\nno"), "bad_response"),
        (raw(OK + b"Content-Length: +2\r\n\r\nno"), "bad_response"),
        (raw(OK + b"Content-Length: -2\r\n\r\nno"), "bad_response"),
        (raw(OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"), "bad_response"),
        (raw(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"), "bad_response"),
        (raw(OK + b"A: b\0c\r\nContent-Length: 2\r\n\r\nno"), "bad_response"),
        (raw(OK + b"X: y\r\n" * 101 + b"Content-Length: 2\r\n\r\nno"), "bad_response"),
        (raw(OK + b"X: " + b"y" * 70_000 + b"\r\n\r\nno"), "bad_response"),
        (raw(OK + b"X: " + b"y" * 400_000 + b"\r\n\r\nno"), "bad_response"),
        (serve(CONTENT, "Content-Encoding: gzip"), "unexpected_encoding"),
        (serve(CONTENT, "Content-Encoding: gzip, br, gzip"), "unexpected_encoding"),
    ],
)
async def test_an_improper_answer_fails_the_file_and_its_body_is_never_written(
    server: FileServer, host: RecordingHost, tmp_path: Path, answer: Answer, code: str
) -> None:
    failure = await _fail(server.on("/a", answer), host, tmp_path)
    assert failure.code == code
    assert names_in(tmp_path) == []
    assert len(server.requests) == 1


async def test_a_length_that_is_too_small_is_never_read_beyond(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    await download([server.on("/a", raw(OK + b"Content-Length: 3\r\n\r\nhello"))], ctx=make_context(tmp_path, host))
    assert (tmp_path / "a").read_bytes() == b"hel"


async def test_a_body_that_ends_with_its_connection_is_taken(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    result = await download([server.on("/a", raw(OK + b"\r\nhello"))], ctx=make_context(tmp_path, host))
    assert (tmp_path / "a").read_bytes() == b"hello"
    assert result["files"][0]["verified_by"] == "unverified"


async def test_an_endless_body_is_stopped_at_the_files_own_limit(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    file = FileRequest(url=server.on("/a", endless), max_bytes=1_000_000)
    failure = await _fail(file, host, tmp_path)
    assert failure.code == "too_large"
    assert "1,000,000 bytes" in str(failure)
    assert names_in(tmp_path) == []


async def test_a_file_announced_as_too_large_is_refused_before_its_first_byte(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    failure = await _fail(server.on("/a", serve(CONTENT)), host, tmp_path, max_bytes=len(CONTENT) - 1)
    assert failure.code == "too_large"
    assert all(row.received_bytes == 0 for row in host.rows)


async def test_an_error_of_the_moment_is_tried_again(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    url = server.on("/a", status(503), status(429), status(500), serve(CONTENT))
    await download([url], ctx=make_context(tmp_path, host))
    assert len(server.requests) == 4


async def test_an_error_that_stays_is_given_up(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    assert str(await _fail(server.on("/a", status(502)), host, tmp_path)) == "HTTP 502 from 127.0.0.1"
    assert len(server.requests) == budget.TRIES


async def test_a_server_that_asks_for_time_gets_it(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    url = server.on("/a", status(503, "Retry-After: 1"), serve(CONTENT))
    began_at = asyncio.get_running_loop().time()
    await download([url], ctx=make_context(tmp_path, host))
    assert asyncio.get_running_loop().time() - began_at >= 1


async def test_an_address_that_refuses_or_has_no_name_fails_within_ten_seconds(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    with refusing_port() as port:
        urls = [f"http://127.0.0.1:{port}/a", "http://no-such-name.invalid/b", server.on("/c", serve(CONTENT))]
        began_at = asyncio.get_running_loop().time()
        result = await download(urls, ctx=make_context(tmp_path, host))
        assert asyncio.get_running_loop().time() - began_at < 10
    refused, unknown, there = result["files"]
    assert refused["error"] == "127.0.0.1 refused the connection"
    assert "no-such-name.invalid" in unknown["error"]
    assert "error" not in there


# ── secrets ────────────────────────────────────────────────────────


async def test_a_password_in_a_url_is_refused_and_shown_nowhere(host: RecordingHost, tmp_path: Path) -> None:
    failure = await _fail("http://user:s3cret@127.0.0.1/a", host, tmp_path)
    assert failure.code == "url_not_allowed"
    assert host.files[0].url == "http://***@127.0.0.1/a"
    assert "s3cret" not in repr((host.rows, str(failure)))


async def test_what_is_kept_on_disk_tells_no_secrets(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    url = server.on("/a?signature=s3cret", serve(CONTENT, cut=10))
    with pytest.raises(Fail):
        await download([url], {"Authorization": "s3cret"}, ctx=make_context(tmp_path, host))
    assert names_in(tmp_path) == [".a.part.json", "a.part"]
    assert b"s3cret" not in (tmp_path / ".a.part.json").read_bytes()


# ── the disk ───────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["file", "symlink", "directory"])
async def test_what_has_the_name_already_is_never_replaced(
    server: FileServer, host: RecordingHost, tmp_path: Path, kind: str
) -> None:
    directory, outside = tmp_path / "task", tmp_path / "outside"
    directory.mkdir()
    outside.write_bytes(b"mine")
    match kind:
        case "file":
            (directory / "a").write_bytes(b"mine")
        case "symlink":
            (directory / "a").symlink_to(outside)
        case _:
            (directory / "a").mkdir()
    failure = await _fail(server.on("/a", serve(CONTENT)), host, directory)
    assert failure.code == "file_exists"
    assert outside.read_bytes() == b"mine"
    if kind != "directory":
        assert (directory / "a").read_bytes() == b"mine"


async def test_a_link_in_the_place_of_the_part_is_not_followed(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    directory, outside = tmp_path / "task", tmp_path / "outside"
    directory.mkdir()
    outside.write_bytes(b"mine")
    (directory / "a.part").symlink_to(outside)
    (directory / ".a.part.json").symlink_to(outside)
    await download([server.on("/a", serve(CONTENT))], ctx=make_context(directory, host))
    assert outside.read_bytes() == b"mine"
    assert names_in(directory) == ["a"]


async def test_a_file_that_does_not_fit_is_refused_before_its_first_byte(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    failure = await _fail(server.on("/a", serve(CONTENT)), host, tmp_path, floor_bytes=1 << 60)
    assert failure.code == "no_space"
    assert "downloads.floor_bytes" in str(failure)
    assert names_in(tmp_path) == []


async def test_a_disk_that_fills_up_meanwhile_ends_the_file_and_keeps_what_is_there(
    server: FileServer, host: RecordingHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = iter([1 << 40])
    monkeypatch.setattr(Folder, "free_bytes", lambda _: next(free, 0))
    content = CONTENT * 8
    failure = await _fail(server.on("/a", serve(content)), host, tmp_path, floor_bytes=1)
    assert failure.code == "no_space"
    assert 0 < (tmp_path / "a.part").stat().st_size < len(content)
    assert not (tmp_path / "a").exists()


async def test_a_write_that_fails_ends_the_file_and_publishes_nothing(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) // 2, before[1]))
    try:
        failure = await _fail(server.on("/a", serve(CONTENT)), host, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (failure.code, str(failure)) == ("no_space", "no space is left on the disk")
    assert not (tmp_path / "a").exists()
    await download([server.url("/a")], ctx=make_context(tmp_path, RecordingHost()))
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_an_error_of_the_disk_at_the_end_publishes_nothing(
    server: FileServer, host: RecordingHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("windlass.handlers.download.sink.os.fsync", broken)
    failure = await _fail(server.on("/a", serve(CONTENT)), host, tmp_path)
    assert (failure.code, str(failure)) == ("disk_error", "the file could not be written: Input/output error")
    assert not (tmp_path / "a").exists()


async def test_a_directory_that_vanishes_ends_the_file(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    directory = tmp_path / "task"

    def vanish(connection: object, request: object) -> None:
        directory.rmdir()
        connection.sendall(head(200, "Content-Length: 2") + b"no")  # type: ignore[attr-defined]

    failure = await _fail(server.on("/a", vanish), host, directory)
    assert failure.code == "disk_error"
