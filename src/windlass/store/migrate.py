"""The numbered steps by which a store's schema has come to be, and which of them a store still lacks.

Runs none of them: each store does that in its own transactions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources

import msgspec

from windlass.errors import SchemaMismatch

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One step. `checksum` is the SHA-256 of its text: a released step is never edited, only followed by another."""

    version: int
    name: str
    sql: str
    checksum: str


def load_migrations(package: str) -> Sequence[Migration]:
    """Read the steps that lie beside `package` as `migrations/0001_name.sql`, rising by version."""
    migrations: list[Migration] = []
    for file in resources.files(package).joinpath("migrations").iterdir():
        if match := _FILE_NAME.fullmatch(file.name):
            raw = file.read_bytes()
            migrations.append(
                Migration(
                    version=int(match[1]), name=match[2], sql=raw.decode(), checksum=hashlib.sha256(raw).hexdigest()
                )
            )
    return sorted(migrations, key=lambda migration: migration.version)


def pending(known: Sequence[Migration], recorded: Mapping[int, str]) -> Sequence[Migration]:
    """Say which of the `known` steps a store lacks that has `recorded` (version to checksum).

    Raises:
        SchemaMismatch: the store has taken steps that this program does not know, or knows otherwise.
    """
    newest = max((migration.version for migration in known), default=0)
    version = max(recorded, default=0)
    if version > newest:
        raise SchemaMismatch(
            f"the store has schema version {version}; this program knows up to {newest}: run the newer windlass that "
            "wrote it, or restore a backup. It was not touched",
            store_version=version,
            known_version=newest,
        )
    for migration in known[:version]:
        if recorded.get(migration.version) != migration.checksum:
            raise SchemaMismatch(
                f"the store has schema version {version}, of which step {migration.version} ({migration.name}) is not "
                f"the one this program knows (it knows up to {newest}): run the windlass that wrote it. It was not "
                "touched",
                store_version=version,
                known_version=newest,
            )
    return known[version:]
