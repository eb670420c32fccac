"""Starting what a claim has picked: its rows, its events and all that a worker needs. On a transaction that is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec.structs import replace

from windlass.contracts.clock import Ids
from windlass.contracts.tasks import Claimed
from windlass.core.ids import ServerId, Token
from windlass.core.state import EventName, Recovery, State
from windlass.core.task import FileRow, Task
from windlass.errors import StoreError
from windlass.store.fairness import Pick
from windlass.store.moves import BLANK
from windlass.store.postgres import claim_statements as sql
from windlass.store.postgres.driver import Record
from windlass.store.postgres.groups import columns
from windlass.store.postgres.ledger import Ledger, Line
from windlass.store.postgres.ready import Ready
from windlass.store.postgres.rows import error_of, file_of, retry_of, task_id
from windlass.wire.codec import decode_json

_STARTED, _RUNNING, _QUEUED = EventName.STARTED, State.RUNNING, State.QUEUED
_RECOVERIES: Final = {str(recovery): recovery for recovery in Recovery}
_NEVER_RAN_NOR_NAMED: Final = (0, 0, 0.0, None, None, None, None, None, None, None, False, None)
"""What the columns after the payload of a started task hold in most of them."""


class Starter:
    """The starts of one turn, under the lease of `server`; None where nobody has enrolled."""

    def __init__(self, ledger: Ledger, *, ids: Ids, server: ServerId | None) -> None:
        self._ledger = ledger
        self._connection = ledger.connection
        self._ids = ids
        self._server = server

    async def start(self, picks: Sequence[Pick[Ready]]) -> Sequence[Claimed]:
        """Start what was picked, in this order."""
        tokens = [self._ids.token() for _ in picks]
        starts = sorted(zip((choice.candidate.number for choice in picks), tokens, strict=True))
        now = self._ledger.now
        rows = await self._connection.fetch(sql.START, *columns(starts), self._server, now, True)
        if len(rows) != len(picks):
            raise StoreError(f"{len(picks)} locked tasks were to start and {len(rows)} did: somebody else writes too")
        by_number: dict[int, Record] = {row[0]: row for row in rows}
        checkpoints, files = await self._left_by_attempts([row[0] for row in rows if row[2] > 1])
        claimed: list[Claimed] = []
        for choice, token in zip(picks, tokens, strict=True):
            ready = choice.candidate
            row = by_number[ready.number]
            task = self._started(row, ready, token)
            self._count(task, row, ready)
            claimed.append(
                Claimed(
                    task=task,
                    pool=choice.pool,
                    payload=row[13],
                    checkpoint=checkpoints.get(task.number),
                    files=files.get(task.number, []),
                )
            )
        return claimed

    def _started(self, row: Record, ready: Ready, token: Token) -> Task:
        """Read a row of `START` as the running task that it is now."""
        (number, uuid, attempt, charged, _, version, grace_s, _, *rest) = row
        (created_at, max_attempts, retry, recovery, timeout_s, _, *rare) = rest
        lane = ready.lane
        task = replace(
            BLANK,
            number=number,
            id=task_id(uuid),
            kind=lane.kind,
            queue=lane.queue,
            state=_RUNNING,
            created_at=created_at,
            run_at=ready.position[0],
            priority=lane.priority,
            attempt=attempt,
            charged=charged,
            max_attempts=max_attempts,
            solo=lane.solo,
            retry=retry_of(retry),
            recovery=_RECOVERIES[recovery],
            timeout_s=timeout_s,
            grace_s=grace_s,
            token=token,
            started_at=self._ledger.now,
            version=version,
        )
        return task if tuple(rare) == _NEVER_RAN_NOR_NAMED else replace(task, **_rare(rare))

    def _count(self, task: Task, row: Record, ready: Ready) -> None:
        ledger, size = self._ledger, row[7]
        ledger.counters.drop(ready.lane.number, _QUEUED, size)
        ledger.counters.add(ready.lane.number, _RUNNING, size)
        ledger.left_ready.discard(task.number)
        ledger.add(
            Line(
                number=task.number,
                task_id=task.id,
                kind=task.kind,
                ordinal=row[4],
                at=ledger.now,
                name=_STARTED,
                state=_RUNNING,
                attempt=task.attempt,
                token=task.token,
            )
        )

    async def _left_by_attempts(self, numbers: Sequence[int]) -> tuple[Mapping[int, bytes], dict[int, list[FileRow]]]:
        """Read checkpoints and files that earlier attempts have left."""
        if not numbers:
            return {}, {}
        saved = await self._connection.fetch(sql.CHECKPOINTS, numbers)
        files: dict[int, list[FileRow]] = {}
        for row in await self._connection.fetch(sql.FILES, numbers):
            files.setdefault(row[0], []).append(file_of(tuple(row)[1:]))
        return {row[0]: row[1] for row in saved}, files


def _rare(row: Sequence[Any]) -> dict[str, Any]:
    """Read what few ready tasks have: an earlier attempt, a key, an origin, a name, tags."""
    (lost, interrupted, run_s, key, origin, fingerprint, name, description, tags, origin_number, hidden, *rest) = row
    (error,) = rest
    return {
        "lost": lost,
        "interrupted": interrupted,
        "run_s": run_s,
        "key": key,
        "origin": origin,
        "fingerprint": fingerprint,
        "name": name,
        "description": description,
        "tags": {} if tags is None else decode_json(tags),
        "origin_number": origin_number,
        "is_hidden": hidden,
        "error": error_of(error),
    }
