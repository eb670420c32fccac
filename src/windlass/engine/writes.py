"""The writing half of `contracts.engine_api`: each a write in some turn, and what its refusal means to who asked.

Holds no rules: what is allowed is decided by `core`, in the store's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

import msgspec

from windlass.contracts.clock import Clock
from windlass.contracts.engine_api import (
    BulkOrder,
    BulkOutcome,
    Changes,
    QueueChange,
    QueueStatus,
    Repeat,
    Submission,
    Submitted,
    SubmittedBatch,
)
from windlass.contracts.store import Store
from windlass.contracts.tasks import (
    Applied,
    Delete,
    Edit,
    Hide,
    Hold,
    Refusal,
    Refused,
    Release,
    Replay,
    RequestCancel,
    Retry,
    Submit,
    SubmitBatch,
    TaskRef,
)
from windlass.core.limits import IDEMPOTENCY_KEPT_S
from windlass.core.task import NewTask, Task
from windlass.engine.bulk import Bulk
from windlass.engine.bus import Bus
from windlass.engine.catalog import Catalog
from windlass.engine.intake import Intake
from windlass.engine.queues import QueueBoard
from windlass.engine.reads import Reads
from windlass.engine.remains import Remains
from windlass.engine.settler import Settler
from windlass.errors import ConflictError, IdempotencyMismatch, KeyConflict, StoreFull
from windlass.wire.codec import echo


class WriteTools(msgspec.Struct, frozen=True):
    """What writes go through: `intake` makes them, `settler` has them written, `remains` clears up behind a delete,
    `queues` says of a full one when to come again.
    """

    intake: Intake
    settler: Settler
    remains: Remains
    queues: QueueBoard


class Writes(Reads):
    """Reads and writes of one server's engine. `files` is the directory of all tasks' directories.

    Concurrency: of one event loop. Cancel-safe: a write that is in the line is done, whoever leaves.
    """

    def __init__(
        self, store: Store, bus: Bus, catalog: Catalog, *, clock: Clock, files: str, tools: WriteTools
    ) -> None:
        super().__init__(store, bus, catalog, clock=clock, files=files, queues=tools.queues)
        self._intake = tools.intake
        self._settler = tools.settler
        self._remains = tools.remains
        self._bulk = Bulk(store.tasks, tools.settler, clock, tools.remains)

    async def submit(self, submission: Submission, *, repeat: Repeat | None = None) -> Submitted:
        """Store a task, or meet the one that has its key."""
        new = self._intake.make(submission)
        result = await self._settler.write(Submit(new, self._replay(repeat)))
        if isinstance(result, Refused):
            self._refuse_submit(result, [submission], [new])
        assert result.task is not None
        return Submitted(result.task, result.created, result.replayed)

    async def submit_batch(self, submissions: Sequence[Submission], *, repeat: Repeat | None = None) -> SubmittedBatch:
        """Store all of `submissions` or none."""
        tasks = await self._intake.make_all(submissions)
        result = await self._settler.write(SubmitBatch(tasks, self._replay(repeat)))
        if isinstance(result, Refused):
            self._refuse_submit(result, submissions, tasks)
        return SubmittedBatch(result.placed, result.replayed)

    async def cancel(self, ref: TaskRef, *, reason: str | None = None, grace_s: float | None = None) -> Task:
        """Cancel a queued task, or have a running one stopped."""
        write = RequestCancel(ref, self._clock.now(), reason, grace_s)
        return await self._amend(write, "cannot be cancelled any more")

    async def hide(self, ref: TaskRef) -> Task:
        """Have its origin know of the task no more, and, unless it has ended, cancel it."""
        return await self._amend(Hide(ref, self._clock.now()), "cannot be hidden")

    async def retry(self, ref: TaskRef) -> Task:
        """Queue an ended task again."""
        return await self._amend(Retry(ref, self._clock.now()), "has not ended, so there is nothing to retry")

    async def hold(self, ref: TaskRef) -> Task:
        """Keep a queued task from starting."""
        return await self._amend(Hold(ref, self._clock.now()), "is not queued, so it cannot be held")

    async def release(self, ref: TaskRef) -> Task:
        """Let a held task start."""
        return await self._amend(Release(ref, self._clock.now()), "is not held")

    async def edit(self, ref: TaskRef, changes: Changes) -> Task:
        """Change labels of a task, or when and where it runs."""
        write = self._intake.edit(ref, changes)
        return await self._amend(write, "is not queued, so its priority, time and queue are settled")

    async def delete(self, ref: TaskRef) -> None:
        """Remove an ended task with its files."""
        write = Delete(ref, self._clock.now())
        task = await self._amend(write, "has not ended: cancel it first, and delete it once it is gone")
        await self._remains.remove([(task.number, task.id)])

    async def bulk(self, order: BulkOrder) -> BulkOutcome:
        """Do one thing to many tasks."""
        return await self._bulk.run(order)

    async def set_queue(self, name: str, change: QueueChange) -> QueueStatus:
        """Change what is set of a queue."""
        return await self._queues.set(name, change)

    def _replay(self, repeat: Repeat | None) -> Replay | None:
        if repeat is None:
            return None
        until = self._clock.now() + timedelta(seconds=IDEMPOTENCY_KEPT_S)
        return Replay(repeat.scope, repeat.key, repeat.fingerprint, until)

    async def _amend(
        self, write: RequestCancel | Hide | Retry | Hold | Release | Edit | Delete, otherwise: str
    ) -> Task:
        """Have `write` done, and give the task as it says.

        Raises:
            NotFoundError: there is no such task.
            ConflictError: its state forbids it: it `otherwise`.
            StoreFull: there is no room to write.
        """
        result = await self._settler.write(write)
        if isinstance(result, Applied):
            assert result.task is not None
            return result.task
        if result.why is Refusal.FULL:
            raise _no_room()
        if result.why is Refusal.MISSING or result.task is None:
            raise await self._missing(write.ref)
        raise ConflictError(
            f"task {write.ref} is {result.task.state}: it {otherwise}", code="task_state", task=result.task
        )

    def _refuse_submit(self, refused: Refused, submissions: Sequence[Submission], tasks: Sequence[NewTask]) -> NoReturn:
        if refused.why is Refusal.CAPACITY:
            raise self._queues.full(tasks[refused.index or 0].queue)
        _refuse_content(refused, submissions)


def _refuse_content(refused: Refused, submissions: Sequence[Submission]) -> NoReturn:
    if refused.why is Refusal.FULL:
        raise _no_room()
    if refused.why is Refusal.REPLAY:
        raise IdempotencyMismatch(
            "this Idempotency-Key came with another body before: send that body again, or take a new key"
        )
    submission = submissions[refused.index or 0]
    of_batch = {} if refused.index is None else {"pointer": f"/tasks/{refused.index}/key"}
    where = "" if refused.index is None else f"tasks[{refused.index}]: "
    raise KeyConflict(
        f"{where}the key {echo(submission.key or '')} belongs to a task of kind {submission.kind} with other content",
        task=refused.task,
        **of_batch,
    )


def _no_room() -> StoreFull:
    return StoreFull("the disk is full: what is left of it is kept for attempts that end")
