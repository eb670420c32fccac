"""Whether a data directory keeps all of its rules: what every proof of a crash ends with."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from windlass.config.schema import FILES
from windlass.core.invariants import Violation
from windlass.engine.audit import Audit
from windlass.engine.clock import SystemIds
from windlass.store.open import take_snapshot


def assert_clean(data: Path, *, database: str = "sqlite") -> None:
    """See that the store in `data`, or the one at the url `database` with its files there, breaks no rule, whether or
    not its servers run; may be called from a loop or not.

    Beside a running server it is the store of one moment that is judged.
    """
    found = violations_in(data, database=database)
    assert not found, "\n".join(f"{v.rule}: task {v.number}: {v.detail}" for v in found)


def violations_in(data: Path, *, database: str = "sqlite") -> list[Violation]:
    """Give all the rules that a store breaks."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _audit(data, database)).result()


async def _audit(data: Path, database: str) -> list[Violation]:
    snapshot = await take_snapshot(database, data=data, ids=SystemIds())
    try:
        audit = Audit(snapshot, on_progress=lambda done, expected: None)
        return [violation async for violation in audit.violations(data / FILES)]
    finally:
        await snapshot.close()
