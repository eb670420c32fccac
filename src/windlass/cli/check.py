"""`windlass check`: whether a store keeps its own rules, told violation by violation.

Asks no server, takes no lock and writes nothing; what the rules are, `core.invariants` says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from windlass.cli.human import printable
from windlass.cli.output import ExitCode, note, report, write, write_json
from windlass.config.load import load_settings
from windlass.config.masks import mask_database
from windlass.config.schema import Settings
from windlass.contracts.store import Snapshot
from windlass.core.invariants import Violation
from windlass.engine.audit import Audit
from windlass.engine.clock import SystemIds
from windlass.errors import StoreError
from windlass.store.open import take_snapshot

_TELL_EVERY_S = 2.0


def check(
    *,
    data: Annotated[Path | None, Parameter(help="Directory of the store and of result files.")] = None,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="Print JSON: a line per violation, then one of sums.")
    ] = False,
) -> int:
    """See whether a store is sound. Gives 0 when it is, 1 when it is not, 74 when it cannot be read."""
    settings = load_settings({"data": None if data is None else str(data)})
    try:
        return asyncio.run(_check(settings, as_json=json))
    except StoreError as error:
        report(error)
        return ExitCode.STORE


@asynccontextmanager
async def opened(settings: Settings) -> AsyncGenerator[Snapshot]:
    """Give the store of `settings` as it stands now.

    Raises:
        NotFoundError: there is none.
        StoreError: it cannot be read.
    """
    data, ids = Path(settings.data), SystemIds()
    snapshot = await take_snapshot(settings.database, data=data, ids=ids, postgres=settings.postgres)
    try:
        yield snapshot
    finally:
        await snapshot.close()


async def _check(settings: Settings, *, as_json: bool) -> int:
    async with opened(settings) as snapshot:
        return await _judge(snapshot, settings, as_json=as_json)


async def _judge(snapshot: Snapshot, settings: Settings, *, as_json: bool) -> int:
    pacer = Pacer()
    audit = Audit(snapshot, on_progress=lambda done, of: pacer.tell(f"checked {done:,} of {of:,} tasks"))
    broken = 0
    async for violation in audit.violations(settings.files_directory):
        broken += 1
        _tell(violation, as_json=as_json)
    if as_json:
        write_json({"violations": broken, "tasks": audit.tasks, "events": audit.events})
    else:
        where = settings.data if settings.database == "sqlite" else mask_database(settings.database)
        verdict = f"{broken:,} violation{'s' if broken > 1 else ''}" if broken else "clean"
        write(f"{verdict}: {audit.tasks:,} tasks with {audit.events:,} events in {printable(where)}")
    return ExitCode.ERROR if broken else ExitCode.OK


def _tell(violation: Violation, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "rule": violation.rule,
                "number": violation.number,
                "task_id": violation.task_id,
                "detail": violation.detail,
                "advice": violation.advice,
            }
        )
        return
    subject = "the store" if violation.task_id is None else f"task {violation.task_id}"
    if violation.number is not None:
        subject += f" (number {violation.number})"
    write(f"{violation.rule}: {subject}: {printable(violation.detail)}\n  what to do: {violation.advice}")


class Pacer:
    """Says on stderr, now and then, how far something long has come."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def tell(self, line: str) -> None:
        """Say it, if it is time again."""
        if (now := time.monotonic()) - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            note(line)
