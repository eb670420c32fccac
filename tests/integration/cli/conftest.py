"""The other end of the line, and ways to run a command against it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from command_runs import WINDLASS, Ended
from v1_server import V1Server

from windlass.cli.main import main
from windlass.client import Client
from windlass.telemetry import log


@pytest.fixture
def server() -> Iterator[V1Server]:
    server = V1Server()
    yield server
    server.close()


@pytest.fixture
def client(server: V1Server) -> Iterator[Client]:
    with Client(server.url) as client:
        yield client


@pytest.fixture
def run(server: V1Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run a command in this process against the server; its output goes to no terminal."""
    monkeypatch.setenv("WINDLASS_URL", server.url)

    def run_here(*words: str) -> Ended:
        log.flush()  # lines of earlier tests in this process are written aside, and a little later
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run_here


def _hear_interrupts() -> None:
    """Undo what a shell does to what it runs in the background, these tests included: it is to ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def spawn(server: V1Server) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the installed command as a process, with pipes."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [WINDLASS, *words],
            env={**os.environ, "WINDLASS_URL": server.url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_interrupts,  # noqa: PLW1509 these tests start it from their only thread
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def on_terminal(server: V1Server) -> Callable[..., tuple[int, str]]:
    """Run the installed command on a terminal of its own, 120 columns wide; both its streams come back as one text."""

    def run_there(*words: str) -> tuple[int, str]:
        leader, follower = pty.openpty()
        env = {**os.environ, "WINDLASS_URL": server.url, "COLUMNS": "120", "TERM": "xterm"}
        with subprocess.Popen([WINDLASS, *words], env=env, stdin=follower, stdout=follower, stderr=follower) as process:
            os.close(follower)
            said = b""
            while True:
                try:
                    chunk = os.read(leader, 65536)
                except OSError:  # the follower's last end is closed: the command has ended
                    break
                if not chunk:
                    break
                said += chunk
            os.close(leader)
        return process.returncode, said.decode().replace("\r\n", "\n")

    return run_there
