"""The loop of turns: gathers all that waits to be written, writes it in one commit with the next claims, tells all.

Decides nothing about tasks; `core.decide` has done that before a settlement comes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from windlass.contracts.clock import Clock
from windlass.contracts.queues import SetQueue
from windlass.contracts.tasks import (
    Delete,
    Edit,
    Hide,
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
    SubmitBatch,
    Tasks,
    Turn,
    Wanted,
    Write,
    WriteResult,
)
from windlass.core.ids import Token
from windlass.core.task import Event, Task
from windlass.engine.bus import Bus
from windlass.engine.line import Entry, Line, Told
from windlass.engine.service import OnFailure, Service
from windlass.errors import NotReadyError, SaturatedError, StoreError, StoreFull, StoreUnavailable, StoreUncertain
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import Fields, get_logger, tell_each

_log = get_logger()
_RETRY_AFTER_S = 1.0
NO_ROOM = "the disk is full: attempts may end, but nothing new is taken or started until there is room again"

_OF_CLIENTS = (Submit, SubmitBatch, RequestCancel, Hide, Retry, Hold, Release, Edit, SetQueue, Delete)
"""Writes that are refused once the server stops; those of attempts go on."""


class Ears:
    """Who is asked and told around each turn."""

    def wanted(self) -> Wanted:
        """Say, right before a turn, what it may claim."""
        return Wanted()

    def placed(self, turn: Turn) -> None:
        """Take in, right after a turn, what it has claimed."""

    def cancelling(self, task: Task, grace_s: float | None) -> None:
        """Take in that a cancel request of `task` is durable, whether or not its caller still waits."""

    def unsure(self) -> None:
        """Take in that a turn may have claimed what nobody has been told of."""


class Settler:
    """One turn after the other, as long as anything waits.

    Concurrency: of one event loop.
    """

    def __init__(self, tasks: Tasks, bus: Bus, clock: Clock, *, on_failure: OnFailure) -> None:
        self._tasks = tasks
        self._bus = bus
        self._clock = clock
        self._line = Line()
        self._batch: list[Entry] = []
        """What the turn under way writes."""
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._ears = Ears()
        self._on_failure = on_failure
        self._failure: StoreError | None = None
        self._closing = False
        self.trouble: str | None = None
        """What keeps the store from being written as it should; None when nothing does."""
        self._service = Service("settler", self._run, on_failure)
        self.stale_writes = 0
        self._unsure: set[Token] = set()
        """Attempts whose settlement was in the last turn of which nobody knows whether it happened."""

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

    async def write(self, write: Write, *, by_attempt: bool = True) -> WriteResult:
        """Have `write` applied, and wait until that is durable; see `begin`. One that is not `by_attempt`, but settles
        what somebody else ran, is no stale write of an attempt where others have done so before.

        Concurrency: cancel-safe: one that leaves changes nothing, the write is done all the same.
        """
        answer: asyncio.Future[WriteResult] = asyncio.get_running_loop().create_future()
        self.begin(write, partial(_answer, answer), by_attempt=by_attempt)
        return await answer

    def begin(self, write: Write, told: Told, *, by_attempt: bool = True) -> None:
        """Put `write` into the line, in the order of calls; `told` is called once it is durable, or has failed.

        Raises:
            SaturatedError: the line is full; nothing happened.
            NotReadyError: the server stops, and this is a client's write; nothing happened.
            StoreError: nothing happened.
        """
        if self._closing and isinstance(write, _OF_CLIENTS):
            raise NotReadyError("the server is stopping; try again", code="stopping", retry_after_s=_RETRY_AFTER_S)
        if self._failure is not None:
            raise self._failure
        if not self._line.add(write, told, by_attempt=by_attempt):
            raise SaturatedError(
                f"{self._line.tasks:,} writes wait for the store already; try again", retry_after_s=_RETRY_AFTER_S
            )
        self._wake.set()

    def note(self, write: Report) -> None:
        """Have a report of an attempt written without waiting, if there is room for it."""
        if self._failure is None:
            self._line.add_note(write)
            self._wake.set()

    async def _run(self) -> None:
        try:
            while self._failure is None:
                await self._wake.wait()
                self._wake.clear()
                self._idle.clear()
                # RACE: those who are about to write join this turn.
                await asyncio.sleep(0)
                self._batch = self._line.take()
                await self._turn()
                self._idle.set()
                if self._line:
                    self._wake.set()
        finally:
            self._give_up()

    def _give_up(self) -> None:
        """Leave nobody waiting for a loop that has ended."""
        self._failure = self._failure or StoreUnavailable("the server does not write any more")
        batch, self._batch = self._batch, []
        _tell_all((*batch, *self._line.clear()), self._failure)
        self._idle.set()

    async def _turn(self) -> None:
        writes = [entry.write for entry in self._batch]
        # SHIELD: a turn that has begun is finished, and its claims are placed, whoever stops this loop.
        turning = asyncio.ensure_future(self._tasks.turn(writes, self._ears.wanted(), now=self._clock.now()))
        try:
            turn = await asyncio.shield(turning)
        except asyncio.CancelledError:
            try:
                self._tell(await turning)
            except StoreError as error:
                self._fail(error)
            raise
        except StoreError as error:
            self._fail(error)
            return
        self._tell(turn)

    def _tell(self, turn: Turn) -> None:
        """Tell those first on whom work waits: attempts, clients, slots; then listeners; log lines come last."""
        # RACE: an attempt is told of its settlement before another of the same task, claimed in this turn, begins.
        batch, self._batch = self._batch, []
        for (write, told, _, _, by_attempt), result in zip(batch, turn.results, strict=True):
            if told is not None:
                told(result)
            if type(result) is Refused:
                if by_attempt:
                    self._count_stale(write, result)
            elif type(write) is Submit or type(write) is Settle:
                continue  # the many, of which their events tell; `isinstance` is slow where it says no: 0.13 µs a class
            elif isinstance(write, Report | KeepFile | Save):
                self._bus.touch(write.number)
            elif isinstance(write, RequestCancel) and result.task is not None:
                self._ears.cancelling(result.task, write.grace_s)
            elif isinstance(write, Hide) and result.task is not None:
                self._ears.cancelling(result.task, None)
                self._bus.touch(result.task.number)
        self._ears.placed(turn)
        if not self._bus.is_quiet:
            for event in turn.events:
                self._bus.touch(event.number)
        # Behind all that those just told have to do at once: what they answer, assign or write next.
        asyncio.get_running_loop().call_soon(tell_each, turn.events, _words_for)
        self.trouble = None if turn.has_room else NO_ROOM

    def _count_stale(self, write: Write, result: Refused) -> None:
        if isinstance(write, Settle) and write.token in self._unsure:
            return  # it has been done by that turn
        if result.why is Refusal.STALE and isinstance(write, Settle | Report | Save | KeepFile):
            self.stale_writes += 1
            _log.warning(words.STALE_WRITE, write=type(write).__name__, number=write.number, token=write.token)

    def _fail(self, error: StoreError) -> None:
        self.trouble = f"the last write failed: {error.detail}"
        batch, self._batch = self._batch, []
        if isinstance(error, StoreUncertain):
            self._unsure = {entry.write.token for entry in batch if isinstance(entry.write, Settle)}
            self._ears.unsure()
        elif not isinstance(error, StoreFull | StoreUnavailable):
            # After an I/O error nothing this handle says can be trusted: acknowledge nothing more.
            self._failure = error
            self._on_failure(error)
        _tell_all(batch, error)


def _tell_all(entries: Iterable[Entry], error: StoreError) -> None:
    for entry in entries:
        if entry.told is not None:
            entry.told(error)


def _answer(answer: asyncio.Future[WriteResult], result: WriteResult | StoreError) -> None:
    if answer.done():
        return  # who asked has left
    if isinstance(result, StoreError):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _words_for(event: Event) -> Fields:
    """Put an event into the words of its log line."""
    words_for: Fields = {"task_id": event.task_id, "attempt": event.attempt, "kind": event.kind, "state": event.state}
    if event.reason is not None:
        words_for["reason"] = event.reason
    words_for["event"] = words.TASK_PREFIX + event.name
    return words_for
