"""Statements over many rows of values: how they are spelled, and how they go to SQLite in few calls.

Knows no table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from windlass.errors import StoreError
from windlass.store.sqlite.driver import Connection, Row

GROUPS: Final = (64, 16, 4, 1)
"""How many rows go to SQLite with one call, where there are that many; the largest first.

Source: measured in turns of 200 and 255 tasks: alone an insert takes 1.7 µs a row and a guarded update 2.7, in groups
1.0 and 1.5; larger groups gain no more, and more sizes little.
"""

Each = tuple[tuple[int, str], ...]
"""A statement that takes rows of values as a table: for each size of `GROUPS`, its text for so many rows."""


def each(text: str) -> Each:
    """Spell `text` for each size, with so many of the row of values that stands in braces.

    >>> each("INSERT INTO t VALUES {(?, ?)}")[-2:]
    ((4, 'INSERT INTO t VALUES (?, ?),(?, ?),(?, ?),(?, ?)'), (1, 'INSERT INTO t VALUES (?, ?)'))
    """
    before, row, after = re.split("[{}]", text)
    return tuple((size, f"{before}{','.join([row] * size)}{after}") for size in GROUPS)


def run_each(connection: Connection, statement: Each, rows: Sequence[Row], shared: Row = ()) -> Iterator[Row]:
    """Run a statement over `rows`, in groups as large as can be; `shared` are the values before theirs.

    Nothing runs that is not asked for: take all that comes.
    """
    start = 0
    for size, text in statement:
        while len(rows) - start >= size:
            yield from connection.execute(text, (*shared, *chain.from_iterable(rows[start : start + size])))
            start += size


def insert_each(connection: Connection, statement: Each, rows: Sequence[Row]) -> None:
    """Insert `rows`."""
    for _ in run_each(connection, statement, rows):
        pass


def change_each(connection: Connection, statement: Each | str, rows: Sequence[Row], shared: Row = ()) -> None:
    """Run a guarded update for each of `rows`, each of which must change one row.

    Raises:
        StoreError: one did not, although its guard was seen to hold under the same lock.
    """
    before = connection.total_changes()
    if isinstance(statement, str):
        connection.executemany(statement, rows)
    else:
        for _ in run_each(connection, statement, rows, shared):
            pass
    changed = connection.total_changes() - before
    if changed != len(rows):
        raise StoreError(f"{len(rows)} guarded updates changed {changed} rows: somebody else writes to the store")
