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


def raw_inserts_per_s(directory: Path, rows: int) -> float:
    """Insert rows of the size of a small task in groups of `GROUP`, one commit each, `synchronous=FULL`."""
    with tempfile.TemporaryDirectory(dir=directory) as place:
        connection = apsw.Connection(str(Path(place) / "raw.db"))
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", 2)
        if connection.pragma("synchronous") != 2:
            raise RuntimeError("SQLite does not sync every commit here")
        connection.execute("CREATE TABLE raw (number INTEGER PRIMARY KEY, kind TEXT, payload BLOB, at INTEGER)")
        values = [("noop", b'{"n":1}', 1)] * GROUP
        began_at = time.perf_counter()
        for _ in range(rows // GROUP):
            with connection:
                connection.executemany("INSERT INTO raw (kind, payload, at) VALUES (?, ?, ?)", values)
        took_s = time.perf_counter() - began_at
        connection.close()
    return rows / took_s


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
