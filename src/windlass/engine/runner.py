"""One attempt from its assignment to its settlement, over a seat in a worker; walks it down the stop ladder.

What an ending makes of the task is decided in `core`; this only says how the attempt ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import msgspec

from windlass.contracts import tasks as writes
from windlass.contracts.clock import Clock, Ids
from windlass.contracts.link import Gone, Seat, Workers
from windlass.contracts.tasks import Applied, Claimed, Refusal, Refused, WriteResult
from windlass.core.decide import decide
from windlass.core.outcome import Errored, Interrupted, Lost, Outcome, Snoozed, Succeeded, TimedOut
from windlass.core.stop import Ladder, Stage, StopReason, StopTimes, advance, due_at, ladder_for, merge
from windlass.core.task import Error, Task
from windlass.engine.settler import Settler
from windlass.errors import SaturatedError, StoreFull, StoreUnavailable, WorkerError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger
from windlass.wire.frames import Accepted, Assign, Ended, KeepFile, Report, Save

_log = get_logger()
_SETTLE_AGAIN_S = 1.0
_SERVER_STOPS = frozenset({StopReason.DRAIN, StopReason.HURRY})


class RunnerTools(msgspec.Struct, frozen=True):
    """What every runner of a server works with. `directory` gives a task's own directory."""

    settler: Settler
    workers: Workers
    clock: Clock
    ids: Ids
    times: StopTimes
    directory: Callable[[Task], str]


