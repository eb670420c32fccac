"""New tasks on their way into the store: one by one in a group, or a batch as a whole. On a transaction that is open.

Knows ids, keys and replays; decides nothing about tasks that are there already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from windlass.contracts.tasks import Applied, Placed, Refusal, Refused, Submit, SubmitBatch, WriteResult
from windlass.core.queue import places_left
from windlass.core.state import State
from windlass.core.task import NewTask, Task
from windlass.errors import StoreError
from windlass.store.batches import Key, first_beyond, key_of, meet, placed
from windlass.store.instants import to_micros
from windlass.store.moves import met, submitted
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Row
from windlass.store.sqlite.groups import insert_each, run_each
from windlass.store.sqlite.ledger import Ledger
from windlass.store.sqlite.replays import Replays
from windlass.store.sqlite.rows import blob_id, id_blob, spec_row, task_of

_QUEUED: Final = State.QUEUED


class Intake:
    """The submissions of one turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._connection = ledger.connection
        self._replays = Replays(ledger)
        self._tasks: list[Row] = []
        self._specs: list[Row] = []

    def submit(self, batch: Sequence[Submit]) -> Sequence[WriteResult]:
        """Store each of `batch`, in which no id, key or replay comes twice."""
        answers = self._replays.answers(write.replay for write in batch)
        blobs = [id_blob(write.task.id) for write in batch]
        known = self._numbers_by_id(blobs)
        results: list[WriteResult] = []
        for place, (write, blob) in enumerate(zip(batch, blobs, strict=True)):
            if place in answers:
                results.append(answers[place])
                continue
            new = write.task
            number = known.get(blob)
            if number is None and (key := key_of(new)) is not None:
                number = self._numbers_by_key([key]).get(key)
            if number is not None:
                results.append(met(self._task(number), new))
            elif self._places_left(new.queue) == 0:
                results.append(Refused(Refusal.CAPACITY))
            else:
                results.append(Applied(submitted(new, *self._place(new, blob))))
        self._store()
        self._replays.keep((write.replay, result) for write, result in zip(batch, results, strict=True))
        return results

    def submit_batches(self, writes: Sequence[SubmitBatch]) -> Sequence[WriteResult]:
        """Store each of the batches, wholly or not at all."""
        return [self._submit_batch(write) for write in writes]

    def _submit_batch(self, write: SubmitBatch) -> WriteResult:
        if answers := self._replays.answers([write.replay]):
            return answers[0]
        ids = self._numbers_by_id(id_blob(new.id) for new in write.tasks)
        keys = self._numbers_by_key(key for new in write.tasks if (key := key_of(new)) is not None)
        entries = meet(
            write.tasks,
            ids={blob_id(blob): self._task(number) for blob, number in ids.items()},
            keys={key: self._task(number) for key, number in keys.items()},
        )
        if isinstance(entries, Refused):
            return entries
        if (beyond := first_beyond(write.tasks, entries, self._places_left)) is not None:
            return Refused(Refusal.CAPACITY, index=beyond)
        new = {
            place: Placed(one.id, self._place(one, id_blob(one.id))[0], _QUEUED)
            for place, (one, entry) in enumerate(zip(write.tasks, entries, strict=True))
            if entry == place
        }
        self._store()
        result = Applied(placed=placed(entries, new))
        self._replays.keep([(write.replay, result)])
        return result

    def _places_left(self, name: str) -> int | None:
        """Say how many more tasks a queue takes; None: any number, which costs no more than to see that it is so."""
        queue = self._ledger.queues.known.get(name)
        if queue is None or queue.capacity is None:
            return None
        return places_left(queue, queued=self._ledger.occupancy.count(name, State.QUEUED))

    # ── rows ───────────────────────────────────────────────────────

    def _place(self, new: NewTask, blob: bytes) -> tuple[int, int | None]:
        """Give `new` its number, and that of its origin; its rows wait for `_store`."""
        ledger = self._ledger
        number = ledger.next_number()
        origin_number = None if new.origin is None else ledger.next_of_origin(new.origin)
        lane = ledger.lanes.number(self._connection, new.queue, new.kind)
        created_at = to_micros(new.created_at)
        run_at = created_at if new.run_at is new.created_at else to_micros(new.run_at)
        size = len(new.payload)
        self._tasks.append(
            (number, blob, lane, run_at <= ledger.now, new.priority, run_at, new.grace_s, size, origin_number),
        )
        self._specs.append(spec_row(number, new, created_at=created_at))
        ledger.counters.add(lane, _QUEUED, size)
        ledger.submitted(new, number, at=created_at)
        return number, origin_number

    def _store(self) -> None:
        insert_each(self._connection, sql.INSERT_TASK, self._tasks)
        insert_each(self._connection, sql.INSERT_SPEC, self._specs)
        self._tasks, self._specs = [], []

    def _numbers_by_id(self, blobs: Iterable[bytes]) -> dict[bytes, int]:
        return dict(run_each(self._connection, sql.NUMBER_BY_ID, [(blob,) for blob in blobs]))

    def _numbers_by_key(self, keys: Iterable[Key]) -> dict[Key, int]:
        rows = self._connection.executemany(sql.NUMBER_BY_KEY, list(keys))
        return {(key, kind, origin): number for key, kind, origin, number in rows}

    def _task(self, number: int) -> Task:
        row = self._connection.execute(sql.TASK_BY_NUMBER, (number,)).fetchone()
        if row is None:
            raise StoreError(f"task {number} has an id or key, but no whole row: the store is damaged")
        return task_of(row)
