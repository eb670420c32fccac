"""A PostgreSQL whose tables lie on a small disk of their own; what it writes ahead lies elsewhere, as many have it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from postgres_server import PostgresServer, new_server
from small_disk import SmallDisk, small_disk


@contextlib.contextmanager
def postgres_on_a_small_disk(*, mebibytes: int) -> Iterator[tuple[PostgresServer, SmallDisk]]:
    """Give a running cluster, and the disk that its tables are on, and end both.

    PostgreSQL itself dies of a disk on which it cannot write ahead; of one that has no room for more rows it tells.
    """
    with tempfile.TemporaryDirectory(prefix="windlass-pg-") as directory:
        Path(directory).chmod(0o711)  # to be passed through by PostgreSQL's user
        server = new_server(Path(directory, "own"))
        with small_disk(server.data, mebibytes=mebibytes, owner=server.uid) as disk:
            server.prefix, server.seen_at = disk.prefix, disk.path
            server.make("--waldir", str(server.directory / "wal"), checkpoint_timeout="1h")
            try:
                yield server.start(remove=Path(directory)), disk
            finally:
                server.stop("immediate")
