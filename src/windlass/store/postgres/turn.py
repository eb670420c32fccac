"""The writes of one turn, on a transaction that is open. Decides nothing, commits nothing.

Writes of one sort that follow each other go to PostgreSQL together; what comes out is as if each had gone alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from itertools import groupby
from typing import Any

from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import (
    Delete,
    Edit,
    Forget,
    Hide,
    Hold,
    KeepFile,
    Prune,
    Release,
    Report,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    SubmitBatch,
    Sweep,
    Write,
    WriteResult,
)
from windlass.store.batches import key_of
from windlass.store.postgres.attempts import Attempts
from windlass.store.postgres.edits import Edits
from windlass.store.postgres.intake import Intake
from windlass.store.postgres.ledger import Ledger
from windlass.store.postgres.queues import QueueWrites
from windlass.store.postgres.removal import Removal

_Apply = Callable[[Sequence[Any]], Awaitable[Sequence[WriteResult]]]


class TurnWriter:
    """Applies the writes of one turn; what they do beside the rows goes into the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        intake, attempts, edits, removal = Intake(ledger), Attempts(ledger), Edits(ledger), Removal(ledger)
        queues = QueueWrites(ledger.queues)
        amend: _Apply = edits.amend  # the same one: amendments of all sorts go together
        self._sorts: dict[type[Write], _Apply] = {
            Submit: intake.submit,
            SubmitBatch: intake.submit_batches,
            Settle: attempts.settle,
            Report: attempts.report,
            Save: attempts.save,
            KeepFile: attempts.keep_files,
            RequestCancel: amend,
            Hide: amend,
            Retry: amend,
            Hold: amend,
            Release: amend,
            Edit: amend,
            DeclareQueues: queues.declare,
            SetQueue: queues.set,
            Delete: removal.delete,
            Prune: removal.prune,
            Sweep: removal.sweep,
            Forget: removal.forget,
        }

    async def apply(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Apply `writes` in order; one result for each."""
        await self._ledger.queues.lock_for(writes)
        results: list[WriteResult] = []
        for apply, group in groupby(writes, lambda write: self._sorts[type(write)]):
            for run in _runs(list(group)):
                results += await apply(run)
        return results


def _runs(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """Cut writes of one sort into runs in which no task, id, key, replay or file comes twice."""
    subjects = [subject for write in writes for subject in _subjects(write)]
    if len(set(subjects)) == len(subjects):
        yield writes
        return
    run: list[Write] = []
    seen: set[Hashable] = set()
    for write in writes:
        subjects = _subjects(write)
        if not seen.isdisjoint(subjects):
            yield run
            run, seen = [], set()
        run.append(write)
        seen.update(subjects)
    yield run


def _subjects(write: Write) -> tuple[Hashable, ...]:
    match write:
        case Submit(task=new, replay=replay):
            key = () if new.key is None else (key_of(new),)
            return (new.id, *key) if replay is None else (new.id, *key, ("replay", "of", replay.scope, replay.key))
        case Settle() | Report() | Save():
            return (write.number,)
        case KeepFile():
            return ((write.number, write.file.index),)
        case _:
            return ()  # these see for themselves
