"""A program that leads tasks through all a store can do to them, and writes down whatever it was told is durable.

Usage: crash_life.py first|again DATA LEDGER. The same calls to the kernel in the same order, each time it runs: it
plays workers and clients itself, and its clock stands still until it is moved.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from crash_parts import CountedIds, Hands, Ledger, StillClock

from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.contracts.store import Store
from windlass.contracts.tasks import (
    Applied,
    Claimed,
    Delete,
    Edit,
    Forget,
    Hold,
    KeepFile,
    Prune,
    Refusal,
    Refused,
    Release,
    Replay,
    Report,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    SubmitBatch,
    Sweep,
    Wanted,
    Write,
    WriteResult,
)
from windlass.core.backoff import RetryPolicy
from windlass.core.decide import decide
from windlass.core.ids import TaskId, Token
from windlass.core.kind import Isolation, Kind
from windlass.core.outcome import Errored, Outcome, Snoozed, Succeeded
from windlass.core.state import State
from windlass.core.task import Error, FileRow, NewTask, Progress, Task
from windlass.engine.bus import Bus
from windlass.engine.reaper import Reaper
from windlass.engine.settler import Settler
from windlass.errors import StoreCorrupt, StoreError, StoreFull, WindlassError
from windlass.store.open import open_store
from windlass.store.sqlite import connections, reserve

EXIT_DAMAGED = 74
EXIT_FULL = 75
EXIT_REFUSED = 78
TRIES = 3
"""How often a write is tried for which there was no room."""
LARGE = b'"' + b"x" * 9_000 + b'"'
"""More than two pages."""
T = TypeVar("T")


class Life:
    """One life of a server: a store, the engine's line of turns, and hands that play its workers."""

    def __init__(self, store: Store, ledger: Ledger, ids: CountedIds, clock: StillClock) -> None:
        self.store = store
        self.ids = ids
        self.clock = clock
        self.hands = Hands()
        self.ledger = ledger
        self.failures: list[BaseException] = []
        self.settler = Settler(store.tasks, Bus(), clock, on_failure=self.failures.append)
        self.settler.tell(self.hands)
        self.settler.start()

    async def write(self, write: Write) -> WriteResult:
        """Have a write done, however often there is no room for it at first."""

        async def ask() -> WriteResult:
            result = await self.settler.write(write)
            if isinstance(result, Refused) and result.why is Refusal.FULL:
                raise StoreFull("what is left of the disk is for attempts that end")
            return result

        return await self._despite_full(ask)

    async def _despite_full(self, ask: Callable[[], Awaitable[T]]) -> T:
        for _ in range(TRIES - 1):
            try:
                return await ask()
            except StoreFull:
                self.ledger.note("full")
        return await ask()

    # what clients do ─────────────────────────────────────────────

    def new(self, **changes: Any) -> NewTask:
        now = self.clock.now()
        values: dict[str, Any] = {
            "id": self.ids.task_id(),
            "kind": "work",
            "queue": "default",
            "payload": b'{"n":1}',
            "created_at": now,
            "run_at": now,
            "max_attempts": 3,
            "retry": RetryPolicy(base_s=1.0, jitter=0.0),
        }
        return NewTask(**values | changes)

    async def submit(self, **changes: Any) -> Task:
        new = self.new(**changes)
        self.ledger.note("sending", id=new.id)
        result = await self.write(Submit(new))
        assert isinstance(result, Applied)
        assert result.task is not None
        self.ledger.note("event", id=new.id, name="submitted", attempt=0, payload=new.payload.decode())
        return result.task

    async def submit_batch(self, *tasks: NewTask) -> None:
        """Submit all or none, as a request that may be sent again."""
        for new in tasks:
            self.ledger.note("sending", id=new.id)
        until = self.clock.now() + timedelta(days=1)
        write = SubmitBatch(tasks, Replay("POST /v1/tasks", "again", b"2" * 32, until))
        for is_again in (False, True):
            result = await self.write(write)
            assert isinstance(result, Applied)
            assert (result.replayed, [one.id for one in result.placed]) == (is_again, [new.id for new in tasks])
        for new in tasks:
            self.ledger.note("event", id=new.id, name="submitted", attempt=0, payload=new.payload.decode())

    async def remove(self, write: Delete | Prune, *ids: TaskId) -> None:
        """Remove these ended tasks, and sweep up after them."""
        for removed in ids:
            self.ledger.note("removing", id=removed)
        assert isinstance(await self.write(write), Applied)
        for removed in ids:
            self.ledger.note("removed", id=removed)

    async def amend(self, write: RequestCancel | Retry | Hold | Release | Edit, name: str) -> Task:
        result = await self.write(write)
        assert isinstance(result, Applied), result
        assert result.task is not None
        self.ledger.note("event", id=result.task.id, name=name, attempt=result.task.attempt)
        return result.task

    # what the engine does ────────────────────────────────────────

    async def claim(self, slots: int) -> list[Claimed]:
        """Fill as many slots as are ready to be filled, of so many."""
        before = set(self.hands.running)

        async def turn() -> None:
            self.hands.free = slots
            self.hands.asked.clear()
            self.hands.turned.clear()
            self.settler.kick()
            await self.hands.asked.wait()
            await self.settler.turned()
            if self.failures:
                raise self.failures[0]
            if not self.hands.turned.is_set():
                raise StoreFull(self.settler.trouble or "")

        await self._despite_full(turn)
        claimed = [one for name, one in self.hands.running.items() if name not in before]
        for one in claimed:
            assert one.task.token is not None
            self.ledger.note("event", id=one.task.id, name="started", attempt=one.task.attempt, token=one.task.token)
        return claimed

    async def report(self, claimed: Claimed, done: int) -> None:
        write = Report(*_lease(claimed), Progress(done=done, total=9, at=self.clock.now()))
        assert await self.write(write) == Applied()
        self.ledger.note("progress", id=claimed.task.id, value=done)

    async def save(self, claimed: Claimed, value: int) -> None:
        self.ledger.note("saving", id=claimed.task.id, value=value)
        assert await self.write(Save(*_lease(claimed), b"%d" % value)) == Applied()
        self.ledger.note("saved", id=claimed.task.id, value=value)

    async def keep_file(self, claimed: Claimed, index: int) -> None:
        row = FileRow(index=index, name=f"part-{index}", state="completed", received_bytes=10, size_bytes=10)
        assert await self.write(KeepFile(*_lease(claimed), row)) == Applied()
        self.ledger.note("file", id=claimed.task.id, value=index)

    async def end(self, claimed: Claimed, outcome: Outcome) -> None:
        """Settle an attempt by the rules; a cancel request that came in between is decided anew, as a runner does."""
        task = claimed.task
        while True:
            settlement = decide(task, outcome, now=self.clock.now(), roll=self.ids.roll())
            result = await self.write(Settle(*_lease(claimed), settlement, 1.5))
            if isinstance(result, Applied):
                break
            assert isinstance(result, Refused)
            assert result.task is not None
            task = result.task
        del self.hands.running[task.id]
        self.ledger.note("event", id=task.id, name=str(settlement.event), attempt=task.attempt)


