"""One directory held open, and what is done in it: no path leaves it, no link is followed, no file is replaced.

Knows nothing of downloads. Every method blocks.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

FILE_MODE = 0o600
SMALL_BYTES = 64 * 1024
"""LIMIT: of a file that is read whole."""


class Folder:
    """A directory by its descriptor; names are single components.

    Concurrency: holds nothing but the descriptor; may be used from many threads.

    Raises:
        OSError: every method may.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def create(self, name: str) -> int:
        """Open a new, empty file; what stood there under its name is unlinked, wherever it led."""
        self.remove(name)
        return os.open(
            name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=self._descriptor
        )

    def reopen(self, name: str) -> int:
        """Open a file that is there, to be read and written."""
        return os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)

    def size_of(self, name: str) -> int | None:
        """Give the size of a regular file; None when there is none of that name, whatever else has it."""
        try:
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read_small(self, name: str) -> bytes | None:
        """Give the content of a small file; None when there is none."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        except OSError:
            return None
        try:
            return os.read(descriptor, SMALL_BYTES)
        finally:
            os.close(descriptor)

    def write_small(self, name: str, content: bytes, *, durable: bool) -> None:
        """Put a small file in the place of the one of its name, in one step."""
        draft = name + ".new"
        descriptor = self.create(draft)
        try:
            try:
                os.write(descriptor, content)
                if durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(draft, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError:
            self.remove(draft)
            raise
        if durable:
            self.sync()

    def publish(self, part: str, name: str) -> None:
        """Give a finished file its name.

        Raises:
            FileExistsError: something has the name already; it stays as it is.
        """
        # RACE: a crash between the two leaves one file under both names, and the next attempt takes the first away.
        os.link(part, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor, follow_symlinks=False)
        self.remove(part)
        self.sync()

    def remove(self, name: str) -> None:
        """Unlink a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Make the names in the directory durable."""
        os.fsync(self._descriptor)

    def free_bytes(self) -> int:
        """Give the space that is left for us."""
        space = os.fstatvfs(self._descriptor)
        return space.f_bavail * space.f_frsize
