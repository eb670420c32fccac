"""The loop of turns: gathers all that waits to be written, writes it in one commit with the next claims, tells all.

Decides nothing about tasks; `core.decide` has done that before a settlement comes here.
"""

from __future__ import annotations

import asyncio
from collections import deque

from windlass.contracts.clock import Clock
from windlass.contracts.tasks import (
    Hold,
    KeepFile,
    Refusal,
    Refused,
    Release,
    Report,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    Tasks,
    Turn,
    Wanted,
    Write,
    WriteResult,
)
from windlass.core.limits import LINE_WRITES, TURN_BYTES, TURN_WRITES
from windlass.core.task import Event, Task
from windlass.engine.bus import Bus
from windlass.engine.service import OnFailure, Service
from windlass.errors import NotReadyError, SaturatedError, StoreError, StoreFull, StoreUnavailable
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_RETRY_AFTER_S = 1.0

Waiter = tuple[Write, "asyncio.Future[WriteResult] | None"]


class Ears:
    """Who is asked and told around each turn."""

    def wanted(self) -> Wanted:
        """Say, right before a turn, what it may claim."""
        return Wanted()

    def placed(self, turn: Turn) -> None:
        """Take in, right after a turn, what it has claimed."""

    def cancelling(self, task: Task, grace_s: float | None) -> None:
        """Take in that a cancel request of `task` is durable, whether or not its caller still waits."""