def _lease(claimed: Claimed) -> tuple[int, Token]:
    assert claimed.task.token is not None
    return claimed.task.number, claimed.task.token


FAILED = Errored(error=Error(type="ValueError", message="no", traceback="line 1\nline 2"))


async def first(life: Life) -> None:
    """Lead a handful of tasks through every write there is."""
    await enroll(life)
    kept = await life.submit(key="once", origin="me", fingerprint=b"1" * 32, tags={"a": "b"})
    crowd = [await life.submit(payload=LARGE, priority=n) for n in range(3)]
    later, never = await asyncio.gather(life.submit(queue="other"), life.submit())
    await life.amend(RequestCancel(never.id, life.clock.now(), "not wanted"), "cancelled")
    await life.amend(Hold(later.id, life.clock.now()), "held")
    one, two, three, four = await life.claim(4)
    await life.report(one, 3)
    await life.save(one, 1)
    await life.save(one, 2)
    await life.keep_file(two, 0)
    await life.end(one, Succeeded(result=LARGE))
    await life.end(two, FAILED)
    await life.amend(RequestCancel(three.task.id, life.clock.now()), "cancel_requested")
    await life.end(three, FAILED)
    await life.end(four, Snoozed(delay_s=1.0))
    life.clock.pass_time(2)
    await life.amend(Release(later.id, life.clock.now()), "released")
    again = {claimed.task.id: claimed for claimed in await life.claim(2)}
    for claimed in again.values():
        await life.end(claimed, Errored(error=FAILED.error, retryable=False))
    await life.amend(Retry(next(iter(again)), life.clock.now()), "retried")
    await life.submit_batch(*(life.new(key=f"batch-{n}") for n in range(3)))
    await life.amend(Edit(ref=kept.id, at=life.clock.now(), name="renamed"), "edited")
    await life.remove(Delete(never.id, life.clock.now()), never.id)
    await life.remove(Prune((State.CANCELLED,), None, 10, life.clock.now()), three.task.id)
    assert isinstance(await life.write(Sweep((never.number, three.task.number))), Applied)
    long_after = life.clock.now() + timedelta(days=2)
    assert isinstance(await life.write(Forget(long_after, long_after, 10)), Applied)
    await life.submit(run_at=life.clock.now() + timedelta(seconds=60))
    await life.claim(1)
    assert life.hands.running, "somebody runs while the store is closed"
    assert {kept.number, *(task.number for task in crowd)} == {1, 2, 3, 4}


