"""The processes of a bench: started on loopback, bounded in time, watched from outside, ended by their own pid.

Measures nothing by itself; reads /proc.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

ROOT: Final = Path(__file__).parents[1]
LIFE_S: Final = 600
"""LIMIT: the kernel ends whatever a bench has started after so long."""
PATIENCE_S: Final = 60.0
"""A limit on hanging, not a measure of speed."""
_STOP_S = 45.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PATH: Final = os.pathsep.join([str(ROOT), str(ROOT / "src")])
"""What is measured is the program beside this bench, whichever is installed."""

APP: Final = '''
import time

import windlass

app = windlass.App()


@app.task()
async def noop(n: int) -> int:
    """Say when it began, in nanoseconds of the machine's wall clock."""
    return time.time_ns()
'''


class BenchError(Exception):
    """A measurement that did not come about; says why."""


class Running:
    """A process, seen from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def cpu_s(self) -> float:
        """Read the processor time it has used so far, in all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_mib(self) -> float:
        """Read its resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise BenchError(f"process {self.pid} has no memory any more")

    def command(self) -> str:
        """Read its command line."""
        return Path(f"/proc/{self.pid}/cmdline").read_text().replace("\0", " ")

    def children(self) -> list[Running]:
        """Name the processes it has started."""
        pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [Running(int(pid)) for pid in pids]


class Listening(Running):
    """A process of ours that serves HTTP on a port of loopback."""

    def __init__(self, popen: subprocess.Popen[bytes], *, port: int, log: Path) -> None:
        super().__init__(popen.pid)
        self.port = port
        self._popen = popen
        self._log = log

    def check(self) -> None:
        """See that it still runs.

        Raises:
            BenchError: it has ended; shows its last words.
        """
        if self._popen.poll() is not None:
            raise BenchError(f"a server ended with {self._popen.returncode}: {self._log.read_text()[-2000:]}")


def cpu_s(processes: Iterable[Running]) -> float:
    """Read the processor time that all of them together have used so far."""
    return sum(process.cpu_s() for process in processes)


@contextlib.contextmanager
def serving(
    directory: Path,
    *,
    database: str = "sqlite",
    slots: int = 200,
    entry: Sequence[str] = ("-m", "windlass"),
    log_level: str = "info",
) -> Generator[Listening]:
    """Run `windlass serve` in `directory` with an app of one no-op handler, until the block is left."""
    (directory / "benched.py").write_text(APP)
    port = _free_port()
    command = [*entry, "serve", "benched:app", "--port", str(port), "--data", "data", "--log-level", log_level]
    settings = {"WINDLASS_WORKERS__SHARED_SLOTS": str(slots), "WINDLASS_DATABASE": database}
    with _listening(command, port, cwd=directory, settings=settings) as server:
        until(lambda: _answers(port, "/readyz"), "the server is ready", check=server.check)
        yield server


@contextlib.contextmanager
def bare_serving(directory: Path) -> Generator[Listening]:
    """Run the bare app that stores nothing, until the block is left."""
    port = _free_port()
    with _listening(["-m", "bench.bare", str(port)], port, cwd=directory, settings={}) as server:
        until(lambda: _answers(port, "/"), "the bare server answers", check=server.check)
        yield server


@contextlib.contextmanager
def _listening(command: Sequence[str], port: int, *, cwd: Path, settings: Mapping[str, str]) -> Generator[Listening]:
    log = cwd / "process.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            _bounded([sys.executable, *command]), cwd=cwd, env=_environ(settings), stdout=stream, stderr=stream
        )
    try:
        yield Listening(process, port=port, log=log)
    finally:
        _end(process)


def generate(module: str, request: msgspec.Struct) -> Any:
    """Run a load generator of ours to its end, in a process of its own, and give what it has measured.

    Raises:
        BenchError: it failed.
    """
    process = subprocess.run(
        _bounded([sys.executable, "-m", module]),
        input=msgspec.json.encode(request),
        capture_output=True,
        cwd=ROOT,
        env=_environ({}),
        check=False,
    )
    if process.returncode:
        raise BenchError(f"{module} ended with {process.returncode}: {process.stderr.decode()[-2000:]}")
    return msgspec.json.decode(process.stdout)


def until(holds: Callable[[], bool], what: str, *, check: Callable[[], None], every_s: float = 0.01) -> None:
    """Wait until `holds()`, calling `check` meanwhile.

    Raises:
        BenchError: it does not come about.
    """
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        check()
        if time.monotonic() > give_up_at:
            raise BenchError(f"waited {PATIENCE_S:g} s until {what}")
        time.sleep(every_s)


def _bounded(command: Sequence[str]) -> list[str]:
    return [sys.executable, "-S", str(ROOT / "bench" / "bounded.py"), str(LIFE_S), *command]


def _environ(settings: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")}
    return {**inherited, "PYTHONPATH": _PATH, **settings}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 300
    except OSError:
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
