"""A store whose file or disk is damaged: it is refused untouched, and a server that meets it acknowledges no more."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
import urllib3
from clean import assert_clean
from live import LiveServer, running, until
from syscalls import need_strace

EXIT_DAMAGED = 74
PADDING = "x" * 4_000


def submit(server: LiveServer) -> str | None:
    """Submit a task for later; give its id if it was acknowledged."""
    body = {"kind": "simulate", "payload": {"duration_s": 1}, "delay": "30d", "description": PADDING}
    try:
        status, answer = server.request("POST", "/v1/tasks", body)
    except urllib3.exceptions.HTTPError:
        return None
    return answer["id"] if status == 202 else None


def filled(server: LiveServer, tasks: int = 120) -> list[str]:
    """Store tasks that take some 100 pages."""
    ids = [submit(server) for _ in range(tasks)]
    assert None not in ids
    return [task for task in ids if task is not None]


def exit_of(server: LiveServer) -> int:
    """Start a server that will not come up, and give its exit code."""
    server.start(wait=False)
    assert server.process is not None
    return server.process.wait(30)


# ── before the start ───────────────────────────────────────────────


def overwrite(start: float, count: int) -> Callable[[Path], None]:
    """Overwrite `count` bytes from the part `start` of a file on."""

    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(int(path.stat().st_size * start) // 4096 * 4096)
            file.write(b"\xa5" * count)

    return damage


def cut_off(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // 4096 * 4096)


def cut_within_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1_000)


@pytest.mark.timeout(90)
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(overwrite(0.0, 16), id="header"),
        pytest.param(overwrite(0.0, 4096), id="first page"),
        pytest.param(overwrite(0.5, 4096), id="page in the middle"),
        pytest.param(cut_off, id="half of the file"),
        pytest.param(cut_within_a_page, id="end of the file"),
        pytest.param(Path.unlink, id="all of the file"),
    ],
)
def test_a_server_does_not_start_on_a_damaged_file_and_leaves_it_as_it_is(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    database = tmp_path / "data" / "windlass.db"
    with running(tmp_path) as server:
        filled(server)
        assert server.stop() == 0
        assert_clean(database.parent)
        damage(database)
        before = database.read_bytes() if database.exists() else None
        assert exit_of(server) == EXIT_DAMAGED
        assert (database.read_bytes() if database.exists() else None) == before
        last = server.tail().splitlines()[-1]
        assert "ouched" in last
        assert "backup" in last


# ── while it runs ──────────────────────────────────────────────────


def worst_of(server: LiveServer) -> int:
    """Read and write until the server has ended; give its exit code."""
    assert server.process is not None
    process = server.process

    def has_ended() -> bool:
        cursor = ""
        try:
            while process.poll() is None:
                page = server.request("GET", f"/v1/tasks?limit=100{cursor}")[1]
                if not isinstance(page, dict) or not page.get("next"):
                    break
                cursor = f"&cursor={page['next']}"
        except urllib3.exceptions.HTTPError:
            pass
        return process.poll() is not None

    until(has_ended, "the server has ended", log=server.log)
    return process.returncode


@pytest.mark.timeout(90)
def test_a_server_that_meets_a_damaged_page_stops_with_a_code_of_its_own(tmp_path: Path) -> None:
    database = tmp_path / "data" / "windlass.db"
    with running(tmp_path) as server:
        filled(server)
        assert server.stop() == 0
        server.start()
        raw = database.read_bytes()
        with database.open("r+b") as file:
            file.seek(8 * 4096)
            file.write(b"\xa5" * (len(raw) - 8 * 4096))
        assert worst_of(server) == EXIT_DAMAGED


@contextmanager
def failing(server: LiveServer, call: str, path: Path) -> Iterator[None]:
    """Have every `call` of a running server on `path` fail, as on a disk that dies."""
    command = ["strace", "-f", "-p", str(server.pid), "-P", str(path), "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:error=EIO", "-o", "/dev/null"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
        try:
            assert tracer.stderr is not None
            until(lambda: b"attached" in tracer.stderr.readline(), "the tracer is there")
            yield
        finally:
            tracer.terminate()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
def test_after_the_first_write_that_fails_nothing_is_acknowledged_any_more(tmp_path: Path, call: str) -> None:
    need_strace()
    data = (tmp_path / "data").resolve()
    with running(tmp_path) as server:
        acknowledged = filled(server, 20)
        with failing(server, call, data / "windlass.db-wal"):
            assert [submit(server) for _ in range(5)] == [None] * 5
            assert server.process is not None
            assert server.process.wait(30) == EXIT_DAMAGED
        server.start()
        assert all(server.request("GET", f"/v1/tasks/{task}")[0] == 200 for task in acknowledged)
        assert server.stop() == 0
        assert_clean(data)


@pytest.mark.timeout(120)
def test_a_read_that_fails_is_answered_with_no_guess_and_ends_the_server(tmp_path: Path) -> None:
    need_strace()
    data = (tmp_path / "data").resolve()
    with running(tmp_path) as server:
        filled(server)
        assert server.stop() == 0
        server.start()
        with failing(server, "pread64", data / "windlass.db"):
            assert worst_of(server) == EXIT_DAMAGED
        server.start()
        assert server.stop() == 0
        assert_clean(data)


# ── others at the same file ────────────────────────────────────────


@pytest.mark.timeout(90)
def test_a_second_server_on_the_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        second = LiveServer(tmp_path)
        second.log = tmp_path / "second.log"
        assert exit_of(second) == 1
        assert f"belongs to process {server.pid}, which is running" in second.tail()
        task = server.submit("simulate", {"duration_s": 0})
        assert server.wait(task)["state"] == "succeeded"


@pytest.mark.timeout(90)
def test_a_lock_that_another_program_keeps_holds_submits_up_but_not_for_ever(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        task = server.submit("simulate", {"duration_s": 1})
        server.wait(task, "running", "succeeded")
        with closing(apsw.Connection(str(tmp_path / "data" / "windlass.db"))) as other:
            other.set_busy_timeout(20_000)  # the server itself may be writing just now
            other.execute("BEGIN IMMEDIATE")
            answer = server.pool.request(
                "POST", f"{server.url}/v1/tasks", json={"kind": "simulate", "payload": {}}, timeout=60
            )
            problem: dict[str, Any] = answer.json()
            assert (answer.status, problem["code"], problem["stored"]) == (503, "store_unavailable", "no")
            assert int(answer.headers["Retry-After"]) >= 1
            assert server.request("GET", "/healthz")[0] == 200
            other.execute("ROLLBACK")
        assert server.wait(task)["attempt"] == 1
        late = server.submit("simulate", {"duration_s": 0})
        assert server.wait(late)["state"] == "succeeded"
        until(lambda: server.request("GET", "/readyz")[0] == 200, "the server is ready again")
        assert server.stop() == 0
        assert_clean(tmp_path / "data")
