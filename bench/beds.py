"""Where benches make their stores, each sort beside the limit it is compared with: the files of SQLite here.

Measures nothing by itself.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import apsw
import msgspec

from bench.limits import raw_inserts_per_s


class Place(msgspec.Struct, frozen=True):
    """Where one store is: the directory its server runs in, and what the setting `database` says."""

    directory: Path
    database: str


class Ledger(Protocol):
    """A store, read beside the server that has it. Instants are in seconds since 1970."""

    def is_drained(self) -> bool:
        """Whether every task has ended, durably; looks into small indexes, however many tasks there are."""
        ...

    def succeeded(self) -> int:
        """Count the tasks that have succeeded."""
        ...

    def first_started_at(self) -> float:
        """Say when the first task was claimed."""
        ...

    def first_created_at(self) -> float:
        """Say when the first task was submitted."""
        ...


class Bed(Protocol):
    """One sort of store. `directory` is where its files are, `limit` names what it is compared with."""

    name: str
    limit: str
    directory: Path
    versions: Mapping[str, str]

    def place(self) -> AbstractContextManager[Place]:
        """Give a place where there is no store yet, until the block is left."""
        ...

    def ledger(self, place: Place) -> AbstractContextManager[Ledger]:
        """Open the store of a place for reading."""
        ...

    def limit_per_s(self, rows: int) -> float:
        """Measure what the disk and the library under such a store can do at best with so many rows."""
        ...

    def cpu_s(self) -> Mapping[str, float]:
        """Read the processor time of what keeps the stores and is no process of windlass, by its name."""
        ...


class SqliteBed:
    """Each store a file in a directory of its own."""

    name = "sqlite"
    limit = "raw_inserts"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.versions = {"sqlite": apsw.sqlite_lib_version()}

    @contextlib.contextmanager
    def place(self) -> Generator[Place]:
        """Make a directory."""
        with tempfile.TemporaryDirectory(dir=self.directory) as directory:
            yield Place(Path(directory), "sqlite")

    @contextlib.contextmanager
    def ledger(self, place: Place) -> Generator[Ledger]:
        """Open the file, read-only."""
        ledger = _SqliteLedger(place.directory / "data" / "windlass.db")
        try:
            yield ledger
        finally:
            ledger.close()

    def limit_per_s(self, rows: int) -> float:
        """Insert rows, in groups that are synced."""
        return raw_inserts_per_s(self.directory, rows)

    def cpu_s(self) -> Mapping[str, float]:
        """Name nothing: SQLite is in the server."""
        return {}


class _SqliteLedger:
    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        self._connection.set_busy_timeout(5_000)

    def close(self) -> None:
        self._connection.close()

    def is_drained(self) -> bool:
        return not self._read(
            "SELECT EXISTS (SELECT 1 FROM tasks WHERE state = 'running')"
            " OR EXISTS (SELECT 1 FROM tasks WHERE ready = 1)"
            " OR EXISTS (SELECT 1 FROM tasks WHERE state = 'queued' AND ready = 0 AND held = 0)"
        )

    def succeeded(self) -> int:
        return self._read("SELECT count(*) FROM tasks WHERE state = 'succeeded'")

    def first_started_at(self) -> float:
        return self._read("SELECT min(started_at) FROM tasks") / 1e6

    def first_created_at(self) -> float:
        return self._read("SELECT created_at FROM specs ORDER BY number LIMIT 1") / 1e6

    def _read(self, statement: str) -> int:
        value = self._connection.execute(statement).fetchall()[0][0]
        assert isinstance(value, int), statement
        return value


def cpu_us(bed: Bed, began_s: Mapping[str, float], count: int) -> dict[str, float]:
    """Say how much processor time a bed has used for each of `count` tasks since it was read, in microseconds."""
    return {f"{name}_cpu_us": (now_s - began_s[name]) / count * 1e6 for name, now_s in bed.cpu_s().items()}