class Settler:
    """One turn after the other, as long as anything waits.

    Concurrency: of one event loop.
    """

    def __init__(self, tasks: Tasks, bus: Bus, clock: Clock, *, on_failure: OnFailure) -> None:
        self._tasks = tasks
        self._bus = bus
        self._clock = clock
        self._line: deque[Waiter] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ears = Ears()
        self._on_failure = on_failure
        self._failure: StoreError | None = None
        self._closing = False
        self.trouble: str | None = None
        """Why the last turn could not be written; None when it was."""
        self._service = Service("settler", self._run, on_failure)
        self.stale_writes = 0

    def tell(self, ears: Ears) -> None:
        """Ask and tell `ears` around every turn from now on."""
        self._ears = ears

    def start(self) -> None:
        """Begin to turn."""
        self._service.start()

    def close(self) -> None:
        """Take no more writes of clients; those of attempts go on."""
        self._closing = True

    async def turned(self) -> None:
        """Wait until the turn under way, if there is one, is over and its claims are placed."""
        await self._idle.wait()

    async def stop(self) -> None:
        """Write what waits, then stop."""
        self.close()
        while self._service.is_running and self._line:
            self._idle.clear()
            self._wake.set()
            await self._idle.wait()
        await self._service.stop()

    def kick(self) -> None:
        """Turn soon, even if nothing waits to be written: there may be something to claim."""
        self._wake.set()

    async def write(self, write: Write) -> WriteResult:
        """Have `write` applied, and wait until that is durable; see `begin`.

        Concurrency: cancel-safe: one that leaves changes nothing, the write is done all the same.
        """
        # SHIELD: the write belongs to the turn, not to the one who waits for it.
        return await asyncio.shield(self.begin(write))

    def begin(self, write: Write) -> asyncio.Future[WriteResult]:
        """Put `write` into the line, in the order of calls; the future is done once it is durable.

        Raises:
            SaturatedError: the line is full; nothing happened.
            NotReadyError: the server stops, and this is a client's write; nothing happened.
            StoreError: nothing happened.
        """
        if self._closing and isinstance(write, Submit | RequestCancel | Retry | Hold | Release):
            raise NotReadyError("the server is stopping; try again", code="stopping", retry_after_s=_RETRY_AFTER_S)
        if self._failure is not None:
            raise self._failure
        if len(self._line) >= LINE_WRITES:
            raise SaturatedError(
                f"{len(self._line):,} writes wait for the store already; try again", retry_after_s=_RETRY_AFTER_S
            )
        future: asyncio.Future[WriteResult] = asyncio.get_running_loop().create_future()
        self._line.append((write, future))
        self._wake.set()
        return future

    def note(self, write: Report | KeepFile) -> None:
        """Have a report of an attempt written without waiting.

        LIMIT: progress must not crowd out submits and settlements: it is dropped when the line is half full. Files
        are not: their rows are what a next attempt goes by, and a worker sends few of them.
        """
        if self._failure is None and (isinstance(write, KeepFile) or len(self._line) < LINE_WRITES // 2):
            self._line.append((write, None))
            self._wake.set()

    async def _run(self) -> None:
        batch: list[Waiter] = []
        try:
            while self._failure is None:
                await self._wake.wait()
                self._wake.clear()
                self._idle.clear()
                # RACE: those who are about to write join this turn, and attempts begun by the last one take their
                # slots before the next is told how many are free.
                await asyncio.sleep(0)
                batch = self._gather()
                await self._turn(batch)
                self._idle.set()
                if self._line:
                    self._wake.set()
        finally:
            self._give_up(batch)

    def _give_up(self, batch: list[Waiter]) -> None:
        """Leave nobody waiting for a loop that has ended."""
        self._failure = self._failure or StoreError("the server does not write any more")
        for _, future in (*batch, *self._line):
            if future is not None and not future.done():
                future.set_exception(self._failure)
        self._line.clear()
        self._idle.set()

    def _gather(self) -> list[Waiter]:
        """Take the next writes off the line: as many as a turn may hold, at least one."""
        batch: list[Waiter] = []
        size = 0
        while self._line and len(batch) < TURN_WRITES:
            size += _size(self._line[0][0])
            if batch and size > TURN_BYTES:
                break
            batch.append(self._line.popleft())
        return batch

    async def _turn(self, batch: list[Waiter]) -> None:
        writes = [write for write, _ in batch]
        # SHIELD: a turn that has begun is finished, and its claims are placed, whoever stops this loop.
        turning = asyncio.ensure_future(self._tasks.turn(writes, self._ears.wanted(), now=self._clock.now()))
        try:
            turn = await asyncio.shield(turning)
        except asyncio.CancelledError:
            try:
                self._tell(batch, await turning)
            except StoreError as error:
                self._fail(batch, error)
            raise
        except StoreError as error:
            self._fail(batch, error)
            return
        self._tell(batch, turn)

    def _tell(self, batch: list[Waiter], turn: Turn) -> None:
        for event in turn.events:
            _log_event(event)
            self._bus.touch(event.number)
        for (write, future), result in zip(batch, turn.results, strict=True):
            if isinstance(result, Refused):
                self._count_stale(write, result)
            elif isinstance(write, Report | KeepFile | Save):
                self._bus.touch(write.number)
            elif isinstance(write, RequestCancel) and result.task is not None:
                self._ears.cancelling(result.task, write.grace_s)
            if future is not None and not future.done():
                future.set_result(result)
        self._ears.placed(turn)
        self.trouble = None

    def _count_stale(self, write: Write, result: Refused) -> None:
        if result.why is Refusal.STALE and isinstance(write, Settle | Report | Save | KeepFile):
            self.stale_writes += 1
            _log.warning(words.STALE_WRITE, write=type(write).__name__, number=write.number, token=write.token)

    def _fail(self, batch: list[Waiter], error: StoreError) -> None:
        self.trouble = error.detail
        for _, future in batch:
            if future is not None and not future.done():
                future.set_exception(error)
        if not isinstance(error, StoreFull | StoreUnavailable):
            # After an I/O error nothing this handle says can be trusted: acknowledge nothing more.
            self._failure = error
            self._on_failure(error)


def _size(write: Write) -> int:
    match write:
        case Submit(task=task):
            return len(task.payload)
        case Settle(settlement=settlement):
            return len(settlement.result or b"")
        case Save(checkpoint=checkpoint):
            return len(checkpoint)
        case _:
            return 0


def _log_event(event: Event) -> None:
    fields = {"task_id": event.task_id, "attempt": event.attempt, "kind": event.kind, "state": str(event.state)}
    if event.reason is not None:
        fields["reason"] = str(event.reason)
    _log.info(words.TASK_PREFIX + event.name, **fields)
