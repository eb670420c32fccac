"""A worker that dies at any instant: nothing visible or the whole file, and the next attempt makes it good."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from download_server import LOOPBACK, FileServer, names_in, serve

from windlass.config.schema import Downloads
from windlass.handlers.download import folder as folder_module
from windlass.handlers.download import sink as sink_module
from windlass.handlers.download.folder import Folder
from windlass.handlers.download.plan import plan_files
from windlass.handlers.download.transfer import FileTransfer
from windlass.outbound.failure import TransferFailed
from windlass.outbound.guard import Guard
from windlass.outbound.transport import Limits, Transport

CONTENT = os.urandom(1_500_000)
STEPS = ("open", "write", "fdatasync", "fsync", "rename", "link", "unlink", "ftruncate")


class Crash(BaseException):
    """The end of the process, as far as the code that meets it can tell."""


class Disk:
    """The `os` module, which counts and remembers what is done to the disk and dies before step number `last`."""

    def __init__(self, last: int | None = None) -> None:
        self.steps: list[tuple[str, Any]] = []
        self._last = last

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return self._counted(name, real) if name in STEPS else real

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(self.steps) == self._last:
                raise Crash
            self.steps.append((name, args[0]))
            return real(*args, **kwargs)

        return call


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_module, "SYNC_BYTES", 400_000)


def attempt(server: FileServer, directory: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run one attempt on the disk given."""
    with monkeypatch.context() as patch, Folder(directory) as folder:
        patch.setattr(folder_module, "os", disk)
        patch.setattr(sink_module, "os", disk)
        FileTransfer(
            plan_files([server.url("/a")])[0],
            folder=folder,
            transport=Transport(Guard(LOOPBACK), Limits()),
            settings=Downloads(floor_bytes=0),
        ).run()


def visible(directory: Path) -> bytes | None:
    path = directory / "a"
    return path.read_bytes() if path.exists() else None


def count_steps(server: FileServer, directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    directory.mkdir()
    disk = Disk()
    attempt(server, directory, disk, monkeypatch)
    return disk.steps


def test_a_crash_at_any_step_leaves_nothing_visible_or_the_whole_file(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("/a", serve(CONTENT))
    steps = count_steps(server, tmp_path / "whole", monkeypatch)
    assert len(steps) > 20
    for last in range(len(steps)):
        directory = tmp_path / str(last)
        directory.mkdir()
        with pytest.raises(Crash):
            attempt(server, directory, Disk(last), monkeypatch)
        assert visible(directory) in (None, CONTENT), last
        attempt(server, directory, Disk(), monkeypatch)
        assert visible(directory) == CONTENT, last
        assert names_in(directory) == [".a.part.json", "a"], last


def test_a_crash_of_the_attempt_that_makes_good_is_made_good_too(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("/a", serve(CONTENT, cut=1_000_000))
    tmp_path.joinpath("half").mkdir()
    disk = Disk()
    with pytest.raises(TransferFailed, match="broke the connection off"):
        attempt(server, tmp_path / "half", disk, monkeypatch)
    server.on("/a", serve(CONTENT))
    for last in range(40):
        directory = tmp_path / str(last)
        directory.mkdir()
        for name in names_in(tmp_path / "half"):
            (directory / name).write_bytes((tmp_path / "half" / name).read_bytes())
        try:
            attempt(server, directory, Disk(last), monkeypatch)
        except Crash:
            attempt(server, directory, Disk(), monkeypatch)
        else:
            break
        assert visible(directory) == CONTENT, last
    assert last > 10


def test_a_record_is_written_only_behind_the_bytes_it_speaks_of(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("/a", serve(CONTENT))
    names = [name for name, _ in count_steps(server, tmp_path / "a", monkeypatch)]
    written = -1
    for at, name in enumerate(names):
        if name == "rename":
            assert {"fdatasync", "fsync"} & set(names[written + 1 : at]), names
            written = at
    record = ["unlink", "open", "write", "fsync", "rename", "fsync"]
    assert names[-10:] == ["fsync", *record, "link", "unlink", "fsync"]
