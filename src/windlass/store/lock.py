"""The lock by which one server owns a data directory. The kernel holds it, so that it ends with its process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from windlass.errors import ConfigError, StoreUnavailable

LOCK_FILE: Final = "windlass.lock"


class DirectoryLock:
    """An exclusive lock on a data directory. The file stays when the lock goes: to remove it would race."""

    def __init__(self, data: Path) -> None:
        """Take the lock, making the directory if there is none.

        Raises:
            StoreUnavailable: another process has it; says which.
            ConfigError: the directory cannot be used.
        """
        try:
            data.mkdir(parents=True, exist_ok=True)
            self._file = os.open(data / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(
                f"data: {data} cannot be used as data directory: {error.strerror}; name another, or make it writable"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            who = f"process {owner}" if owner else "another process"
            raise StoreUnavailable(
                f"data: {data} belongs to {who}, which is running: stop that one, or name another data directory",
                pid=int(owner) if owner.isdigit() else None,
            ) from error
        self._is_held = True
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise ConfigError(
                f"data: {data} cannot be written to: {error.strerror}; make room, or name another data directory"
            ) from error

    def release(self) -> None:
        """Let go of it. Idempotent."""
        if self._is_held:
            self._is_held = False
            # RACE: a process being spawned just now has a copy of the file, which would keep the lock until its exec.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
