"""Every sort of store that there is, to run the same tests on: one more sort is one more name here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from postgres import database

STORES = ("memory", "sqlite", "postgres")


@contextlib.contextmanager
def fresh_store(sort: str) -> Iterator[str]:
    """Give what the setting `database` says to have a store of that sort with nothing in it."""
    if sort == "postgres":
        with database() as url:
            yield url
    else:
        yield sort  # it lies in the data directory, which each test has for itself