async def again(life: Life) -> None:
    """Take back what an earlier life has left running, and bring every task to its end."""
    await enroll(life)
    reaper = Reaper(life.store.tasks, life.settler, clock=life.clock, ids=life.ids)
    life.ledger.note("recovered", tasks=await reaper.recover())
    while True:
        life.clock.pass_time(3_600)
        await release_all(life)
        claimed = await life.claim(2)
        if not claimed:
            return
        for one in claimed:
            if one.checkpoint is not None:
                life.ledger.note("resumed", id=one.task.id, value=int(one.checkpoint))
            await life.end(one, Succeeded(result=b'"done"'))


async def enroll(life: Life) -> None:
    """Take the store over as a server does."""
    registry, server = life.store.registry, life.ids.server_id()
    now = life.clock.now()
    row = ServerRow(id=server, host="here", pid=1, version="1", started_at=now)
    await life._despite_full(lambda: registry.enroll(row, ttl_s=30.0))
    worker = WorkerRow(server=server, pid=2, started=3, boot="b")
    await life._despite_full(lambda: registry.record_worker(worker))
    kind = Kind(name="work", app="tasks:app", version="1", schema=b"{}", isolation=Isolation.SOLO)
    await life._despite_full(lambda: registry.keep_kinds([kind]))
    assert await life._despite_full(lambda: registry.beat(server, now=now))
    await life._despite_full(lambda: registry.forget_worker(worker))


async def release_all(life: Life) -> None:
    from windlass.core.query import Order, TaskQuery

    page = await life.store.tasks.page(TaskQuery(state=State.QUEUED, order=Order.OLDEST, limit=100))
    for task in page.tasks:
        if task.held:
            await life.amend(Release(task.id, life.clock.now()), "released")


LIVES: dict[str, tuple[int, Callable[[Life], Awaitable[None]]]] = {
    "first": (1, first),
    "again": (2, again),
    "last": (3, again),
}
"""What is done in a life, and its number: its names, its tokens and its time are its own."""


async def lead(which: str, data: Path, ledger: Ledger) -> int:
    """Lead one life from opening the store to closing it; give the exit code."""
    number, live = LIVES[which]
    ids, clock = CountedIds(number), StillClock(datetime(2026, 11, 20, 12 + number, tzinfo=UTC))
    try:
        store = await open_despite_full(data, ids, ledger)
    except WindlassError as error:
        ledger.note("refused", why=error.detail)
        return EXIT_REFUSED
    ledger.note("opened")
    life = Life(store, ledger, ids, clock)
    try:
        await live(life)
        ledger.note("closing")
        await life.settler.stop()
        await store.close()
        ledger.note("closed")
    except StoreCorrupt as error:
        ledger.note("damaged", why=error.detail)
        await insist(life)
        return EXIT_DAMAGED
    except StoreFull:
        return EXIT_FULL
    except StoreError as error:
        ledger.note("refused", why=error.detail)
        return EXIT_REFUSED
    return 0


async def open_despite_full(data: Path, ids: CountedIds, ledger: Ledger) -> Store:
    for _ in range(TRIES - 1):
        try:
            return await open_store("sqlite", data=data, ids=ids)
        except StoreFull:
            ledger.note("full")
    return await open_store("sqlite", data=data, ids=ids)


async def insist(life: Life) -> None:
    """Ask a damaged store for more: nothing may be acknowledged or told any more."""
    tasks = life.store.tasks
    new = life.new()
    asked: dict[str, Callable[[], Awaitable[object]]] = {
        "a write": lambda: life.settler.write(Submit(new)),
        "a turn": lambda: tasks.turn([Submit(new)], Wanted(), now=life.clock.now()),
        "a read": lambda: tasks.get(1),
    }
    for name, ask in asked.items():
        try:
            await ask()
        except WindlassError:
            continue
        life.ledger.note("went_on", name=name)
    try:
        await life.store.close()
    except StoreError:
        life.ledger.note("closed_badly")


if __name__ == "__main__":
    connections.CHECKPOINT_PAGES = 40  # type: ignore[misc]  so that a short life has checkpoints too
    reserve.RESERVE_PROBE_S = 0.0  # type: ignore[misc]  so that it finds room again at its next try
    sys.exit(asyncio.run(lead(sys.argv[1], Path(sys.argv[2]), Ledger(Path(sys.argv[3])))))
