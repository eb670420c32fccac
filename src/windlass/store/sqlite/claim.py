"""Promoting what is due and claiming what free slots can take, on a transaction that is open.

Walks lanes, never tasks: what waits behind the first ones, or for another time or worker, or in a queue that has no
room, is not looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from windlass.contracts.clock import Ids
from windlass.contracts.tasks import Claimed, Wanted
from windlass.core.ids import Token
from windlass.core.limits import PROMOTE_ROWS
from windlass.core.queue import slots_left
from windlass.core.state import State
from windlass.core.task import Error, FileRow
from windlass.store.fairness import Pick, Urgency, pick
from windlass.store.instants import from_micros, to_micros
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.groups import change_each
from windlass.store.sqlite.ledger import Ledger
from windlass.store.sqlite.rows import error_of, file_of, started_task, token_blob

_NUMBER, _PRIORITY, _RUN_AT, _ID, _ATTEMPT, _ORDINAL, _PAYLOAD, _SIZE_BYTES = 0, 1, 2, 3, 4, 6, 14, 15
"""Where a row of `READY_TASKS` has what a claim needs besides the task."""
_QUEUED, _RUNNING = State.QUEUED, State.RUNNING


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

    def __init__(
        self, connection: Connection, key: tuple[int, int], *, queue: str, kind: str, pool: str, share: int
    ) -> None:
        self.queue = queue
        self.pool = pool
        self.kind = kind
        self.number, solo = self._key = key
        self.solo = solo == 1
        self._connection = connection
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
        return (-row[_PRIORITY], row[_RUN_AT], row[_NUMBER])

    def take(self) -> Ready:
        """Take the first ready task out."""
        return self._rows.popleft(), self


Ready = tuple[Row, SqliteLane]
"""A ready task: its row of `READY_TASKS`, and its lane."""


class Claimer:
    """Claims for one turn, after its writes."""

    def __init__(self, ledger: Ledger, *, ids: Ids) -> None:
        self._ledger = ledger
        self._connection = ledger.connection
        self._ids = ids

    def claim(self, wanted: Wanted, *, now: datetime, served: str | None) -> tuple[Sequence[Claimed], str | None]:
        """Start what `wanted` has room for; `served` is the queue that started the last task, before and after."""
        if not any(slots > 0 for slots in wanted.slots.values()):
            return [], served
        ready = self._ready_lanes()
        rooms = self._rooms({queue for _, queue, _ in ready})
        lanes = self._lanes(ready, wanted, rooms)
        picks = list(pick(lanes, wanted.slots, rooms=rooms, served=served))
        if not picks:
            return [], served
        tokens = [self._ids.token() for _ in picks]
        blobs = [token_blob(token) for token in tokens]
        starts = [(choice.candidate[0][_NUMBER], blob) for choice, blob in zip(picks, blobs, strict=True)]
        change_each(self._connection, sql.START, starts, (self._ledger.now,))
        claimed = [
            self._start(choice, token, blob, now=now) for choice, token, blob in zip(picks, tokens, blobs, strict=True)
        ]
        return claimed, picks[-1].queue

    def _ready_lanes(self) -> list[tuple[int, str, str]]:
        """Name the lanes that have ready tasks, with queue and kind."""
        lanes = self._connection.execute(sql.READY_LANES).fetchall()
        return [(lane, *self._ledger.lanes.name(lane)) for (lane,) in lanes]

    def _rooms(self, queues: Iterable[str]) -> dict[str, int]:
        """Say of the queues that do not start as many tasks as they like how many they may start in this turn."""
        rooms: dict[str, int] = {}
        known = self._ledger.queues.known
        for name in queues:
            queue = known.get(name)
            if queue is None or not (queue.is_paused or queue.concurrency is not None):
                continue
            running = 0 if queue.is_paused else self._ledger.occupancy.count(name, State.RUNNING)
            left = slots_left(queue, running=running)
            if left is not None:
                rooms[name] = left
        return rooms

    def _lanes(
        self, ready: Sequence[tuple[int, str, str]], wanted: Wanted, rooms: Mapping[str, int]
    ) -> list[SqliteLane]:
        """Open the lanes of a kind and in a pool that `wanted` has room for, and their queues too; reads none yet."""
        open_ = [lane for lane in ready if rooms.get(lane[1], 1) > 0]
        queues = max(1, len({queue for _, queue, _ in open_}))
        return [
            SqliteLane(
                self._connection,
                (lane, solo),
                queue=queue,
                kind=kind,
                pool=pool,
                share=min(-(-slots // queues), rooms.get(queue, slots)),
            )
            for lane, queue, kind in open_
            for solo, pool in enumerate(wanted.pools.get(kind, ()))
            if (slots := wanted.slots.get(pool, 0)) > 0
        ]

    def _start(self, choice: Pick[Ready], token: Token, blob: bytes, *, now: datetime) -> Claimed:
        row, lane = choice.candidate
        task = started_task(row, choice.queue, lane.kind, solo=lane.solo, token=token, at=now)
        is_first = row[_ATTEMPT] == 0
        if not is_first:
            task = replace(task, error=self._error(task.number))
        counters, size = self._ledger.counters, row[_SIZE_BYTES]
        counters.drop(lane.number, _QUEUED, size)
        counters.add(lane.number, _RUNNING, size)
        ordinal = row[_ORDINAL] + 1
        self._ledger.started(task, at=now, ordinal=ordinal, token=blob)
        if is_first:
            self._ledger.leases.begin(task.number, blob, (row[_ID], lane.number, task.attempt, ordinal, size, 0))
        return Claimed(
            task=task,
            pool=choice.pool,
            payload=row[_PAYLOAD],
            checkpoint=None if is_first else self._checkpoint(task.number),
            files=[] if is_first else self._files(task.number),
        )

    def _error(self, number: int) -> Error | None:
        row = self._connection.execute(sql.ERROR, (number,)).fetchone()
        return None if row is None else error_of(row[0])

    def _checkpoint(self, number: int) -> bytes | None:
        row = self._connection.execute(sql.CHECKPOINT, (number,)).fetchone()
        return None if row is None else row[0]

    def _files(self, number: int) -> list[FileRow]:
        return [file_of(row) for row in self._connection.execute(sql.FILES, (number,))]