class Runner:
    """One attempt.

    Concurrency: of one event loop; `stop` may be called at any time before, during and after `run`.
    """

    def __init__(self, claimed: Claimed, tools: RunnerTools) -> None:
        assert claimed.task.token is not None
        self.task = claimed.task
        self._token = claimed.task.token
        self._claimed = claimed
        self._tools = tools
        self._ladder: Ladder | None = None
        self._timer: asyncio.Timeout | None = None
        self._accepted = False
        self._saving: set[asyncio.Future[None]] = set()
        self._began_at = tools.clock.monotonic()

    async def run(self) -> None:
        """See the attempt through, whatever happens, and settle it."""
        await self._settle(await self._attempt())

    def stop(self, reason: StopReason, *, grace_s: float | None = None) -> None:
        """Begin to stop the attempt, or hurry a stop under way."""
        grace = self.task.grace_s if grace_s is None else grace_s
        now = self._tools.clock.monotonic()
        self._climb(ladder_for(reason, now=now, grace_s=grace, times=self._tools.times))
        _log.info(words.ATTEMPT_STOPPING, task_id=self.task.id, attempt=self.task.attempt, reason=str(reason))

    def _climb(self, ladder: Ladder) -> None:
        self._ladder = merge(self._ladder, ladder)
        if self._timer is not None and not self._timer.expired():
            self._timer.reschedule(due_at(self._ladder))

    # the attempt ─────────────────────────────────────────────────

    async def _attempt(self) -> Outcome:
        try:
            seat = self._tools.workers.take(self._claimed.pool, self._token)
        except WorkerError as error:
            return _not_begun(error)
        try:
            seat.assign(self._assignment())
            return await self._supervise(seat)
        finally:
            seat.leave()

    def _assignment(self) -> Assign:
        task = self.task
        deadline = None if task.timeout_s is None else self._tools.clock.now() + timedelta(seconds=task.timeout_s)
        return Assign(
            task_id=task.id,
            token=self._token,
            attempt=task.attempt,
            kind=task.kind,
            payload=self._claimed.payload,
            directory=self._tools.directory(task),
            deadline=deadline,
            checkpoint=self._claimed.checkpoint,
            files=self._claimed.files,
        )

    async def _supervise(self, seat: Seat) -> Outcome:
        """Listen to the attempt until its last word, taking each step of the ladder when it is due."""
        while True:
            if not seat.has_word():
                self._step(seat)
            try:
                async with asyncio.timeout_at(None if self._ladder is None else due_at(self._ladder)) as self._timer:
                    word = await seat.listen()
            except TimeoutError:
                # RACE: what the attempt said while this server stood still comes before a step against it.
                await asyncio.sleep(0)
                continue
            finally:
                self._timer = None
            match word:
                case Accepted():
                    self._accept()
                case Report(progress=progress):
                    stamped = msgspec.structs.replace(progress, at=self._tools.clock.now())
                    self._tools.settler.note(writes.Report(self.task.number, self._token, stamped))
                case KeepFile(file=file):
                    self._tools.settler.note(writes.KeepFile(self.task.number, self._token, file))
                case Save():
                    self._save(seat, word)
                case Ended():
                    return self._conclude(word)
                case Gone():
                    return self._conclude_gone(word)

    def _accept(self) -> None:
        self._accepted = True
        if self.task.timeout_s is not None:
            due = self._tools.clock.monotonic() + self.task.timeout_s
            grace_s = self.task.grace_s
            self._climb(ladder_for(StopReason.TIMEOUT, now=due, grace_s=grace_s, times=self._tools.times))

    def _step(self, seat: Seat) -> None:
        if self._ladder is None:
            return
        self._ladder, stage = advance(self._ladder, now=self._tools.clock.monotonic())
        match stage:
            case Stage.TOLD:
                seat.tell(self._ladder.reason)
            case Stage.TERMINATED:
                seat.terminate()
            case Stage.KILLED:
                seat.kill()
            case _:
                return

    def _save(self, seat: Seat, word: Save) -> None:
        """Have a checkpoint written, in its place in the line, without ceasing to listen."""
        write = writes.Save(self.task.number, self._token, word.checkpoint)
        saving = asyncio.ensure_future(self._answer(seat, word.serial, write, self._begin(write)))
        self._saving.add(saving)
        saving.add_done_callback(self._saving.discard)

    async def _answer(
        self, seat: Seat, serial: int, write: writes.Save, begun: asyncio.Future[WriteResult] | None
    ) -> None:
        result = await self._finish(write, begun)
        if isinstance(result, Applied):
            # A new checkpoint: the count of interruptions in a row begins anew, here as in the store.
            self.task = msgspec.structs.replace(self.task, interrupted=0)
        seat.answer(serial=serial, accepted=isinstance(result, Applied))

    # its ending ──────────────────────────────────────────────────

    def _conclude(self, word: Ended) -> Outcome:
        outcome = word.outcome
        if isinstance(outcome, Succeeded) or not word.stopped:
            return outcome
        error = outcome.error if isinstance(outcome, Errored) else Error(type="Stopped", message="told to stop")
        if self._ladder is None or self._ladder.stage is Stage.RUNNING:
            # Told by its worker, which retires because of a neighbour.
            return Interrupted(_named("its worker retired because of another attempt", error), isolate=True)
        return self._stopped(outcome, error, self._ladder.reason)

    def _conclude_gone(self, gone: Gone) -> Outcome:
        ladder = self._ladder
        if ladder is not None and (ladder.stage is not Stage.RUNNING or ladder.reason in _SERVER_STOPS):
            return self._stopped(Lost(gone.error), gone.error, ladder.reason)
        if not self._accepted:
            return Interrupted(gone.error)
        if gone.alone and not gone.discarded:
            return Lost(gone.error)
        return Interrupted(gone.error, isolate=True)

    def _stopped(self, outcome: Errored | Snoozed | Lost, error: Error, reason: StopReason) -> Outcome:
        match reason:
            case StopReason.CANCEL:
                return outcome
            case StopReason.TIMEOUT:
                return TimedOut(_named(f"stopped after its timeout of {self.task.timeout_s:g} s", error))
            case StopReason.DRAIN | StopReason.HURRY | StopReason.LOST_LEASE:
                return Interrupted(_named("stopped because its server stops", error))

    async def _settle(self, outcome: Outcome) -> None:
        """Write what the ending makes of the task; decides anew when a cancel request has come in between."""
        ran_s = self._tools.clock.monotonic() - self._began_at
        if self._saving:
            await asyncio.wait(self._saving)
        task = self.task
        while True:
            settlement = decide(task, outcome, now=self._tools.clock.now(), roll=self._tools.ids.roll())
            write = writes.Settle(task.number, self._token, settlement, ran_s)
            result = await self._finish(write, self._begin(write))
            if isinstance(result, Refused) and result.why is Refusal.CHANGED and result.task is not None:
                task = result.task
                continue
            return

    def _begin(self, write: writes.Settle | writes.Save) -> asyncio.Future[WriteResult] | None:
        try:
            return self._tools.settler.begin(write)
        except SaturatedError:
            return None

    async def _finish(
        self, write: writes.Settle | writes.Save, begun: asyncio.Future[WriteResult] | None
    ) -> WriteResult | None:
        """Have a write done, however long the store has no room: the attempt keeps its lease meanwhile.

        A drain that is over ends that: None, and the next start takes the task back as interrupted.
        """
        while True:
            try:
                if begun is not None:
                    return await begun
                detail = "too many writes wait"
            except (StoreFull, StoreUnavailable) as error:
                detail = error.detail
            _log.warning(words.SETTLE_DELAYED, task_id=self.task.id, attempt=self.task.attempt, error=detail)
            if self._is_drained():
                return None
            await asyncio.sleep(_SETTLE_AGAIN_S)
            begun = self._begin(write)

    def _is_drained(self) -> bool:
        ladder = self._ladder
        if ladder is None or ladder.reason not in _SERVER_STOPS:
            return False
        return self._tools.clock.monotonic() >= ladder.kill_at


def _not_begun(error: WorkerError) -> Interrupted:
    return Interrupted(Error(type="NoWorker", message=f"the attempt did not begin: {error.detail}"))


def _named(what: str, error: Error) -> Error:
    """Put what happened to the attempt before what its handler made of it."""
    message = what if error.type == "Stopped" else f"{what}; then: {error.message}"
    return msgspec.structs.replace(error, message=message)
