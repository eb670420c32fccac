"""Batches over HTTP: many tasks in one body, stored together or not at all.

Reads item by item and gives way to others in between: a large batch must not hold up those who ask for little.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final, NoReturn

from windlass.contracts.engine_api import Submission
from windlass.core.limits import BATCH_BYTES, BATCH_TASKS
from windlass.errors import InputError, WindlassError
from windlass.http.call import NDJSON, Call
from windlass.http.inputs import FAULTS_MAX, Fault, read_struct
from windlass.http.reply import Reply, json_reply
from windlass.http.v1.repeats import REPLAYED, read_key, read_repeat
from windlass.http.v1.submission import read_submission
from windlass.wire.batch import NotABatch, items_of_document, items_of_lines
from windlass.wire.codec import decode_strict
from windlass.wire.v1_many import BatchRequest, PlacedList, PlacedView

_AT_ONCE: Final = 200
"""LIMIT: items read before anybody else gets the loop: about 5 ms."""


async def submit_batch(call: Call) -> Reply:
    """Take all tasks of a batch in, or none.

    With an `Idempotency-Key` that was used before, the answer is the one given then.
    """
    media, body = await call.batch(max_bytes=max(BATCH_BYTES, call.services.body_bytes))
    batch = _Batch(now=call.services.clock.now(), keeps_documents=read_key(call) is not None)
    await batch.read(body, media, max_bytes=call.services.body_bytes)
    done = await call.engine.submit_batch(batch.submissions, repeat=read_repeat(call, batch.documents))
    placed = [PlacedView(id=task.id, number=task.number, state=task.state) for task in done.placed]
    return json_reply(202, PlacedList(tasks=placed), REPLAYED if done.is_replay else None)


class _Batch:
    """What has been read of a batch: its submissions, and their documents where these tell it from another batch."""

    def __init__(self, *, now: datetime, keeps_documents: bool) -> None:
        self.submissions: list[Submission] = []
        self.documents: list[Any] = []
        self._now = now
        self._keeps_documents = keeps_documents
        self._count = 0
        self._faults: list[Fault] = []

    async def read(self, body: bytes, media: str, *, max_bytes: int) -> None:
        """Read all items, of which each may have `max_bytes`.

        Raises:
            InputError: names the items that break a rule, up to a bound, by their place.
            WindlassError: there are too many.
        """
        split = items_of_lines if media == NDJSON else items_of_document
        try:
            for raw in split(body, max_bytes=max_bytes):
                self._take(raw)
                if len(self._faults) >= FAULTS_MAX:
                    break
                if self._count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        except NotABatch as error:
            # Behind an item that is no JSON itself, where the next one begins is a guess.
            if not self._faults:
                _explain(body, error, max_bytes)
        except InputError as error:
            self._blame(error)
        if self._faults:
            raise InputError.of(tuple(self._faults[:FAULTS_MAX]))
        if not self.submissions:
            raise InputError("a batch needs at least one task", code="invalid_value", pointer="/tasks")

    def _take(self, raw: bytes) -> None:
        if self._count == BATCH_TASKS:
            raise WindlassError(f"a batch may have {BATCH_TASKS:,} tasks: send several", code="batch_too_large")
        try:
            document = decode_strict(raw)
            self.submissions.append(read_submission(document, now=self._now))
            if self._keeps_documents:
                self.documents.append(document)
        except InputError as error:
            self._blame(error)
        self._count += 1

    def _blame(self, error: InputError) -> None:
        self._faults += [(f"/tasks/{self._count}{at}", code, detail) for at, code, detail in error.errors]


def _explain(body: bytes, error: NotABatch, max_bytes: int) -> NoReturn:
    """Say what is wrong with a batch as a whole: by reading it as one document, where it is small enough for that."""
    if len(body) <= max_bytes:
        read_struct(decode_strict(body), BatchRequest)
    raise error
