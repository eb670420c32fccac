"""A copy of the file as it stands at one moment, made beside a server that goes on writing; and what it is made of.

Takes no lock of ours, writes nothing but the copy, and leaves no copy that it has not checked.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, cast

import apsw

from windlass.errors import ConflictError, InputError, StoreCorrupt, StoreError
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import border, open_reader, sync_directory
from windlass.store.sqlite.driver import Connection
from windlass.store.sqlite.upkeep import find_database

_STEP_PAGES: Final = 2_048
"""Copied between two looks at how far it has come; 8 MiB."""

OnProgress = Callable[[int, int], None]
"""Told now and then: pages copied, and how many there are."""


def back_up(data: Path, target: Path, *, on_progress: OnProgress) -> int:
    """Copy the database in `data` into the new file `target`, durably, and check the copy; give its size in bytes.

    All that was acknowledged before the call is in it. A crash leaves a file with the ending `.partial` at most.

    Raises:
        NotFoundError: there is no store in `data`.
        ConflictError: there is a file called `target`. It was not touched.
        InputError: `target` cannot be written.
        StoreError: the store cannot be read, or the copy not be made.
        StoreCorrupt: the copy is not sound, and so the store is not: no copy was left.
    """
    source = find_database(data)
    if os.path.lexists(target):
        raise _taken(target)
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise InputError(f"{partial} cannot be written: {error.strerror}", pointer="FILE") from error
    try:
        with border():
            _copy(source, partial, on_progress)
            _check(partial)
        _publish(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _copy(source: Path, partial: Path, on_progress: OnProgress) -> None:
    with closing(open_reader(source)) as reader, closing(apsw.Connection(str(partial))) as writer:
        # The copy is synced as a whole, and is none before that.
        cast(Connection, writer).pragma("journal_mode", "off")
        cast(Connection, writer).pragma("synchronous", 0)
        # One transaction over all steps, which the first read begins: commits of the server do not start the copy anew.
        reader.execute(sql.BEGIN_READING)
        reader.execute(sql.TABLES).fetchall()
        with writer.backup("main", cast("apsw.Connection", reader), "main") as backup:
            while not backup.done:
                backup.step(_STEP_PAGES)
                on_progress(backup.page_count - backup.remaining, backup.page_count)


def _check(partial: Path) -> None:
    """See that the copy is sound; `immutable`, so that no log is made beside it."""
    uri = f"{partial.absolute().as_uri()}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with closing(cast(Connection, apsw.Connection(uri, flags=flags))) as copy:
        faults = [fault for (fault,) in copy.execute(sql.CHECK_FILE) if fault != "ok"]
        faults += [f"a row of {table} refers to nothing" for table, *_ in copy.execute(sql.CHECK_REFERENCES)]
    if faults:
        raise StoreCorrupt(
            f"the copy is not sound ({faults[0]}), so the store is damaged: no backup was made. Run `windlass check`, "
            "and restore an earlier backup"
        )


def _publish(partial: Path, target: Path) -> None:
    """Make the copy durable, and give it its name, unless somebody else has taken that meanwhile."""
    try:
        file = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)
        _name(partial, target)
    except FileExistsError:
        raise _taken(target) from None
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    sync_directory(target.absolute().parent)


def _name(partial: Path, target: Path) -> None:
    """Give the copy a second name, which no file may have; where there are no second names, a new one."""
    try:
        os.link(partial, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if os.path.lexists(target):
            raise FileExistsError from None
        os.rename(partial, target)  # noqa: PTH104 like the link above


def _taken(target: Path) -> ConflictError:
    return ConflictError(f"{target} is there already and was not touched: name a new file", code="backup_exists")
