"""Room kept back on the disk, so that attempts can still end when it is full. Knows no table.

Decides nothing about the disk but this one file; what is refused meanwhile is said in `FOR_LATER` alone.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from windlass.contracts.tasks import Edit, Refusal, Refused, Retry, Submit, SubmitBatch, Turn, Wanted, Write
from windlass.core.limits import RESERVE_BYTES, RESERVE_PROBE_S, RESERVE_SHARE
from windlass.errors import StoreCorrupt
from windlass.store.sqlite.connections import sync_directory

RESERVE_FILE: Final = "windlass.reserve"
FOR_LATER: Final = (Submit, SubmitBatch, Retry, Edit)
"""Writes that wait until there is room: they bring work or data, and end nothing."""

_BLOCK_BYTES: Final = 512
"""The unit of `st_blocks`."""


class Reserve:
    """A file of blocks that hold nothing, next to the database; given up when the disk is full, and won back later.

    Concurrency: the writing thread's, but for `is_whole`.
    """

    def __init__(self, directory: Path) -> None:
        """Fill the reserve, as far as the disk has room for it.

        Raises:
            StoreCorrupt: the disk does not keep it for another reason than want of room.
        """
        self._path = directory / RESERVE_FILE
        self._size = reserve_bytes(directory)
        self._probed_at = time.monotonic()
        self.is_whole = self._fill()

    def release(self) -> bool:
        """Give the room up to those who must write now; false when that was done already."""
        if not self.is_whole:
            return False
        self.is_whole = False
        self._probed_at = time.monotonic()
        with _failing(self._path):
            os.truncate(self._path, 0)
        return True

    def probe(self) -> None:
        """Win the room back, if there is enough again; looks only every few seconds."""
        if self.is_whole or time.monotonic() - self._probed_at < RESERVE_PROBE_S:
            return
        self._probed_at = time.monotonic()
        with _failing(self._path):
            disk = os.statvfs(self._path.parent)
        # LIMIT: a quarter more than it takes must be free, or the next few submits would use it up at once.
        if disk.f_bavail * disk.f_frsize >= self._size + self._size // 4:
            self.is_whole = self._fill()

    def _fill(self) -> bool:
        """Take the room, durably; false when the disk does not have it."""
        with _failing(self._path):
            try:
                self._take()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                self._path.unlink(missing_ok=True)
                return False
        sync_directory(self._path.parent)
        return True

    def _take(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_blocks * _BLOCK_BYTES < self._size:
                os.posix_fallocate(file, 0, self._size)
                os.fsync(file)
        finally:
            os.close(file)


def reserve_bytes(directory: Path) -> int:
    """Say how much room to keep back: less on a small disk."""
    disk = os.statvfs(directory)
    return min(RESERVE_BYTES, int(disk.f_blocks * disk.f_frsize * RESERVE_SHARE))


def ration(turn: Callable[[Sequence[Write], Wanted], Turn], writes: Sequence[Write]) -> Turn:
    """Take a turn while there is no room: refuse what can wait, claim nothing, do the rest."""
    kept = [write for write in writes if not isinstance(write, FOR_LATER)]
    done = turn(kept, Wanted())
    results = iter(done.results)
    refused = Refused(Refusal.FULL)
    return msgspec.structs.replace(
        done,
        results=[refused if isinstance(write, FOR_LATER) else next(results) for write in writes],
        has_room=False,
    )


@contextmanager
def _failing(path: Path) -> Generator[None]:
    """Let no error of the disk pass as anything but what it is."""
    try:
        yield
    except OSError as error:
        raise StoreCorrupt(f"{path} cannot be kept: {error.strerror}") from error
