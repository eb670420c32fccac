"""What each write does to the tasks in memory. Decides nothing: `moves` and `batches` say what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import (
    Applied,
    Delete,
    Edit,
    Forget,
    Hide,
    Hold,
    KeepFile,
    Prune,
    Refusal,
    Refused,
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
from windlass.core.queue import Queue, places_left
from windlass.core.state import EventName, State
from windlass.core.task import NewTask, Task
from windlass.store.batches import first_beyond, key_of, meet, placed
from windlass.store.instants import from_micros, to_micros
from windlass.store.memory.shelf import Shelf
from windlass.store.moves import Amendment, AttemptWrite, Change, Quiet, amended, met, refusal, settled, submitted
from windlass.store.pages import LAST_ENDING
from windlass.store.queues import declared, set_of


class MemoryWriter:
    """Applies writes, turn by turn."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._now = from_micros(0)
        self._sorts: dict[type[Write], Callable[[Any], WriteResult]] = {
            Submit: self._submit,
            SubmitBatch: self._submit_batch,
            Settle: self._attempt,
            Report: self._attempt,
            Save: self._attempt,
            KeepFile: self._attempt,
            RequestCancel: self._amend,
            Hide: self._amend,
            Retry: self._amend,
            Hold: self._amend,
            Release: self._amend,
            Edit: self._amend,
            DeclareQueues: self._declare,
            SetQueue: self._set_queue,
            Delete: self._delete,
            Prune: self._prune,
            Sweep: self._sweep,
            Forget: self._forget,
        }

    def apply(self, writes: Sequence[Write], *, now: datetime) -> Sequence[WriteResult]:
        """Apply the writes of a turn in order; one result for each."""
        self._now = now
        return [self._sorts[type(write)](write) for write in writes]

    # ── submissions ────────────────────────────────────────────────

    def _submit(self, write: Submit) -> WriteResult:
        answer = self._shelf.replays.answer(write.replay, self._now)
        if answer is not None:
            return answer
        existing = self._by_id(write.task) or self._by_key(write.task)
        if existing is not None:
            result = met(existing, write.task)
        elif self._places_left(write.task.queue) == 0:
            result = Refused(Refusal.CAPACITY)
        else:
            result = Applied(self._place(write.task))
        self._shelf.replays.keep(write.replay, result)
        return result

    def _submit_batch(self, write: SubmitBatch) -> WriteResult:
        answer = self._shelf.replays.answer(write.replay, self._now)
        if answer is not None:
            return answer
        ids = {new.id: task for new in write.tasks if (task := self._by_id(new)) is not None}
        stored = (task for new in write.tasks if (task := self._by_key(new)) is not None)
        keys = {key: task for task in stored if (key := key_of(task)) is not None}
        entries = meet(write.tasks, ids=ids, keys=keys)
        if isinstance(entries, Refused):
            return entries
        if (beyond := first_beyond(write.tasks, entries, self._places_left)) is not None:
            return Refused(Refusal.CAPACITY, index=beyond)
        new = {place: self._place(write.tasks[place]) for place, entry in enumerate(entries) if entry == place}
        result = Applied(placed=placed(entries, new))
        self._shelf.replays.keep(write.replay, result)
        return result

    def _place(self, new: NewTask) -> Task:
        task = submitted(new, self._shelf.next_number(), self._shelf.origins.give(new.origin))
        self._shelf.add(task, new)
        self._keep(Change(task=task, event=EventName.SUBMITTED, at=task.created_at))
        return task

    def _places_left(self, name: str) -> int | None:
        queue = self._shelf.queues.get(name)
        if queue is None or queue.capacity is None:
            return None
        return places_left(queue, queued=self._shelf.count(name, State.QUEUED))

    def _by_id(self, new: NewTask) -> Task | None:
        return self._shelf.find(new.id)

    def _by_key(self, new: NewTask) -> Task | None:
        key = key_of(new)
        number = None if key is None else self._shelf.keys.get(key)
        return None if number is None else self._shelf.tasks[number]

    # ── changes ────────────────────────────────────────────────────

    def _attempt(self, write: AttemptWrite) -> WriteResult:
        shelf = self._shelf
        task = shelf.tasks.get(write.number)
        if task is None:
            return Refused(Refusal.MISSING)
        if (refused := refusal(task, write)) is not None:
            return refused
        match write:
            case Settle():
                if write.settlement.state is State.SUCCEEDED and write.settlement.result is not None:
                    shelf.results[task.number] = write.settlement.result
                self._keep(settled(task, write))
                return Applied()
            case Report(progress=progress):
                task = replace(task, progress=progress)
            case Save(checkpoint=checkpoint):
                shelf.checkpoints[task.number] = checkpoint
                task = replace(task, interrupted=0)
            case KeepFile(file=file):
                shelf.keep_file(task.number, file)
        shelf.tasks[task.number] = replace(task, version=task.version + 1)
        return Applied()

    def _amend(self, write: Amendment) -> WriteResult:
        task = self._shelf.find(write.ref)
        if task is None:
            return Refused(Refusal.MISSING)
        change = amended(task, write)
        if isinstance(change, Quiet):
            self._shelf.tasks[task.number] = change.task
            return Applied(change.task)
        if not isinstance(change, Change):
            return change
        if isinstance(write, Retry):
            self._shelf.results.pop(task.number, None)
        self._keep(change)
        return Applied(change.task)

    def _keep(self, change: Change) -> None:
        self._shelf.keep(change, to_micros(self._now))

    # ── queues ─────────────────────────────────────────────────────

    def _declare(self, write: DeclareQueues) -> WriteResult:
        return Applied(created=self._keep_queues(declared(self._shelf.queues, write)))

    def _set_queue(self, write: SetQueue) -> WriteResult:
        before = self._shelf.queues.get(write.name, Queue(name=write.name))
        after = set_of(before, write)
        return Applied(created=self._keep_queues([after] if after != before else []), queue=after)

    def _keep_queues(self, changed: Sequence[Queue]) -> bool:
        for queue in changed:
            if queue.is_plain:
                self._shelf.queues.pop(queue.name, None)
            else:
                self._shelf.queues[queue.name] = queue
        return bool(changed)

    # ── removal ────────────────────────────────────────────────────

    def _delete(self, write: Delete) -> WriteResult:
        task = self._shelf.find(write.ref)
        if task is None:
            return Refused(Refusal.MISSING)
        if not task.state.has_ended:
            return Refused(Refusal.STATE, task)
        self._shelf.remove(task, write.at)
        return Applied(task)

    def _prune(self, write: Prune) -> WriteResult:
        before = LAST_ENDING if write.before is None else (to_micros(write.before), 0)
        going = self._shelf.endings.first(write.states, before=before, limit=max(0, write.limit))
        sizes = [self._shelf.remove(self._shelf.tasks[number], write.at) for number in going]
        return Applied(count=len(sizes), size_bytes=sum(sizes))

    def _sweep(self, write: Sweep) -> WriteResult:
        return Applied(count=sum(self._shelf.graveyard.sweep(number) for number in write.numbers))

    def _forget(self, write: Forget) -> WriteResult:
        limit = max(0, write.limit)
        replays = self._shelf.replays.forget(write.at, limit=limit)
        return Applied(count=replays + self._shelf.graveyard.forget(write.before, limit=limit - replays))
