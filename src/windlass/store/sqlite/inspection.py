"""Whether a file may be opened for writing: that it is whole, and holds all that was seen in it. Changes no byte of it.

Mends nothing: what is not as it was left is for people to decide.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import msgspec

from windlass.core.limits import CHECK_AT_START_BYTES
from windlass.errors import StoreCorrupt
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import border, open_reader
from windlass.store.sqlite.driver import Connection
from windlass.store.sqlite.place import log_of

MARK_ENDING: Final = "-mark"
"""After the name of the database, so that whoever moves `windlass.db*` takes it along."""
_PAGE_SIZE, _PAGE_COUNT = slice(16, 18), slice(28, 32)
"""Source: sqlite.org, database header; a page size of 1 stands for 65,536."""
_HEADER_BYTES: Final = 100


class Seen(msgspec.Struct, frozen=True):
    """What was seen in a store: when it was made, in microseconds since 1970, and its last event."""

    made_at: int | None
    seq: int


class Mark:
    """A small file beside the database that says what was last seen in it: what may no longer be missing later.

    Written after the commits it tells of, and not synced: it may say too little, never too much.

    Concurrency: the writing thread's.
    """

    def __init__(self, database: Path) -> None:
        self._path = mark_of(database)
        self._said: Seen | None = None

    def say(self, connection: Connection) -> None:
        """Bring it up to date.

        Raises:
            StoreCorrupt: it cannot be written, for another reason than want of room.
        """
        seen = see(connection)
        if seen == self._said:
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            fresh.write_bytes(msgspec.json.encode(seen))
            fresh.replace(self._path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return
            raise StoreCorrupt(f"{self._path} cannot be written: {error.strerror}") from error
        self._said = seen


def mark_of(database: Path) -> Path:
    """Name the mark of a database."""
    return database.with_name(f"{database.name}{MARK_ENDING}")


def see(connection: Connection) -> Seen:
    """Look into a store; a crash before the first step of its schema has left one that is not made yet."""
    tables = {name for (name,) in connection.execute(sql.TABLES)}
    if "migrations" not in tables or "sqlite_sequence" not in tables:
        return Seen(None, 0)
    ((made_at, seq),) = connection.execute(sql.SEEN).fetchall()
    return Seen(made_at, seq)


def inspect(database: Path) -> None:
    """Refuse a file that is not as it was left.

    Raises:
        StoreCorrupt: it is cut off or damaged, lacks what was in it, or is gone or another one.
    """
    last = _read_mark(database)
    if not database.exists() or database.stat().st_size == 0:
        if last is not None:
            raise _missing(f"{database} is gone, but a store was there")
        return
    if cut_off := _cut_off(database):
        raise _damaged(database, cut_off)
    with border(), closing(open_reader(database)) as connection:
        if database.stat().st_size <= CHECK_AT_START_BYTES and (faults := _faults(connection)):
            raise _damaged(database, faults[0])
        now = see(connection)
    if last is not None and now.made_at not in (last.made_at, None):
        raise _missing(f"{database} is another store than the one that was there")
    if last is not None and now.seq < last.seq:
        raise _missing(
            f"{database} ends with event {now.seq}, but event {last.seq} was written: its log ({database.name}-wal) "
            "was taken away, or the file replaced by an older one"
        )


def _faults(connection: Connection) -> Sequence[str]:
    try:
        return [fault for (fault,) in connection.execute(sql.CHECK_QUICKLY) if fault != "ok"]
    except apsw.CorruptError as error:
        return [str(error)]


def _cut_off(database: Path) -> str | None:
    """Say by how much a file is too short by its own header; a log that is left may hold what is missing."""
    log = log_of(database)
    if log.exists() and log.stat().st_size > 0:
        return None
    with database.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    page_bytes = int.from_bytes(header[_PAGE_SIZE], "big")
    size = int.from_bytes(header[_PAGE_COUNT], "big") * (65_536 if page_bytes == 1 else page_bytes)
    is_there = os.stat(database).st_size  # noqa: PTH116 one figure of one call
    return None if is_there >= size else f"it is cut off: {is_there} bytes of {size}"


def _read_mark(database: Path) -> Seen | None:
    """Read what was last seen; None when nobody has said, or the saying was cut off."""
    try:
        return msgspec.json.decode(mark_of(database).read_bytes(), type=Seen)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _damaged(database: Path, fault: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{database} is damaged ({fault}). It was not touched: put a backup in its place, or name another data "
        "directory"
    )


def _missing(what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{what}. Nothing was touched. Put back what is missing; or, if this is a backup that you have restored or a "
        f"store that you want to begin anew, remove the file that ends in {MARK_ENDING} and start again"
    )
