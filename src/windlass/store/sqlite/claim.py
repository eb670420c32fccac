"""Promoting what is due and claiming what free slots can take, on a transaction that is open.

Walks lanes, never tasks: what waits behind the first ones, or for another time or worker, is not looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

from windlass.contracts.clock import Ids
from windlass.contracts.tasks import Claimed, Wanted
from windlass.core.ids import Token
from windlass.core.limits import PROMOTE_ROWS
from windlass.core.state import EventName
from windlass.core.task import FileRow
from windlass.store.fairness import Pick, Urgency, pick
from windlass.store.instants import from_micros, to_micros
from windlass.store.moves import Change, started
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.connections import change_each
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.lanes import Lanes
from windlass.store.sqlite.rows import (
    ATTEMPT,
    NUMBER,
    ORDINAL,
    PAYLOAD,
    PRIORITY,
    RUN_AT,
    file_of,
    task_of,
    token_blob,
)
from windlass.store.sqlite.turn import TurnWriter


def promote(connection: Connection, *, now: datetime) -> datetime | None:
    """Make ready what is due at `now`, as much as one turn may; say when the next is due that is not ready."""
    micros = to_micros(now)
    due_at = _next_due_at(connection)
    if due_at is not None and due_at <= micros:
        connection.execute(sql.PROMOTE, (micros, PROMOTE_ROWS))
        due_at = _next_due_at(connection)
    return None if due_at is None else from_micros(due_at)


def _next_due_at(connection: Connection) -> int | None:
    row = connection.execute(sql.NEXT_DUE).fetchone()
    return None if row is None else row[0]


class SqliteLane:
    """One lane as a claim sees it: read a few rows at a time, and not before its queue's turn comes."""

    def __init__(self, connection: Connection, key: tuple[int, int], *, queue: str, pool: str, share: int) -> None:
        self.queue = queue
        self.pool = pool
        self._connection = connection
        self._key = key
        self._share = share
        self._read = 0
        self._rows: deque[Row] = deque()

    def head(self) -> Urgency | None:
        """Say how urgent the first ready task is."""
        if not self._rows and self._share:
            rows = self._connection.execute(sql.READY_TASKS, (*self._key, self._share, self._read)).fetchall()
            self._rows.extend(rows)
            self._read += len(rows)
            self._share = self._share * 2 if len(rows) == self._share else 0
        if not self._rows:
            return None
        row = self._rows[0]
        return (-row[PRIORITY], row[RUN_AT], row[NUMBER])

    def take(self) -> Row:
        """Take the first ready task out."""
        return self._rows.popleft()


class Claimer:
    """Claims for one turn, after its writes."""

    def __init__(self, connection: Connection, lanes: Lanes, writer: TurnWriter, *, ids: Ids) -> None:
        self._connection = connection
        self._lanes = lanes
        self._writer = writer
        self._ids = ids

    def claim(self, wanted: Wanted, *, now: datetime, served: str | None) -> tuple[Sequence[Claimed], str | None]:
        """Start what `wanted` has room for; `served` is the queue that started the last task, before and after."""
        if not any(slots > 0 for slots in wanted.slots.values()):
            return [], served
        picks = list(pick(self._ready_lanes(wanted), wanted.slots, served=served))
        if not picks:
            return [], served
        tokens = [self._ids.token() for _ in picks]
        at = to_micros(now)
        starts = [
            (choice.candidate[NUMBER], token_blob(token), at) for choice, token in zip(picks, tokens, strict=True)
        ]
        change_each(self._connection, sql.START, starts)
        claimed = [self._start(choice, token, now) for choice, token in zip(picks, tokens, strict=True)]
        return claimed, picks[-1].queue

    def _ready_lanes(self, wanted: Wanted) -> list[SqliteLane]:
        """Name the lanes that have ready tasks of a kind and in a pool that `wanted` has room for; reads none yet."""
        ready = [(lane, *self._lanes.name(lane)) for (lane,) in self._connection.execute(sql.READY_LANES).fetchall()]
        queues = max(1, len({queue for _, queue, _ in ready}))
        return [
            SqliteLane(self._connection, (lane, solo), queue=queue, pool=pool, share=-(-slots // queues))
            for lane, queue, kind in ready
            for solo, pool in enumerate(wanted.pools.get(kind, ()))
            if (slots := wanted.slots.get(pool, 0)) > 0
        ]

    def _start(self, choice: Pick[Row], token: Token, now: datetime) -> Claimed:
        row = choice.candidate
        task = started(task_of(row), token=token, at=now)
        self._writer.record(Change(task=task, event=EventName.STARTED, at=now, token=token), ordinal=row[ORDINAL] + 1)
        is_first = row[ATTEMPT] == 0
        return Claimed(
            task=task,
            pool=choice.pool,
            payload=row[PAYLOAD],
            checkpoint=None if is_first else self._checkpoint(task.number),
            files=[] if is_first else self._files(task.number),
        )

    def _checkpoint(self, number: int) -> bytes | None:
        row = self._connection.execute(sql.CHECKPOINT, (number,)).fetchone()
        return None if row is None else row[0]

    def _files(self, number: int) -> list[FileRow]:
        return [file_of(row) for row in self._connection.execute(sql.FILES, (number,))]
