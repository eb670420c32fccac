"""Batches over HTTP: many tasks in one body, stored together or not at all.

Reads what is large or broken item by item, and gives way to others in between: a batch must not hold up those who ask
for little.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final, NoReturn

import msgspec

from windlass.contracts.engine_api import Submission
from windlass.core.limits import BATCH_BYTES, BATCH_TASKS, KIB
from windlass.errors import InputError, WindlassError
from windlass.http.call import NDJSON, Call
from windlass.http.inputs import FAULTS_MAX, Fault, read_struct
from windlass.http.reply import Reply, json_reply
from windlass.http.v1.repeats import REPLAYED, read_key, read_repeat
from windlass.http.v1.submission import read_submission, submission_of
from windlass.wire.batch import NotABatch, items_of_document, items_of_lines
from windlass.wire.codec import decode_strict
from windlass.wire.v1_many import BatchRequest, PlacedList, PlacedView

_AT_ONCE: Final = 200
"""LIMIT: items read before anybody else gets the loop: about 5 ms."""
_WHOLE_BYTES: Final = 128 * KIB
"""LIMIT: a document no larger is taken apart in one piece, which is as quick as a few hundred items one by one."""


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
        if media != NDJSON and len(body) <= min(_WHOLE_BYTES, max_bytes) and await self._read_whole(body):
            return
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

    async def _read_whole(self, body: bytes) -> bool:
        """Read a document in one piece; false, with nothing read, where it takes a look at each item to say what is
        wrong, or whether anything is.
        """
        if b"\\" in body:  # a field spelled with escapes: the items are found by how it begins
            return False
        submissions: list[Submission] = []
        try:
            document = decode_strict(body)
            for count, request in enumerate(msgspec.convert(document, BatchRequest).tasks, 1):
                submissions.append(submission_of(request, now=self._now))
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        except (InputError, msgspec.ValidationError):
            return False
        self.submissions = submissions
        self.documents = document["tasks"] if self._keeps_documents else []
        return True

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
