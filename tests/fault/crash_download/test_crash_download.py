"""A download whose process is killed, or whose disk fails, at every single call: nothing visible, or the whole file."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from crash_transfer import EXIT_FAILED, fetch
from download_server import FileServer, names_in, serve
from rotation import share
from syscalls import KILLED, Fault, Spot, need_strace, run_into, spots_of

PROGRAM = Path(__file__).with_name("crash_transfer.py")
CONTENT = os.urandom(1_000_000)
EIO, NO_SPACE = Fault("EIO"), Fault("ENOSPC")
MENDED = ("unlinkat", "unlink")
"""What may fail unseen: a draft or a part that is left over is taken away by the next attempt."""
SHARES = 6


class Fetching:
    """Attempts at one file, each in a directory of its own; one that nothing befell names the spots."""

    def __init__(self, server: FileServer, home: Path) -> None:
        need_strace()
        self._url = server.on("/a", serve(CONTENT))
        self._home = home.resolve()
        self._numbers = itertools.count()
        self._whole = self._directory()
        self.spots = spots_of(self._command(self._whole), under=[self._whole], log=self._log)
        assert (self._whole / "a").read_bytes() == CONTENT

    def meets(self, fault: Fault, spot: Spot) -> None:
        """Lead an attempt into a fault, and see what it leaves, and that the next one makes it good."""
        directory = self._directory()
        here = Spot(str(directory / Path(spot.path).relative_to(self._whole)), spot.call, spot.nth)
        outcome = run_into(fault, here, self._command(directory), log=self._log)
        assert "Traceback" not in outcome.stderr, outcome.stderr
        if fault is KILLED:
            assert outcome.returncode == -9
        elif spot.call not in MENDED:
            assert outcome.returncode == EXIT_FAILED, f"{spot} failed, and nobody saw it"
        published = directory / "a"
        assert not published.exists() or published.read_bytes() == CONTENT, f"half a file is visible after {spot}"
        fetch(self._url, directory)
        assert published.read_bytes() == CONTENT
        assert names_in(directory) == [".a.part.json", "a"], f"something is left over after {spot}"

    def _directory(self) -> Path:
        directory = self._home / str(next(self._numbers))
        directory.mkdir()
        return directory

    def _command(self, directory: Path) -> list[str]:
        return [sys.executable, str(PROGRAM), self._url, str(directory)]

    @property
    def _log(self) -> Path:
        return self._home / "calls"


@pytest.fixture(scope="module")
def fetching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fetching]:
    with FileServer() as server:
        yield Fetching(server, tmp_path_factory.mktemp("fetching"))


def try_each(fetching: Fetching, fault: Fault, spots: Sequence[Spot]) -> None:
    for spot in spots:
        fetching.meets(fault, spot)


FAULTS = pytest.mark.parametrize("fault", [KILLED, EIO, NO_SPACE], ids=["kill", "io-error", "no-space"])


@pytest.mark.timeout(300)
@FAULTS
def test_a_share_of_the_calls_of_a_download_leaves_nothing_or_the_whole_file(fetching: Fetching, fault: Fault) -> None:
    try_each(fetching, fault, share(fetching.spots, of=SHARES))


@pytest.mark.prove
@pytest.mark.timeout(900)
@FAULTS
def test_every_call_of_a_download_leaves_nothing_or_the_whole_file(fetching: Fetching, fault: Fault) -> None:
    try_each(fetching, fault, fetching.spots)


def test_a_download_makes_every_sort_of_call_that_publishing_takes(fetching: Fetching) -> None:
    made = {spot.call for spot in fetching.spots}
    assert {"openat", "write", "fdatasync", "fsync", "renameat", "linkat", "unlinkat"} <= made
    assert len(fetching.spots) > 15
