"""What the disk and the library under the store can do at best: rows inserted in groups, every commit synced.

Knows nothing of windlass.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import apsw

GROUP: Final = 100
_PAYLOAD: Final = os.urandom(110).hex().encode()
_CACHE_KIB: Final = 65_536
_MAKE: Final = (
    "CREATE TABLE raw (number INTEGER PRIMARY KEY, id BLOB NOT NULL, queue TEXT NOT NULL, kind TEXT NOT NULL,"
    " state INTEGER NOT NULL, priority INTEGER NOT NULL, run_at REAL NOT NULL, created_at REAL NOT NULL,"
    " attempt INTEGER NOT NULL DEFAULT 0, payload BLOB, result BLOB, finished_at REAL)",
    "CREATE UNIQUE INDEX raw_id ON raw (id)",
    "CREATE INDEX raw_ready ON raw (queue, priority, run_at) WHERE state = 0",
)
_INSERT: Final = (
    "INSERT INTO raw (id, queue, kind, state, priority, run_at, created_at, payload)"
    " VALUES (?, 'default', 'thumbnail', 0, 0, ?, ?, ?)"
)


def raw_inserts_per_s(directory: Path, rows: int) -> float:
    """Insert rows of the size of a small task, about 300 bytes, in groups of `GROUP`, one synced commit each.

    A row has what every task needs to be found and to be claimed: a rising id of 16 bytes in a unique index, and an
    entry in an index of ready rows. Making the rows is included, as somebody has to make them.
    """
    with tempfile.TemporaryDirectory(dir=directory) as place:
        connection = apsw.Connection(str(Path(place) / "raw.db"))
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", 2)
        if connection.pragma("synchronous") != 2:
            raise RuntimeError("SQLite does not sync every commit here")
        connection.pragma("cache_size", -_CACHE_KIB)
        for statement in _MAKE:
            connection.execute(statement)
        began_at = time.perf_counter()
        for first in range(0, rows, GROUP):
            made = raw_rows(first)
            with connection:
                connection.executemany(_INSERT, made)
        took_s = time.perf_counter() - began_at
        connection.close()
    return rows / took_s


def raw_rows(first: int) -> list[tuple[bytes, float, float, bytes]]:
    """Make a group of rows, numbered from `first`, with ids like those of UUIDv7: the time first, then chance."""
    now = time.time()
    stem = int(now * 1000).to_bytes(6, "big")
    return [
        (stem + number.to_bytes(4, "big") + os.urandom(6), now, now, _PAYLOAD) for number in range(first, first + GROUP)
    ]


def sync_ms(directory: Path, times: int = 100) -> float:
    """Append a page and sync it; the median."""
    took_s: list[float] = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(times):
            began_at = time.perf_counter()
            file.write(b"\0" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            took_s.append(time.perf_counter() - began_at)
    return statistics.median(took_s) * 1e3
