"""Downloads that are broken off: what is continued, what starts again, and that no two versions are ever mixed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import msgspec
import pytest
from download_server import FileServer, RecordingHost, head, make_context, names_in, raw, serve, silent

from windlass.app.signals import Fail
from windlass.core.backoff import RetryPolicy
from windlass.core.task import FileRow
from windlass.handlers.download import budget
from windlass.handlers.download.handler import download
from windlass.handlers.download.plan import FileRequest

pytestmark = pytest.mark.anyio
CONTENT = os.urandom(3 * 1024 * 1024)
OTHER = os.urandom(3 * 1024 * 1024)
HALF = len(CONTENT) // 2


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


async def test_a_broken_connection_is_continued_where_it_broke(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    url = server.on("/a", serve(CONTENT, cut=HALF), serve(CONTENT))
    result = await download([url], ctx=make_context(tmp_path, host))
    first, second = server.requests
    assert first.get("range") is None
    assert (second.get("range"), second.get("if-range")) == (f"bytes={HALF}-", '"v1"')
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert result["files"][0]["resumed_bytes"] == HALF
    assert result["files"][0]["digest"] == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert names_in(tmp_path) == ["a"]


async def test_a_file_that_changed_starts_again(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    url = server.on("/a", serve(CONTENT, cut=HALF), serve(OTHER, etag='"v2"'))
    result = await download([url], ctx=make_context(tmp_path, host))
    assert server.requests[1].get("if-range") == '"v1"'
    assert (tmp_path / "a").read_bytes() == OTHER
    assert result["files"][0]["resumed_bytes"] == 0


async def test_a_server_that_answers_a_range_with_everything_starts_again(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    whole = raw(head(200, f"Content-Length: {len(CONTENT)}", 'ETag: "v1"'), CONTENT)
    await download([server.on("/a", serve(CONTENT, cut=HALF), whole)], ctx=make_context(tmp_path, host))
    assert server.requests[1].get("range") == f"bytes={HALF}-"
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "fields",
    [
        ('ETag: W/"v1"',),
        ("ETag: v1",),
        (),
        (f"Last-Modified: {formatdate(1_700_000_000, usegmt=True)}",),
        (f"Last-Modified: {formatdate(1_700_000_000, usegmt=True)}", f"Date: {formatdate(1_700_000_030, usegmt=True)}"),
        ('ETag: "v1"', "Accept-Ranges: none"),
    ],
    ids=["weak", "unquoted", "none", "date without now", "date too young", "ranges refused"],
)
async def test_what_cannot_be_recognised_is_never_ranged(
    server: FileServer, host: RecordingHost, tmp_path: Path, fields: tuple[str, ...]
) -> None:
    common = head(200, f"Content-Length: {len(CONTENT)}", *fields)
    url = server.on("/a", raw(common, CONTENT[:HALF]), raw(common, CONTENT))
    await download([url], ctx=make_context(tmp_path, host))
    assert [request.get("range") for request in server.requests] == [None, None]
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_an_old_modification_date_is_enough_to_continue(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    modified = formatdate(1_700_000_000, usegmt=True)
    fields = (f"Last-Modified: {modified}", f"Date: {formatdate(1_700_000_060, usegmt=True)}")
    rest = head(
        206, *fields, f"Content-Length: {HALF}", f"Content-Range: bytes {HALF}-{len(CONTENT) - 1}/{len(CONTENT)}"
    )
    url = server.on(
        "/a",
        raw(head(200, *fields, f"Content-Length: {len(CONTENT)}"), CONTENT[:HALF]),
        raw(rest, CONTENT[HALF:]),
    )
    await download([url], ctx=make_context(tmp_path, host))
    assert server.requests[1].get("if-range") == modified
    assert (tmp_path / "a").read_bytes() == CONTENT


LAST = len(CONTENT) - 1


@pytest.mark.parametrize(
    "fields",
    [
        (f"Content-Range: bytes {HALF - 1}-{LAST}/{len(CONTENT)}", 'ETag: "v1"'),
        (f"Content-Range: bytes {HALF}-{LAST + 1}/{len(CONTENT) + 1}", 'ETag: "v1"'),
        (f"Content-Range: bytes {HALF}-{LAST}/*", 'ETag: "v1"'),
        (f"Content-Range: bytes {HALF}-{LAST}/{len(CONTENT)}", 'ETag: "v2"'),
        (f"Content-Range: bytes {HALF}-{LAST}/{len(CONTENT)}",),
        ("Content-Type: multipart/byteranges; boundary=x", 'ETag: "v1"'),
        (f"Content-Range: bytes {HALF}-{LAST}/{len(CONTENT)}", 'ETag: "v1"', "Content-Length: 7"),
    ],
    ids=["start", "total", "star", "validator", "no validator", "multipart", "length"],
)
async def test_a_part_that_does_not_fit_is_thrown_away_and_everything_fetched_again(
    server: FileServer, host: RecordingHost, tmp_path: Path, fields: tuple[str, ...]
) -> None:
    url = server.on("/a", serve(CONTENT, cut=HALF), raw(head(206, *fields), OTHER[HALF:]), serve(CONTENT))
    await download([url], ctx=make_context(tmp_path, host))
    assert [request.get("range") for request in server.requests] == [None, f"bytes={HALF}-", None]
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_part_that_nobody_asked_for_is_refused(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    part = head(206, f"Content-Range: bytes 0-{LAST}/{len(CONTENT)}", 'ETag: "v1"')
    with pytest.raises(Fail, match="a part of the file when all of it was asked for"):
        await download([server.on("/a", raw(part, CONTENT))], ctx=make_context(tmp_path, host))
    assert names_in(tmp_path) == []


async def test_no_more_to_send_means_complete_when_size_and_validator_agree(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    chunk = f"{len(CONTENT):x}\r\n".encode() + CONTENT + b"\r\n"
    unfinished = raw(head(200, 'ETag: "v1"', "Transfer-Encoding: chunked"), chunk)
    result = await download([server.on("/a", unfinished, serve(CONTENT))], ctx=make_context(tmp_path, host))
    assert server.requests[1].get("range") == f"bytes={len(CONTENT)}-"
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert result["files"][0]["resumed_bytes"] == len(CONTENT)


async def test_no_more_to_send_at_another_size_starts_again(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    chunk = f"{len(CONTENT):x}\r\n".encode() + CONTENT + b"\r\n"
    unfinished = raw(head(200, 'ETag: "v1"', "Transfer-Encoding: chunked"), chunk)
    nothing = raw(head(416, 'ETag: "v1"', "Content-Range: bytes */5", "Content-Length: 0"))
    url = server.on("/a", unfinished, nothing, serve(b"12345"))
    await download([url], ctx=make_context(tmp_path, host))
    assert (tmp_path / "a").read_bytes() == b"12345"


async def test_a_wrong_digest_is_tried_once_more_and_then_nothing_is_published(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    wanted = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    file = FileRequest(url=server.on("/a", serve(OTHER)), digest=wanted)
    with pytest.raises(Fail, match="have the digest sha256:") as failure:
        await download([file], ctx=make_context(tmp_path, host))
    assert failure.value.code == "digest_mismatch"
    assert [request.get("range") for request in server.requests] == [None, None]
    assert names_in(tmp_path) == []
    server.on("/a", serve(OTHER), serve(CONTENT))
    await download([file], ctx=make_context(tmp_path, host))
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_server_that_gives_a_byte_a_try_is_given_up(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    url = server.on("/a", serve(CONTENT, cut=1))
    with pytest.raises(Fail, match="broke the connection off"):
        await download([url], ctx=make_context(tmp_path, host))
    assert len(server.requests) == budget.TRIES


async def test_a_server_that_goes_on_giving_is_asked_on(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    url = server.on("/a", serve(CONTENT, cut=len(CONTENT) // 12))
    await download([url], ctx=make_context(tmp_path, host))
    assert len(server.requests) > 2 * budget.TRIES
    assert (tmp_path / "a").read_bytes() == CONTENT


async def _break_off(server: FileServer, host: RecordingHost, directory: Path) -> None:
    """Run an attempt over /a and /b that is cancelled when /a is complete and /b half there."""
    gate = threading.Event()
    urls = [server.on("/a", serve(CONTENT)), server.on("/b", serve(CONTENT, gate=gate))]
    work = asyncio.create_task(download(urls, ctx=make_context(directory, host)))
    while (
        host.states(0)[-1:] != ["completed"] or host.reports[-1:] == [] or host.reports[-1].done < len(CONTENT) + HALF
    ):
        await asyncio.sleep(0.02)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(work, 3)
    gate.set()
    server.on("/b", serve(CONTENT))
    server.requests.clear()


@pytest.mark.parametrize("rows_survive", [True, False])
async def test_a_cancelled_attempt_is_continued_by_the_next(
    server: FileServer, host: RecordingHost, tmp_path: Path, rows_survive: bool
) -> None:
    await _break_off(server, host, tmp_path)
    assert host.states(1)[-1] == "pending"
    assert names_in(tmp_path) == [".a.part.json", ".b.part.json", "a", "b.part"]
    earlier = host.files if rows_survive else []
    urls = [server.url("/a"), server.url("/b")]
    result = await download(urls, ctx=make_context(tmp_path, RecordingHost(), files=earlier))
    (request,) = server.requests
    assert (request.path, request.get("range")) == ("/b", f"bytes={HALF}-")
    assert names_in(tmp_path) == ["a", "b"]
    assert (tmp_path / "b").read_bytes() == CONTENT
    assert [file["digest"] for file in result["files"]] == ["sha256:" + hashlib.sha256(CONTENT).hexdigest()] * 2


async def test_an_attempt_that_ended_but_was_not_recorded_fetches_nothing_again(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    url = server.on("/a", serve(CONTENT))
    first = await download([url], ctx=make_context(tmp_path, host))
    again = RecordingHost()
    second = await download([url], ctx=make_context(tmp_path, again, checkpoint=host.checkpoint))
    assert len(server.requests) == 1
    assert again.states() == ["completed"]
    assert second["files"][0]["digest"] == first["files"][0]["digest"]


async def test_a_completed_file_that_has_gone_is_fetched_again(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    url = server.on("/a", serve(CONTENT))
    await download([url], ctx=make_context(tmp_path, host))
    (tmp_path / "a").unlink()
    await download([url], ctx=make_context(tmp_path, RecordingHost(), files=host.files, checkpoint=host.checkpoint))
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_crash_right_before_the_name_is_given_is_made_good_without_a_request(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    await _break_off(server, host, tmp_path)
    (tmp_path / "a").rename(tmp_path / "a.part")
    await download([server.url("/a")], ctx=make_context(tmp_path, RecordingHost()))
    assert server.requests == []
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert not (tmp_path / "a.part").exists()


async def test_a_crash_between_the_name_and_the_unlink_is_made_good(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    await _break_off(server, host, tmp_path)
    os.link(tmp_path / "a", tmp_path / "a.part")
    await download([server.url("/a")], ctx=make_context(tmp_path, RecordingHost()))
    assert server.requests == []
    assert not (tmp_path / "a.part").exists()


@pytest.mark.parametrize("record", [b"", b"{", b"null", b'{"fingerprint": "of another url", "synced_bytes": 5}'])
async def test_a_part_without_a_record_to_trust_is_not_continued(
    server: FileServer, host: RecordingHost, tmp_path: Path, record: bytes
) -> None:
    await _break_off(server, host, tmp_path)
    (tmp_path / ".b.part.json").write_bytes(record)
    await download([server.url("/a"), server.url("/b")], ctx=make_context(tmp_path, RecordingHost()))
    (request,) = server.requests
    assert (request.path, request.get("range")) == ("/b", None)
    assert (tmp_path / "b").read_bytes() == CONTENT


async def test_bytes_behind_the_last_sync_are_not_trusted(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    await _break_off(server, host, tmp_path)
    with (tmp_path / "b.part").open("ab") as part:
        part.write(b"garbage that a crash left")
    await download([server.url("/a"), server.url("/b")], ctx=make_context(tmp_path, RecordingHost()))
    assert server.requests[0].get("range") == f"bytes={HALF}-"
    assert (tmp_path / "b").read_bytes() == CONTENT


async def test_a_silent_server_is_left_within_a_second_of_the_cancel(
    server: FileServer, host: RecordingHost, tmp_path: Path
) -> None:
    work = asyncio.create_task(download([server.on("/a", silent)], ctx=make_context(tmp_path, host)))
    while not server.requests:
        await asyncio.sleep(0.01)
    began_at = asyncio.get_running_loop().time()
    work.cancel()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert asyncio.get_running_loop().time() - began_at < 2
    assert names_in(tmp_path) == []


async def test_what_a_row_says_survives_as_it_was(server: FileServer, host: RecordingHost, tmp_path: Path) -> None:
    url = server.on("/a", serve(CONTENT))
    await download([url], ctx=make_context(tmp_path, host))
    row = msgspec.structs.replace(host.files[0], seconds=41.5, resumed_bytes=7)
    result = await download([url], ctx=make_context(tmp_path, RecordingHost(), files=[row]))
    assert (result["files"][0]["seconds"], result["files"][0]["resumed_bytes"]) == (41.5, 7)
    assert isinstance(row, FileRow)
