"""Bringing a file's schema up to date while no server runs: what `windlass db migrate` does.

Makes no store where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from windlass.errors import NotFoundError
from windlass.store.lock import DirectoryLock
from windlass.store.migrate import Migration
from windlass.store.sqlite import schema
from windlass.store.sqlite.connections import border, open_writer
from windlass.store.sqlite.store import DATABASE_FILE


def find_database(data: Path) -> Path:
    """Name the database in the directory `data`.

    Raises:
        NotFoundError: there is none.
    """
    path = data / DATABASE_FILE
    if not path.is_file():
        raise NotFoundError(f"there is no store in {data}: name the data directory of a server with --data")
    return path


def lacking(data: Path) -> Sequence[Migration]:
    """Name the steps that the store in `data` lacks; changes nothing.

    Raises:
        NotFoundError: there is none.
        SchemaMismatch: a newer version of windlass wrote it.
        StoreError: it cannot be read.
    """
    return schema.check(find_database(data))


def migrate(data: Path) -> Sequence[Migration]:
    """Take the steps that the store in `data` lacks, and name them.

    Raises:
        NotFoundError, SchemaMismatch, StoreError: as for `lacking`.
        StoreUnavailable: its server is running.
    """
    path = find_database(data)
    lock = DirectoryLock(data)
    try:
        steps = schema.check(path)
        with border(), closing(open_writer(path)) as connection:
            schema.upgrade(connection)
        return steps
    finally:
        lock.release()
