"""A small disk of one's own: a file system in memory, mounted for the test and its server alone."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import LiveServer

_CHUNK = 64 * 1024


class SmallDisk:
    """A mounted file system: `prefix` puts a command where it is `mounted_at`, `path` is where this process sees it."""

    def __init__(self, mounted_at: Path, path: Path, prefix: list[str]) -> None:
        self.mounted_at = mounted_at
        self.path = path
        self.prefix = prefix
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave no room, not even for a byte."""
        with self._filler.open("ab", buffering=0) as filler:
            size = _CHUNK
            while size:
                try:
                    filler.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def check(self) -> None:
        """Have `windlass check` find nothing wrong with the store on it."""
        command = [*self.prefix, sys.executable, "-m", "windlass", "check", "--data", str(self.mounted_at)]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr

    def free(self) -> None:
        """Make the room again that `fill` has taken."""
        self._filler.unlink()


@contextlib.contextmanager
def small_disk(mounted_at: Path, *, mebibytes: int, owner: int | None = None) -> Iterator[SmallDisk]:
    """Mount a file system of that size, in a namespace that ends with the block. `owner`: a user who is not to be root
    there either.
    """
    as_root = os.geteuid() == 0
    mounted_at.mkdir()
    options = f"size={mebibytes}m" if owner is None else f"size={mebibytes}m,mode=700,uid={owner},gid={owner}"
    script = f'mount -t tmpfs -o {options} small "$0" && echo mounted && exec sleep 600'
    as_whom = [] if as_root else ["-r"] if owner is None else ["--map-current-user", "--keep-caps"]
    command = ["unshare", *as_whom, "-m", "sh", "-c", script, str(mounted_at)]
    _need("unshare", "nsenter")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != b"mounted\n":
                assert holder.stderr is not None
                _cannot(f"no file system can be mounted here: {holder.stderr.read().decode().strip()}")
            enter = ["nsenter", "-t", str(holder.pid), "-m", f"--wd={mounted_at.parent}"]
            if not as_root:
                enter[3:3] = ["-U", "--preserve-credentials"]
            yield SmallDisk(mounted_at, Path(f"/proc/{holder.pid}/root{mounted_at}"), enter)
        finally:
            holder.kill()


@contextlib.contextmanager
def running_on(disk: SmallDisk, directory: Path, *apps: str, **settings: str) -> Iterator[LiveServer]:
    """Give a ready server whose data lie on `disk`, and end it."""
    server = LiveServer(directory, *apps, **settings)
    server.prefix = disk.prefix
    try:
        yield server.start()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def _need(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        _cannot(f"{' and '.join(missing)} not installed: no small disk can be made")


def _cannot(why: str) -> None:
    """Skip the test; a machine that tests every change must be able to."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
