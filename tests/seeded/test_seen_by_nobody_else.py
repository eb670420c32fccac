"""What a bug of the bank breaks and no other test has seen."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
from download_server import FileServer, RecordingHost, head, make_context, raw, serve
from handlers_zoo import ZOO
from live import children, command_of, is_alive, running, until
from store_cases import ALL, Bench, database_of
from store_ids import SeededIds

from windlass.contracts.tasks import Applied, Replay, Submit
from windlass.core.backoff import RetryPolicy
from windlass.core.query import TaskQuery
from windlass.errors import StoreCorrupt, StoreError
from windlass.handlers.download import budget
from windlass.handlers.download.handler import download
from windlass.store.lock import DirectoryLock
from windlass.store.open import open_store
from windlass.store.sqlite import connections
from windlass.store.sqlite.connections import open_writer, transaction

pytestmark = pytest.mark.anyio


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    ids = SeededIds()
    bench = Bench(await open_store("sqlite", data=tmp_path, ids=ids), ids)
    yield bench
    await bench.store.close()


async def break_at(bench: Bench, beginning: str) -> None:
    """Make every statement fail that begins so."""

    def trace(cursor: Any, text: str, values: Any) -> bool:
        if text.strip().startswith(beginning):
            raise apsw.exception_for(apsw.SQLITE_ERROR)
        return True

    def set_trace(connection: Any) -> None:
        connection.exec_trace = trace

    await database_of(bench).write(set_trace)


@pytest.mark.parametrize("beginning", ["INSERT INTO events", "UPDATE tasks SET state = 'running'"])
async def test_a_turn_that_fails_late_leaves_nothing(bench: Bench, beginning: str) -> None:
    await break_at(bench, beginning)
    with pytest.raises(StoreError):
        await bench.turn(Submit(bench.new()), slots=ALL)
    assert (await bench.store.tasks.page(TaskQuery())).tasks == []
    assert await bench.store.events.log() == []


async def test_a_task_that_is_due_takes_no_other_along(bench: Bench) -> None:
    due, later = await bench.submit(delay_s=10.0), await bench.submit(delay_s=40.0)
    bench.pass_time(10.0)
    assert [claimed.task.number for claimed in await bench.claim()] == [due.number]
    bench.pass_time(30.0)
    assert [claimed.task.number for claimed in await bench.claim()] == [later.number]


async def test_an_idempotency_key_is_its_callers_own(bench: Bench) -> None:
    until = bench.now + timedelta(hours=1)
    for caller in ("one", "another"):
        result = await bench.write(Submit(bench.new(), Replay(caller, "the same", b"f" * 32, until)))
        assert isinstance(result, Applied)
        assert (result.created, result.replayed) == (True, False)


def test_a_transaction_has_its_lock_before_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with closing(open_writer(path)) as first, closing(open_writer(path)) as second:
        second.set_busy_timeout(0)
        with transaction(first), pytest.raises(apsw.BusyError), transaction(second):
            pass


async def test_a_directory_that_cannot_be_synced_keeps_the_store_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(connections.os, "fsync", fail)
    with pytest.raises(StoreCorrupt, match="cannot be synced"):
        await open_store("sqlite", data=tmp_path, ids=SeededIds())


def test_a_released_directory_is_free_though_a_copy_of_its_lock_is_open(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    copy = os.dup(lock._file)  # as a process has that is being spawned, until it is another program
    try:
        lock.release()
        DirectoryLock(tmp_path).release()
    finally:
        os.close(copy)


async def test_a_rest_that_ends_early_and_gave_no_length_is_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "BACKOFF", RetryPolicy(base_s=0.01, cap_s=0.05))
    content = os.urandom(2_000_000)
    half, last = len(content) // 2, len(content) - 1
    with FileServer() as server:
        rest = head(206, f"Content-Range: bytes {half}-{last}/{len(content)}", 'ETag: "v1"')
        url = server.on("/a", serve(content, cut=half), raw(rest, content[half:-1_000]), serve(content))
        await download([url], ctx=make_context(tmp_path, RecordingHost()))
        assert [request.get("range") for request in server.requests][1:] == [f"bytes={half}-", f"bytes={last - 999}-"]
    assert (tmp_path / "a").read_bytes() == content


@pytest.mark.timeout(60)
def test_a_worker_that_hears_nothing_dies_with_its_server(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(ZOO)
    with running(tmp_path, "tasks:app") as server:
        (worker, *_) = until(server.workers, "a worker is there")
        guardians = [pid for pid in children(server.pid) if "guardian" in command_of(pid)]
        os.kill(worker, signal.SIGSTOP)
        for guardian in guardians:
            os.kill(guardian, signal.SIGKILL)
            until(lambda pid=guardian: not is_alive(pid), "the guardian is gone")
        server.kill()
        try:
            until(lambda: not is_alive(worker), "the worker is gone", timeout_s=5.0)
        finally:
            if is_alive(worker):
                os.kill(worker, signal.SIGKILL)
