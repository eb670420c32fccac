"""Making ready what is due, on a transaction that is open."""

from __future__ import annotations

from datetime import datetime

from windlass.core.limits import PROMOTE_ROWS
from windlass.store.postgres import claim_statements as sql
from windlass.store.postgres.floors import DUE
from windlass.store.postgres.ledger import Ledger


async def promote(ledger: Ledger) -> datetime | None:
    """Make ready what is due, as much as one turn may; say when the next is due that is not ready."""
    due_at = await _next_due_at(ledger)
    if due_at is None or due_at > ledger.now:
        return due_at
    floors = ledger.floors
    rows = await ledger.connection.fetch(sql.PROMOTE, *floors.after(DUE), ledger.now, PROMOTE_ROWS, False)
    last = max(((run_at, number) for _, run_at, number in rows), default=None)
    if last is not None:
        floors.put(DUE, last)
    for lane, run_at, number in rows:
        ledger.queued(lane, run_at, number, is_ready=True)
    return await _next_due_at(ledger)


async def _next_due_at(ledger: Ledger) -> datetime | None:
    floors = ledger.floors
    began = floors.began()
    due_at: datetime | None = await ledger.connection.fetchval(sql.NEXT_DUE, *floors.after(DUE))
    floors.judge(DUE, began, rows=1)
    return due_at
