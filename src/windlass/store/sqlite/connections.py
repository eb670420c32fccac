"""How the SQLite file is opened, what a transaction is, and the border where its errors become ours.

Knows no table and no thread.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, cast

import apsw

from windlass.errors import ConfigError, StoreCorrupt, StoreError, StoreFull, StoreUnavailable
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Connection

BUSY_MS: Final = 5_000
"""How long to wait for a lock that another program holds on the file."""
CACHE_KIB: Final = 16_384
CHECKPOINT_PAGES: Final = 1_000
"""Source: measured; a larger figure and none at all were both slower."""
STATEMENTS: Final = 256
"""How many prepared statements a connection keeps.

Source: apsw keeps those that were among the last so many to run, however often one of them ran; a turn of 255 lives
runs about a hundred.
"""
SOUND_SINCE: Final = (3, 51, 3)
"""Source: sqlite.org, WAL-reset bug of 3.7.0 to 3.51.2: two connections could corrupt the file."""

_FULL_SYNC = 2

_MEANING: Final[dict[int, type[StoreError]]] = {
    apsw.SQLITE_FULL: StoreFull,
    apsw.SQLITE_IOERR: StoreCorrupt,
    apsw.SQLITE_CORRUPT: StoreCorrupt,
    apsw.SQLITE_NOTADB: StoreCorrupt,
    apsw.SQLITE_BUSY: StoreUnavailable,
    apsw.SQLITE_LOCKED: StoreUnavailable,
}
"""What the driver's result codes mean to us; any other is a plain StoreError."""


def is_want_of_room(error: apsw.Error) -> bool:
    """Whether there is no room on the disk; the index of the log has an I/O error of its own for that."""
    return isinstance(error, apsw.FullError) or _extended(error) == apsw.SQLITE_IOERR_SHMSIZE


def translated(error: apsw.Error) -> StoreError:
    """Make our error of the driver's."""
    if is_want_of_room(error):
        return StoreFull(f"SQLite: {error}", sqlite=type(error).__name__)
    meaning = _MEANING.get(getattr(error, "result", apsw.SQLITE_ERROR), StoreError)
    return meaning(f"SQLite: {error}", sqlite=type(error).__name__)


def _extended(error: apsw.Error) -> int:
    return getattr(error, "extendedresult", apsw.SQLITE_ERROR)


@contextmanager
def border() -> Generator[None, None, None]:
    """Let no error of the driver pass."""
    try:
        yield
    except apsw.Error as error:
        raise translated(error) from error


@contextmanager
def transaction(connection: Connection) -> Generator[None, None, None]:
    """Run the block in one transaction, durable once the block is left; any exception undoes it."""
    connection.execute(sql.BEGIN)
    try:
        yield
        connection.execute(sql.COMMIT)
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute(sql.ROLLBACK)
        raise


def check_library(version: str) -> None:
    """Refuse a SQLite that can corrupt the file.

    Raises:
        ConfigError: names the version that is there and the one that is needed.
    """
    if tuple(int(part) for part in version.split(".")) < SOUND_SINCE:
        raise ConfigError(
            f"this apsw is linked to SQLite {version}, which can corrupt its file: install an apsw with SQLite "
            f"{'.'.join(map(str, SOUND_SINCE))} or newer"
        )


def open_writer(path: Path) -> Connection:
    """Open the connection that writes, and make sure that it is as safe as it must be.

    Raises:
        StoreError: the file cannot be opened, or not with every commit synced.
    """
    connection = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    in_effect = {
        "journal_mode": (connection.pragma("journal_mode", "wal"), "wal"),
        "synchronous": (_set(connection, "synchronous", _FULL_SYNC), _FULL_SYNC),
        # Every row that refers to a task is written in the transaction that has seen the task, by the one writer
        # there is: to look each up again costs a tenth of a task's life. `windlass check` looks.
        "foreign_keys": (_set(connection, "foreign_keys", 0), 0),
        "mmap_size": (connection.pragma("mmap_size", 0), 0),
        "stable plans": (connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1), 1),
    }
    for setting, (value, wanted) in in_effect.items():
        if value != wanted:
            connection.close()
            raise StoreError(f"SQLite keeps {setting} at {value} for {path}; without {wanted} it is not safe to go on")
    connection.pragma("cache_size", -CACHE_KIB)
    connection.set_wal_hook(_checkpoint)
    return connection


def open_reader(path: Path) -> Connection:
    """Open a connection that can only read, and never checkpoints."""
    connection = _connect(path, apsw.SQLITE_OPEN_READONLY)
    connection.wal_autocheckpoint(0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


def roll_back(path: Path) -> None:
    """Undo what a crash has left of the first step, before the file had a log; SQLite does it for whoever may write."""
    if path.with_name(f"{path.name}-journal").exists():
        with closing(_connect(path, apsw.SQLITE_OPEN_READWRITE)) as connection:
            connection.execute(sql.TABLES).fetchall()


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable: SQLite does so too, but ignores it when that fails.

    Raises:
        StoreCorrupt: it failed.
    """
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise StoreCorrupt(f"the directory {path} cannot be synced: {error.strerror}") from error


def _checkpoint(connection: Connection, _database: str, pages: int) -> int:
    """Move a log that has grown into the file, right after a commit; SQLite's own way of doing it hides I/O errors.

    Without room or under another program's lock the log stays: a later commit tries again.
    """
    if pages >= CHECKPOINT_PAGES:
        with suppress(apsw.FullError, apsw.BusyError, apsw.LockedError):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
    return apsw.SQLITE_OK


def _connect(path: Path, flags: int) -> Connection:
    connection = cast(Connection, apsw.Connection(str(path), flags=flags, statementcachesize=STATEMENTS))
    connection.set_busy_timeout(BUSY_MS)
    return connection


def _set(connection: Connection, name: str, value: int) -> int:
    """Set a pragma that does not answer, and read it back."""
    connection.pragma(name, value)
    return connection.pragma(name)
