"""A real server as a process of its own: started, asked over HTTP, killed, started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3

from windlass.link.census import group_members

PATIENCE_S = 30.0
"""A limit on hanging, not a measure of speed."""
ENDED = ("succeeded", "failed", "cancelled")


class LiveServer:
    """`windlass serve` on a free port, with its data in `directory` and its tasks in `database`, if that is given."""

    def __init__(self, directory: Path, *apps: str, database: str | None = None, **settings: str) -> None:
        self.directory = directory
        self.apps = apps
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "server.log"
        self.settings = {"WINDLASS_OUTBOUND__ALLOW": "127.0.0.0/8", **settings}
        if database is not None:
            self.settings["WINDLASS_DATABASE"] = database
        self.pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=2, read=70))
        self.prefix: list[str] = []
        """What puts the server where it belongs, such as into a namespace."""
        self.process: subprocess.Popen[bytes] | None = None
        self.ready_after_s = 0.0

    # life ────────────────────────────────────────────────────────

    def start(self, *, wait: bool = True) -> LiveServer:
        """Start the server and wait until it is ready."""
        command = [*self.prefix, sys.executable, "-m", "windlass", "serve", *self.apps]
        command += ["--port", str(self.port), "--data", str(self.directory / "data")]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
        began_at = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.directory, env={**environ, **self.settings}, stdout=log, stderr=log
            )
        if wait:
            until(self.is_ready, "the server is ready", log=self.log)
            self.ready_after_s = time.monotonic() - began_at
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}: {self.tail()}"
        try:
            return self.request("GET", "/readyz")[0] == 200
        except urllib3.exceptions.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL, as a machine's out-of-memory killer does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.pool.clear()

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait for its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signum)
        code = self.process.wait(PATIENCE_S + 30)
        self.pool.clear()
        return code

    def tail(self) -> str:
        return self.log.read_text()[-3000:]

    def lines(self) -> list[dict[str, Any]]:
        """Give its log, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def workers(self) -> list[int]:
        """Name the worker processes that are its children."""
        return [pid for pid in children(self.pid) if "windlass.worker" in command_of(pid)]

    # requests ────────────────────────────────────────────────────

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers = {"Content-Type": "application/json", **headers}
        answer = self.pool.request(method, self.url + path, body=data, headers=headers)
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, json.loads(answer.data) if is_json and answer.data else answer.data

    def submit(self, kind: str, payload: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
        status, task = self.request("POST", "/v1/tasks", {"kind": kind, "payload": payload or {}, **options})
        assert status in (200, 202), task
        return task

    def get(self, task: dict[str, Any]) -> dict[str, Any]:
        status, now = self.request("GET", f"/v1/tasks/{task['id']}")
        assert status == 200, now
        return now

    def wait(self, task: dict[str, Any], *states: str, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until the task is in one of `states` (by default: has ended)."""
        give_up_at = time.monotonic() + timeout_s
        now = self.get(task)
        while now["state"] not in (states or ENDED):
            assert time.monotonic() < give_up_at, f"still {now['state']}: {now}\n{self.tail()}"
            assert now["state"] not in ENDED, now
            now = self.request("GET", f"/v1/tasks/{task['id']}?wait=2")[1]
        return now

    def cancel(self, task: dict[str, Any], **options: Any) -> tuple[int, dict[str, Any]]:
        return self.request("POST", f"/v1/tasks/{task['id']}/cancel", options)


@contextlib.contextmanager
def running(directory: Path, *apps: str, **settings: str) -> Iterator[LiveServer]:
    """Give a ready server, and end it, and see no process of it left."""
    server = LiveServer(directory, *apps, **settings)
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def until(holds: Any, what: str, *, timeout_s: float = PATIENCE_S, log: Path | None = None) -> Any:
    """Wait until `holds()` is true and give what it gave."""
    give_up_at = time.monotonic() + timeout_s
    while not (value := holds()):
        told = "" if log is None else log.read_text()[-3000:]
        assert time.monotonic() < give_up_at, f"waited {timeout_s:g} s until {what}\n{told}"
        time.sleep(0.01)
    return value


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def living(groups: list[int]) -> list[int]:
    """Name the living processes of process groups."""
    return [pid for group in groups for pid in group_members(group)]
