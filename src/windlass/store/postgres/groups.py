"""Rows of values as statements take them: one array for each column, to be unnested. Knows no table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from windlass.errors import StoreError
from windlass.store.postgres.driver import Connection, Values


def columns(rows: Iterable[Values]) -> Iterable[Sequence[Any]]:
    """Turn rows, of which there is one at least, into columns; one without any value is left empty.

    `unnest` fills it up with NULL again, and nobody has to spell, send and read one for each row.

    >>> list(columns([(1, "a", None), (2, None, None)]))
    [(1, 2), ('a', None), ()]
    """
    for column in zip(*rows, strict=True):
        yield () if column[0] is None and column.count(None) == len(column) else column


async def change_each(connection: Connection, statement: str, rows: Sequence[Values], *shared: Any) -> None:
    """Run a guarded statement over `rows`, each of which must change one row; `shared` are values for all of them.

    Raises:
        StoreError: one did not, although its row was locked when its guard was seen to hold.
    """
    if not rows:
        return
    changed = changed_by(await connection.execute(statement, *columns(rows), *shared))
    if changed != len(rows):
        raise StoreError(f"{len(rows)} guarded changes changed {changed} rows: somebody else writes to the store")


def changed_by(tag: str) -> int:
    """Read how many rows a statement has changed from what the server says of it.

    >>> changed_by("INSERT 0 3"), changed_by("UPDATE 2")
    (3, 2)
    """
    return int(tag.rpartition(" ")[2])
