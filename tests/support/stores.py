"""Every sort of store that there is, to run the same tests on: one more sort is one more name here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from pooler import pooler_to
from postgres import database, database_name, shared_postgres

STORES = ("memory", "sqlite", "postgres")
DURABLE = tuple(sort for sort in STORES if sort != "memory")
"""Those that are still there when what has opened them is gone."""
POOLED = "TEST_POOLED"
"""The variable that puts a transaction pooler between every store and PostgreSQL."""


def is_pooled() -> bool:
    """Whether stores are tested through a pooler, and are told so by their settings."""
    return bool(os.environ.get(POOLED))


@contextlib.contextmanager
def fresh_store(sort: str) -> Iterator[str]:
    """Give what the setting `database` says to have a store of that sort with nothing in it."""
    if sort == "postgres":
        with database() as url:
            if not is_pooled():
                yield url
                return
            with pooler_to(shared_postgres().port) as pooler:
                yield shared_postgres().url(database_name(url), port=pooler.port)
    else:
        yield sort  # it lies in the data directory, which each test has for itself
