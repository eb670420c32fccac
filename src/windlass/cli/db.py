"""`windlass db`: the store of a data directory, without its server: how it stands, a copy of it, its schema.

Decides nothing about tasks, and writes to the store only to bring its schema up to date.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from windlass.cli.check import Pacer, opened
from windlass.cli.human import printable, size
from windlass.cli.output import ExitCode, note, write, write_json
from windlass.config.load import load_settings
from windlass.config.schema import POSTGRES_SCHEMES, Settings
from windlass.contracts.store import Snapshot
from windlass.core.state import State
from windlass.errors import ConfigError
from windlass.store.open import migrate_store
from windlass.store.sqlite.backup import back_up

Data = Annotated[Path | None, Parameter(help="Directory of the store and of result files.")]
Json = Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON.")]


def status(*, data: Data = None, json: Json = False) -> int:
    """Say how the store stands: its sizes, its schema, its tasks. Works beside a running server."""
    facts = asyncio.run(_facts(_settings(data)))
    if json:
        write_json(facts)
        return ExitCode.OK
    for name, value in facts.items():
        shown = size(value) if name.endswith("_bytes") and isinstance(value, int) else value
        write(f"{name}\t{'none' if shown is None else printable(str(shown))}")
    return ExitCode.OK


def backup(
    file: Annotated[Path, Parameter(help="File to make; must not be there yet.")], /, *, data: Data = None
) -> int:
    """Copy the store into FILE as it stands now, beside a running server, and check the copy.

    Result files are not in it: copy the directory `files` after it. A PostgreSQL database is copied by its own tools.
    """
    pacer = Pacer()
    copied = back_up(
        _data(data), file, on_progress=lambda done, pages: pacer.tell(f"copied {done:,} of {pages:,} pages")
    )
    write(f"{printable(str(file))}\t{copied}")
    note(f"copied and checked {size(copied)}")
    return ExitCode.OK


def migrate(
    *,
    data: Data = None,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="Only name the steps.")] = False,
) -> int:
    """Bring the store's schema up to date, which a starting server does by itself.

    The server of a store in a file must not run.
    """
    settings = _settings(data)
    steps = asyncio.run(
        migrate_store(settings.database, data=Path(settings.data), postgres=settings.postgres, dry_run=dry_run)
    )
    for step in steps:
        write(f"{step.version}\t{step.name}")
    verb = "to take" if dry_run else "taken"
    note(f"steps {verb}: {len(steps)}" if steps else "the schema is up to date")
    return ExitCode.OK


def _settings(data: Path | None) -> Settings:
    return load_settings({"data": None if data is None else str(data)})


def _data(data: Path | None) -> Path:
    """Name the data directory of a store that is a file.

    Raises:
        ConfigError: the store is none.
    """
    settings = _settings(data)
    if settings.database.startswith(POSTGRES_SCHEMES):
        raise ConfigError("database: a PostgreSQL database is copied by its own tools: use pg_dump or pg_basebackup")
    if settings.database != "sqlite":
        raise ConfigError(f"database: a store called '{settings.database}' is no file: there is nothing to do for it")
    return Path(settings.data)


async def _facts(settings: Settings) -> dict[str, Any]:
    async with opened(settings) as snapshot:
        return await _facts_of(snapshot)


async def _facts_of(snapshot: Snapshot) -> dict[str, Any]:
    facts = msgspec.to_builtins(await snapshot.facts())
    servers = [lease.server for lease in await snapshot.registry.servers() if lease.is_live]
    tasks: Counter[State] = Counter()
    size_bytes = 0
    for count in await snapshot.tasks.counts():
        tasks[count.state] += count.tasks
        size_bytes += count.size_bytes
    return {
        **facts,
        "servers": "; ".join(f"process {row.pid} on {row.host}, windlass {row.version}" for row in servers) or "none",
        **{state.value: tasks[state] for state in State},
        "content_bytes": size_bytes,
    }
