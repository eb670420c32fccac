"""A store on the bench: what the store's tests do with it, whichever store it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from store_ids import SeededIds

from windlass.contracts.store import Store
from windlass.contracts.tasks import (
    Applied,
    Claimed,
    KeepFile,
    Refused,
    Report,
    Save,
    Settle,
    Submit,
    Turn,
    Wanted,
    Write,
    WriteResult,
)
from windlass.core.decide import Settlement, decide
from windlass.core.ids import Token
from windlass.core.outcome import Errored, Outcome, Succeeded
from windlass.core.query import Order, TaskQuery
from windlass.core.task import Error, Event, FileRow, NewTask, Progress, Task
from windlass.store.sqlite.database import Database
from windlass.store.sqlite.store import SqliteStore

START = datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)
POOLS = {"work": ("shared", "solo"), "other": ("shared", "solo"), "file": ("builtin", "solo")}
ALL = {"shared": 1_000, "solo": 1_000, "builtin": 1_000}
OK = Succeeded(result=b'{"ok":true}')
ERROR = Error(type="ValueError", message="no", traceback="line 1\nline 2", exit="exit 3")
FAILED = Errored(error=ERROR)
NOBODY = Token("0" * 32)


class Bench:
    """A store with a clock and names of its own; time passes only when told to."""

    def __init__(self, store: Store, ids: SeededIds) -> None:
        self.store = store
        self.ids = ids
        self.now = START

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def new(self, *, delay_s: float = 0.0, **changes: Any) -> NewTask:
        values: dict[str, Any] = {
            "id": self.ids.task_id(),
            "kind": "work",
            "queue": "default",
            "payload": b'{"n":1}',
            "created_at": self.now,
            "run_at": self.now + timedelta(seconds=delay_s),
        }
        return NewTask(**values | changes)

    async def turn(
        self, *writes: Write, slots: Mapping[str, int] | None = None, pools: Mapping[str, tuple[str, str]] = POOLS
    ) -> Turn:
        return await self.store.tasks.turn(writes, Wanted(slots=slots or {}, pools=pools), now=self.now)

    async def write(self, write: Write) -> WriteResult:
        return (await self.turn(write)).results[0]

    async def submit(self, **changes: Any) -> Task:
        result = await self.write(Submit(self.new(**changes)))
        assert isinstance(result, Applied)
        assert result.task is not None
        return result.task

    async def claim(self, **slots: int) -> Sequence[Claimed]:
        return (await self.turn(slots=slots or ALL)).claimed

    async def run(self, **changes: Any) -> Claimed:
        """Submit a task and claim it; nothing else may be ready."""
        await self.submit(**changes)
        (claimed,) = await self.claim()
        return claimed

    def settle(self, task: Task, outcome: Outcome = OK, **changes: Any) -> Settle:
        """Settle the running `task` by the rules, but for `changes` of the settlement."""
        assert task.token is not None
        settlement = msgspec.structs.replace(decide(task, outcome, now=self.now, roll=0.5), **changes)
        return Settle(task.number, task.token, settlement, 1.5)

    async def end(self, task: Task, outcome: Outcome = OK) -> Task:
        assert await self.write(self.settle(task, outcome)) == Applied()
        return await self.task(task.number)

    async def task(self, number: int) -> Task:
        task = await self.store.tasks.get(number)
        assert task is not None
        return task

    async def history(self, number: int) -> Sequence[Event]:
        return await self.store.events.history(number)

    async def names(self, number: int) -> list[str]:
        return [event.name.value for event in await self.history(number)]

    async def dump(self) -> dict[str, Any]:
        """Read everything a store can be asked for of its tasks."""
        tasks = (await self.store.tasks.page(TaskQuery(order=Order.OLDEST, limit=500))).tasks
        numbers = [task.number for task in tasks]
        port = self.store.tasks
        return {
            "tasks": tasks,
            "events": list(await self.store.events.log()),
            "running": list(await port.running(after=0, limit=500)),
            "payloads": [await port.payload(number) for number in numbers],
            "results": [await port.result(number) for number in numbers],
            "files": [list(await port.files(number)) for number in numbers],
        }


def attempt_writes(number: int, token: Token, settlement: Settlement) -> Sequence[Write]:
    """Give one write of every sort that an attempt can send."""
    return [
        Settle(number, token, settlement, 2.5),
        Report(number, token, Progress(done=3, total=4, unit="B", message="x", at=START)),
        Save(number, token, b"[7]"),
        KeepFile(number, token, file(0)),
    ]


def file(index: int, **changes: Any) -> FileRow:
    values: dict[str, Any] = {
        "index": index,
        "name": f"part-{index}",
        "state": "completed",
        "url": "http://example.test/a",
        "received_bytes": 10,
        "size_bytes": 10,
        "digest": "sha256:00",
        "verified_by": "caller",
        "resumed_bytes": 3,
        "seconds": 0.25,
        "error": None,
    }
    return FileRow(**values | changes)


def database_of(bench: Bench) -> Database:
    """Reach below the ports of a SQLite store."""
    assert isinstance(bench.store, SqliteStore)
    return bench.store._database


def refused(result: WriteResult) -> Refused:
    assert isinstance(result, Refused)
    return result


def applied_task(result: WriteResult) -> Task:
    assert isinstance(result, Applied)
    assert result.task is not None
    return result.task
