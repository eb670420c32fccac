"""Downloads that go well: names, rows, progress, results, checks, limits of a polite server."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from download_server import FileServer, RecordingHost, make_context, names_in, redirect, serve, status

from windlass.app.signals import Fail
from windlass.handlers.app import app
from windlass.handlers.download.handler import download
from windlass.handlers.download.plan import FileRequest

pytestmark = pytest.mark.anyio
CONTENT = bytes(range(256)) * 4096
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def host() -> RecordingHost:
    return RecordingHost()


async def test_a_file_lands_whole_under_its_name_and_nothing_else_is_left(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    url = server.on("/pub/a%20file.iso?token=1", serve(CONTENT))
    result = await download([url], ctx=make_context(tmp_path / "task", host))
    directory = tmp_path / "task"
    assert names_in(directory) == ["a file.iso"]
    assert (directory / "a file.iso").read_bytes() == CONTENT
    assert (directory / "a file.iso").stat().st_mode & 0o777 == 0o600
    (entry,) = result["files"]
    assert entry.pop("seconds") > 0
    assert entry == {
        "url": url,
        "name": "a file.iso",
        "path": str(directory / "a file.iso"),
        "size_bytes": len(CONTENT),
        "digest": SHA256,
        "verified_by": "unverified",
        "resumed_bytes": 0,
        "connections": 1,
    }


async def test_a_request_is_plain_and_carries_the_callers_headers(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    url = server.on("/a", serve(CONTENT))
    await download([url], {"Authorization": "Bearer s3cret", "User-Agent": "mine"}, ctx=make_context(tmp_path, host))
    (request,) = server.requests
    assert request.get("authorization") == "Bearer s3cret"
    assert request.get("user-agent") == "mine"
    assert request.get("accept-encoding") == "identity"
    assert not {"range", "if-range", "cookie", "referer", "proxy-connection"} & set(request.headers)


async def test_rows_go_from_pending_over_running_to_completed(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    urls = [server.on("/a", serve(CONTENT)), server.on("/b", status(404))]
    await download(urls, ctx=make_context(tmp_path, host))
    assert host.states(0) == ["pending", "running", "completed"]
    assert host.states(1) == ["pending", "running", "failed"]
    done = host.files[0]
    assert (done.name, done.received_bytes, done.size_bytes, done.digest) == ("a", len(CONTENT), len(CONTENT), SHA256)
    assert host.files[1].error == "HTTP 404 from 127.0.0.1"


async def test_progress_counts_the_bytes_of_all_files(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    urls = [server.on(path, serve(CONTENT)) for path in ("/a", "/b")]
    await download(urls, ctx=make_context(tmp_path, host))
    last = host.reports[-1]
    assert (last.done, last.total, last.unit) == (2 * len(CONTENT), 2 * len(CONTENT), "bytes")


async def test_rows_and_progress_move_and_the_loop_turns_while_bytes_come_in(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    gate = threading.Event()
    url = server.on("/a", serve(CONTENT, gate=gate))
    work = asyncio.create_task(download([url], ctx=make_context(tmp_path, host)))
    half = len(CONTENT) // 2
    while not any(row.state == "running" and row.received_bytes == half for row in host.rows):
        await asyncio.sleep(0.02)
    while not any(report.done == half and report.total == len(CONTENT) for report in host.reports):
        await asyncio.sleep(0.02)
    gate.set()
    await work
    assert len(host.rows) < 30


async def test_one_files_failure_does_not_stop_the_others(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    urls = [server.on("/gone", status(404)), "http:// nonsense", server.on("/a", serve(CONTENT))]
    result = await download(urls, ctx=make_context(tmp_path, host))
    gone, nonsense, there = result["files"]
    assert (gone["error"], gone["path"]) == ("HTTP 404 from 127.0.0.1", None)
    assert "the url holds a space" in nonsense["error"]
    assert "error" not in there
    assert names_in(tmp_path) == ["a"]


async def test_the_task_fails_when_no_file_could_be_had(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    with pytest.raises(Fail, match=r"^HTTP 410 from 127\.0\.0\.1$") as failure:
        await download([server.on("/a", status(410))], ctx=make_context(tmp_path, host))
    assert failure.value.code == "http_status"
    with pytest.raises(Fail, match=r"^none of 2 files could be had: HTTP 410"):
        await download([server.url("/a"), server.url("/a")], ctx=make_context(tmp_path, host))


async def test_with_on_error_stop_the_first_failure_ends_the_task(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    gate = threading.Event()
    urls = [server.on("/slow", serve(CONTENT, gate=gate)), server.on("/gone", status(404))]
    with pytest.raises(Fail, match="HTTP 404"):
        await download(urls, on_error="stop", ctx=make_context(tmp_path, host))
    gate.set()
    assert host.states(0)[-1] == "pending"


async def test_two_files_of_one_name_are_both_kept(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    urls = [server.on("/1/a.iso", serve(b"one")), server.on("/2/A.iso", serve(b"two")), server.url("/1/a.iso")]
    await download(urls, ctx=make_context(tmp_path, host))
    assert {name: (tmp_path / name).read_bytes() for name in names_in(tmp_path)} == {
        "a.iso": b"one",
        "A (1).iso": b"two",
        "a (2).iso": b"one",
    }


async def test_an_empty_file_is_a_file(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    result = await download([server.on("/empty", serve(b""))], ctx=make_context(tmp_path, host))
    assert result["files"][0]["size_bytes"] == 0
    assert names_in(tmp_path) == ["empty"]


async def test_a_digest_is_checked_in_the_callers_algorithm(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    md5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
    file = FileRequest(url=server.on("/a", serve(CONTENT)), digest=md5.upper().replace("MD5", "md5"))
    result = await download([file], ctx=make_context(tmp_path, host))
    assert (result["files"][0]["digest"], result["files"][0]["verified_by"]) == (md5, "caller")


async def test_a_digest_that_the_server_gives_is_checked(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    right = b64encode(hashlib.sha256(CONTENT).digest()).decode()
    wrong = b64encode(hashlib.sha256(b"other").digest()).decode()
    urls = [
        server.on("/right", serve(CONTENT, f"Repr-Digest: sha-256=:{right}:")),
        server.on("/wrong", serve(CONTENT, f"Repr-Digest: sha-256=:{wrong}:")),
    ]
    result = await download(urls, ctx=make_context(tmp_path, host))
    assert result["files"][0]["verified_by"] == "repr-digest"
    assert "have the digest sha256:" in result["files"][1]["error"]


async def test_a_redirect_is_followed_and_the_name_stays_the_callers(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    server.on("/real/target", serve(CONTENT))
    server.on("/hop", redirect("../real/target", 307))
    url = server.on("/named.iso", redirect(server.url("/hop")))
    await download([url], {"Authorization": "same origin"}, ctx=make_context(tmp_path, host))
    assert names_in(tmp_path) == ["named.iso"]
    assert [request.get("authorization") for request in server.requests] == ["same origin"] * 3


async def test_only_so_many_files_are_fetched_at_once_over_all_tasks(server: FileServer, tmp_path: Path) -> None:
    gate = threading.Event()
    urls = [server.on(f"/{number}", serve(CONTENT, gate=gate)) for number in range(6)]
    hosts = [RecordingHost(), RecordingHost()]
    tasks = [
        asyncio.create_task(download(urls[at::2], ctx=make_context(tmp_path / str(at), host, files_at_once=2)))
        for at, host in enumerate(hosts)
    ]
    while len(server.requests) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert len(server.requests) == 2
    gate.set()
    await asyncio.gather(*tasks)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b'{"files": []}',
        b'{"files": [""]}',
        b'{"files": [7]}',
        b'{"files": ["http://a/"], "rate_per_s": 1}',
        b'{"files": [{"url": "http://a/", "mirrors": []}]}',
        b'{"files": [{"url": "http://a/", "digest": "sha256:12"}]}',
        b'{"files": [{"url": "http://a/", "max_bytes": 0}]}',
        b'{"files": ["http://a/"], "on_error": "ignore"}',
    ],
)
async def test_a_payload_that_is_not_understood_is_refused(payload: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        app.handlers["download"].signature.decode(payload)


async def test_headers_that_are_the_connections_own_are_refused(host: RecordingHost, tmp_path: Path) -> None:
    for name in ("Host", "range", "If-Match", "Proxy-Authorization", "Accept-Encoding", "bad name"):
        with pytest.raises(Fail) as failure:
            await download(["http://a/"], {name: "s3cret"}, ctx=make_context(tmp_path, host))
        assert failure.value.code == "header_not_allowed"
        assert "s3cret" not in str(failure.value)
    with pytest.raises(Fail, match="printable ASCII"):
        await download(["http://a/"], {"X-Own": "a\r\nHost: b"}, ctx=make_context(tmp_path, host))
