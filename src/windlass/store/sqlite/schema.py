"""Bringing a SQLite file's schema up to date, or refusing the file untouched. What the steps are, `migrate` knows."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from windlass.errors import SchemaMismatch, StoreCorrupt
from windlass.store.migrate import Migration, load_migrations, pending
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import border, open_reader, roll_back, transaction
from windlass.store.sqlite.driver import Connection

PACKAGE = "windlass.store.sqlite"


def check(path: Path) -> Sequence[Migration]:
    """Refuse a file that is not ours or not of a version we know, without a byte of it changing; give the steps that it
    lacks.

    Raises:
        SchemaMismatch: says which version the file has and which this program knows.
    """
    if path.exists():
        with border():
            roll_back(path)
    if path.exists() and path.stat().st_size > 0:
        try:
            with border(), closing(open_reader(path)) as connection:
                return pending(load_migrations(PACKAGE), _recorded(connection))
        except SchemaMismatch as error:
            raise SchemaMismatch(f"{path}: {error.detail}") from None
        except StoreCorrupt as error:
            raise StoreCorrupt(
                f"{path} is no database, or damaged ({error.detail}). It was not touched: put a backup in its place, "
                "or name another data directory"
            ) from None
    return load_migrations(PACKAGE)


def upgrade(connection: Connection) -> None:
    """Take the steps that the file lacks, each in a transaction of its own: a crash leaves it between two."""
    for migration in pending(load_migrations(PACKAGE), _recorded(connection)):
        with transaction(connection):
            connection.execute(sql.CREATE_MIGRATIONS)
            connection.execute(migration.sql)
            connection.execute(sql.RECORD_MIGRATION, (migration.version, migration.name, migration.checksum))


def _recorded(connection: Connection) -> dict[int, str]:
    """Read which steps the file has taken; none when it is empty."""
    tables = {name for (name,) in connection.execute(sql.TABLES)}
    if not tables:
        return {}
    if "migrations" not in tables:
        raise SchemaMismatch("the file holds tables, but none of windlass: give it another path. It was not touched")
    return dict(connection.execute(sql.MIGRATIONS))
