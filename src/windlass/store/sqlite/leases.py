"""What the writing thread knows of the attempts it has started, so that a settlement need not read its task.

Concurrency: the writing thread's alone. Guards nothing: the update of a settlement does, and counts its rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from windlass.contracts.tasks import KeepFile, Report, Save, Settle, Submit, SubmitBatch, Write
from windlass.store.sqlite.driver import Row
from windlass.store.sqlite.rows import token_blob

_HARMLESS = frozenset({Submit, SubmitBatch, Settle, Report, Save, KeepFile})
"""Writes that change nothing of what is known here, but for settlements, which end it."""


class Leases:
    """First attempts that run, by the number of their task: the token, and the task's columns as `ATTEMPTS` reads them.

    LIMIT: what runs. Of a task that runs for the second time nothing is known: it may have left an ending.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes, Row]] = {}

    def begin(self, number: int, token: bytes, columns: Row) -> None:
        """Take in a start, with the columns as they are after it."""
        self._known[number] = (token, columns)

    def end(self, batch: Sequence[Settle]) -> dict[int, Row] | None:
        """Give the rows that `ATTEMPTS` would for `batch`, by their places, and know no more of them; None where it has
        to be asked, as that is not known for each.
        """
        rows: dict[int, Row] = {}
        for place, write in enumerate(batch):
            known = self._known.pop(write.number, None)
            if known is not None and known[0] == token_blob(write.token) and not write.settlement.cancel_seen:
                rows[place] = (place, *known[1])
        return rows if len(rows) == len(batch) else None

    def heed(self, writes: Sequence[Write]) -> None:
        """Forget all if `writes` may change what is known: a cancel request is what counts, and is rare."""
        if not _HARMLESS.issuperset(map(type, writes)):
            self.forget()

    def forget(self) -> None:
        """Know nothing any more: the transaction was undone."""
        self._known.clear()
