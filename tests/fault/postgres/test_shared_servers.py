"""Several real servers on one database: one is killed, one is frozen, and what each has for itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from handlers_zoo import ZOO
from live import LiveServer, command_of, is_alive, living, until
from postgres import database

TTL_S = 3.0
SETTINGS = {"WINDLASS_LEASE__TTL_S": str(TTL_S), "WINDLASS_LEASE__MARGIN_S": "0.5"}

LEAVES_A_FILE = """
@app.task()
def leaves_a_file(*, ctx: windlass.Context) -> None:
    (ctx.directory / "report.csv").write_text("a,b")
"""

Start = Callable[..., LiveServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give what starts one more server on a fresh database, with a data directory of its own."""
    servers: list[LiveServer] = []
    with database() as url, contextlib.ExitStack() as ends:

        def start(*, wait: bool = True, **settings: str) -> LiveServer:
            directory = tmp_path / f"server{len(servers)}"
            directory.mkdir()
            (directory / "tasks.py").write_text(ZOO + LEAVES_A_FILE)
            server = LiveServer(directory, "tasks:app", database=url, **SETTINGS, **settings)
            servers.append(server)
            ends.callback(_end, server)
            return server.start(wait=wait)

        yield start


def _end(server: LiveServer) -> None:
    if server.process is not None and server.process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGCONT)
        server.process.kill()
        server.process.wait()


def running_groups(server: LiveServer) -> list[int]:
    """Name the process groups in which the app of a server runs."""
    return [pid for pid in server.workers() if "tasks:app" in command_of(pid)]


def with_progress(server: LiveServer, task: dict[str, Any]) -> dict[str, Any]:
    return until(lambda: now if (now := server.get(task))["progress"] else None, "the handler has begun")


@pytest.mark.timeout(90)
def test_tasks_of_a_server_that_is_killed_run_at_another_within_the_lease_and_five_seconds(start: Start) -> None:
    first = start()
    tasks = [first.submit("sleep", {"seconds": 600}) for _ in range(20)]
    for task in tasks:
        first.wait(task, "running")
    second = start()
    first.kill()
    began_at = time.monotonic()
    for task in tasks:
        until(lambda task=task: second.get(task)["attempt"] == 2, "the task runs again", log=second.log)
    assert time.monotonic() - began_at < TTL_S + 5.0
    for task in tasks:
        now = second.get(task)
        assert (now["state"], now["charged"]) == ("running", 1)


@pytest.mark.timeout(90)
def test_a_frozen_server_that_thaws_changes_nothing_and_its_handlers_die_at_once(start: Start) -> None:
    frozen = start()
    shared, solo = frozen.submit("sleep", {"seconds": 600}), frozen.submit("sleep_blocking", {"seconds": 600})
    for task in (shared, solo):
        frozen.wait(task, "running")
    with_progress(frozen, shared)
    other = start()
    groups = running_groups(frozen)
    assert len(groups) >= 2
    os.kill(frozen.pid, signal.SIGSTOP)
    for task in (shared, solo):
        until(lambda task=task: other.get(task)["attempt"] == 2, "another server has taken over", log=other.log)
    before = [other.get(task) for task in (shared, solo)]
    assert living(groups), "nobody but their server can end its workers"
    os.kill(frozen.pid, signal.SIGCONT)
    began_at = time.monotonic()
    until(lambda: not living(groups), "the handlers are gone", log=frozen.log)
    assert time.monotonic() - began_at < 1.0
    until(frozen.is_ready, "the server is back", log=frozen.log)
    enrolled = [line for line in frozen.lines() if line["event"] == "server.enrolled"]
    assert enrolled
    assert is_alive(frozen.pid)
    for task, was in zip((shared, solo), before, strict=True):
        now = other.get(task)
        assert (now["state"], now["attempt"], now["charged"]) == ("running", was["attempt"], was["charged"])
    hello = frozen.submit("hello", {"name": "again"})
    assert frozen.wait(hello)["state"] == "succeeded"


@pytest.mark.timeout(90)
def test_a_server_that_stops_leaves_its_lease_and_its_tasks_to_others_at_once(start: Start) -> None:
    first = start(WINDLASS_STOP_S="1")
    task = first.submit("sleep", {"seconds": 600})
    first.wait(task, "running")
    second = start()
    began_at = time.monotonic()
    assert first.stop() == 0
    until(lambda: second.get(task)["attempt"] == 2, "the task runs again", log=second.log)
    assert time.monotonic() - began_at < TTL_S


@pytest.mark.timeout(90)
def test_one_server_takes_and_the_other_runs(start: Start) -> None:
    front = start(WINDLASS_WITH_WORKERS="false")
    assert not front.workers()
    back = start(wait=False, WINDLASS_WITH_HTTP="false")
    until(lambda: front.request("GET", "/v1/kinds")[1].get("kinds"), "the kinds are known", log=back.log)

    def knows_the_app() -> bool:
        return any(kind["name"] == "hello" for kind in front.request("GET", "/v1/kinds")[1]["kinds"])

    until(knows_the_app, "the app's kinds are known", log=back.log)
    task = front.submit("hello", {"name": "you"})
    assert front.wait(task)["state"] == "succeeded"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", back.port), timeout=1)
    assert back.stop() == 0
    assert front.stop() == 0


def test_a_server_with_neither_role_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "windlass", "serve", "--no-http", "--no-workers", "--data", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode != 0
    assert "does nothing" in ended.stderr


@pytest.mark.timeout(90)
def test_a_file_lies_with_the_server_that_made_it_unless_all_share_one_directory(start: Start, tmp_path: Path) -> None:
    shared = {"WINDLASS_FILES": str(tmp_path / "shared")}
    first, second = start(**shared), start(WINDLASS_WITH_WORKERS="false", **shared)
    third = start(WINDLASS_WITH_WORKERS="false")
    task = first.submit("leaves_a_file")
    assert first.wait(task)["state"] == "succeeded"
    path = f"/v1/tasks/{task['id']}/files/report.csv"
    assert (first.request("GET", path), second.request("GET", path)) == ((200, b"a,b"), (200, b"a,b"))
    status, problem = third.request("GET", path)
    assert status == 404
    assert "WINDLASS_FILES" in problem["detail"]


@pytest.mark.timeout(90)
def test_a_key_that_one_server_has_revoked_opens_no_other(start: Start) -> None:
    first, second = start(), start()
    status, made = first.request("POST", "/v1/keys", {"name": "boss", "scopes": ["admin"]})
    assert status == 201, made
    boss = {"Authorization": f"Bearer {made['key']}"}
    status, weak = first.request("POST", "/v1/keys", {"name": "reader", "scopes": ["read"]}, **boss)
    assert status == 201, weak
    reader = {"Authorization": f"Bearer {weak['key']}"}
    until(lambda: second.request("GET", "/v1/tasks", **reader)[0] == 200, "the key opens the other", log=second.log)
    assert first.request("DELETE", f"/v1/keys/{weak['id']}", **boss)[0] in (200, 204)
    until(lambda: second.request("GET", "/v1/tasks", **reader)[0] == 401, "it does no more", log=second.log)


@pytest.mark.timeout(90)
def test_a_data_directory_has_one_server_and_a_second_one_says_so(start: Start) -> None:
    first = start()
    intruder = LiveServer(first.directory, "tasks:app", **first.settings)
    intruder.log = first.directory / "intruder.log"
    intruder.start(wait=False)
    assert intruder.process is not None
    assert intruder.process.wait(20) != 0
    assert f"belongs to process {first.pid}" in intruder.tail()
    assert "windlass@" not in intruder.tail()
    assert first.is_ready()
