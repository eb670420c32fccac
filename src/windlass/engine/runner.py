"""One attempt from its assignment to its settlement, over a seat in a worker; walks it down the stop ladder.

A state machine driven by what others call: the link with the attempt's words, the settler with results, an alarm with
the time. What an ending makes of the task is decided in `core`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from enum import Enum, auto
from functools import partial, wraps
from typing import Concatenate, ParamSpec

import msgspec

from windlass.contracts import tasks as writes
from windlass.contracts.clock import Clock, Ids
from windlass.contracts.link import Gone, Seat, Word, Workers
from windlass.contracts.tasks import Applied, Claimed, Refusal, Refused, WriteResult
from windlass.core.decide import decide
from windlass.core.outcome import Outcome
from windlass.core.stop import Ladder, Stage, StopReason, StopTimes, advance, due_at, ladder_for, merge
from windlass.core.task import Task
from windlass.engine.endings import SERVER_STOPS, conclude, conclude_gone, not_begun
from windlass.engine.settler import Settler
from windlass.errors import SaturatedError, StoreError, StoreFull, StoreUnavailable, StoreUncertain, WorkerError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger
from windlass.wire.frames import Accepted, Assign, Ended, KeepFile, Report, Save

_log = get_logger()
_SETTLE_AGAIN_S = 1.0

Then = Callable[[WriteResult | None], None]
"""What follows a write that has been applied or refused, or (None) given up."""

AttemptWrite = writes.Settle | writes.Save | writes.KeepFile
"""What must be done of what an attempt writes; reports of its progress may be passed over."""

P = ParamSpec("P")


class RunnerTools(msgspec.Struct, frozen=True):
    """What every runner of a server works with. `directory` gives a task's own directory."""

    settler: Settler
    workers: Workers
    clock: Clock
    ids: Ids
    times: StopTimes
    directory: Callable[[Task], str]


class RunnerDuties(msgspec.Struct, frozen=True):
    """Whom a runner tells: that it has to be woken by an instant, that it is over, that it has broken."""

    on_due: Callable[[float], None]
    on_over: Callable[[Runner], None]
    on_broken: Callable[[Runner, Exception], None]


class Phase(Enum):
    """How far an attempt has come."""

    ASSIGNED = auto()
    """A worker has it, or will; its handler has not begun."""
    RUNNING = auto()
    ENDED = auto()
    """It has said its last word, and left its seat; what becomes of its task is not durable yet."""
    OVER = auto()


def _watched(step: Callable[Concatenate[Runner, P], None]) -> Callable[Concatenate[Runner, P], None]:
    """Let an error of a runner reach neither the link nor the settler: it is told, as its attempt would be stuck."""

    @wraps(step)
    def watched(self: Runner, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            step(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 whatever it is, nobody else would see it
            self.break_off(error)

    return watched


class Runner:
    """One attempt.

    Concurrency: of one event loop; each method may be called at any time after `begin`.
    """

    def __init__(self, claimed: Claimed, tools: RunnerTools, duties: RunnerDuties) -> None:
        assert claimed.task.token is not None
        self.task = claimed.task
        self.phase = Phase.ASSIGNED
        self.is_cancelling = False
        self._token = claimed.task.token
        self._claimed = claimed
        self._tools = tools
        self._duties = duties
        self._seat: Seat | None = None
        self._ladder: Ladder | None = None
        self._outcome: Outcome | None = None
        self._keeping = 0
        """Saves and files that are not durable yet: the settlement waits for them."""
        self._kept_serial = 0
        """The newest save that is durable."""
        self._again: list[Callable[[], None]] = []
        """Writes that the store had no room for."""
        self._again_at = 0.0
        self._give_up_at = math.inf
        """When the server that stops waits for no write any more."""
        self._began_at = tools.clock.monotonic()
        self._ran_s = 0.0

    @property
    def due_at(self) -> float | None:
        """When `wake` has something to do, on the monotonic clock."""
        step_at = None if self._ladder is None or self.phase is Phase.ENDED else due_at(self._ladder)
        if self._again and (step_at is None or self._again_at < step_at):
            return self._again_at
        return step_at

    @_watched
    def begin(self, *, is_fenced: bool = False) -> None:
        """Take a seat and hand the attempt over; behind a fence, give it back instead."""
        if is_fenced:
            self._end(not_begun(WorkerError("its server could not renew its lease")))
            return
        try:
            self._seat = self._tools.workers.take(self._claimed.pool, self._token, self.hear)
            self._seat.assign(self._assignment())
        except WorkerError as error:
            self._end(not_begun(error))

    @_watched
    def stop(self, reason: StopReason, *, grace_s: float | None = None, since: float | None = None) -> None:
        """Begin to stop the attempt, or hurry a stop under way. `since`: when its ladder begins, if not now."""
        grace = self.task.grace_s if grace_s is None else grace_s
        now = self._tools.clock.monotonic() if since is None else since
        ladder = ladder_for(reason, now=now, grace_s=grace, times=self._tools.times)
        self.is_cancelling = self.is_cancelling or reason is StopReason.CANCEL
        if reason in SERVER_STOPS:  # whatever the attempt is being stopped for already
            self._give_up_at = min(self._give_up_at, ladder.kill_at)
        self._climb(ladder)
        _log.info(words.ATTEMPT_STOPPING, task_id=self.task.id, attempt=self.task.attempt, reason=str(reason))

    @_watched
    def wake(self, now: float) -> None:
        """Do what is due: the next step of the ladder, writes that the store had no room for."""
        if self._again and now >= self._again_at:
            again, self._again = self._again, []
            for write in again:
                write()
        if self._ladder is not None and self._seat is not None and self.phase is not Phase.ENDED:
            self._ladder, stage = advance(self._ladder, now=now)
            _take_step(self._seat, stage, self._ladder.reason)

    @_watched
    def hear(self, word: Word) -> None:
        """Take in a word of the attempt."""
        match word:
            case Ended():
                self._end(conclude(word, self.task, self._ladder))
            case Accepted():
                self._accept()
            case Report(progress=progress):
                stamped = msgspec.structs.replace(progress, at=self._tools.clock.now())
                self._tools.settler.note(writes.Report(self.task.number, self._token, stamped))
            case KeepFile(file=file):
                self._keeping += 1
                self._write(writes.KeepFile(self.task.number, self._token, file), self._kept)
            case Save(serial=serial, checkpoint=checkpoint):
                self._keeping += 1
                self._save(serial, checkpoint)
            case Gone():
                had_begun = self.phase is Phase.RUNNING
                self._end(conclude_gone(word, self.task, self._ladder, had_begun=had_begun))

    # while it runs ───────────────────────────────────────────────

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

    def _accept(self) -> None:
        self.phase = Phase.RUNNING
        if self.task.timeout_s is not None:
            due = self._tools.clock.monotonic() + self.task.timeout_s
            grace_s = self.task.grace_s
            self._climb(ladder_for(StopReason.TIMEOUT, now=due, grace_s=grace_s, times=self._tools.times))

    def _climb(self, ladder: Ladder) -> None:
        self._ladder = merge(self._ladder, ladder)
        if (at := due_at(self._ladder)) is not None:  # its writes have asked for their own
            self._duties.on_due(at)

    def _save(self, serial: int, checkpoint: bytes) -> None:
        """Have a checkpoint written, unless a newer one has been while this one found no room."""
        if serial < self._kept_serial:
            self._saved(serial, Applied())
            return
        save = writes.Save(self.task.number, self._token, checkpoint)
        self._write(save, partial(self._saved, serial), again=partial(self._save, serial, checkpoint))

    def _saved(self, serial: int, result: WriteResult | None) -> None:
        """Answer a save, and settle if that has waited for it."""
        is_kept = isinstance(result, Applied)
        if is_kept:
            self._kept_serial = max(self._kept_serial, serial)
            # A new checkpoint: the count of interruptions in a row begins anew, here as in the store.
            self.task = msgspec.structs.replace(self.task, interrupted=0)
        if self._seat is not None:
            self._seat.answer(serial=serial, accepted=is_kept)
        self._kept(result)

    def _kept(self, _: WriteResult | None) -> None:
        """Settle if that has waited for this write."""
        self._keeping -= 1
        if self._outcome is not None and not self._keeping:
            self._settle(self._outcome)

    # its ending ──────────────────────────────────────────────────

    def _end(self, outcome: Outcome) -> None:
        """Give the seat back, and settle once all that the attempt has kept is durable."""
        self.phase = Phase.ENDED
        self._outcome = outcome
        self._ran_s = self._tools.clock.monotonic() - self._began_at
        if self._seat is not None:
            self._seat.leave()
        if not self._keeping:
            self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        settlement = decide(self.task, outcome, now=self._tools.clock.now(), roll=self._tools.ids.roll())
        self._write(writes.Settle(self.task.number, self._token, settlement, self._ran_s), self._settled)

    def _settled(self, result: WriteResult | None) -> None:
        """Be over, or decide anew where a cancel request has come in between."""
        if isinstance(result, Refused) and result.why is Refusal.CHANGED and result.task is not None:
            assert self._outcome is not None
            self.task = result.task
            self._settle(self._outcome)
        else:
            self._be_over()

    def _be_over(self) -> None:
        self.phase = Phase.OVER
        self._seat = None  # it knows whom it tells: a circle, which only the garbage collector would take away
        self._duties.on_over(self)

    def break_off(self, error: Exception) -> None:
        """Be over without a settlement: the next start takes the task back."""
        is_seated = self.phase in (Phase.ASSIGNED, Phase.RUNNING)
        self.phase = Phase.OVER
        self._again.clear()
        self._duties.on_broken(self, error)
        if is_seated and self._seat is not None:
            self._seat.leave()

    # writes that must be done ────────────────────────────────────

    def _write(self, write: AttemptWrite, then: Then, *, again: Callable[[], None] | None = None) -> None:
        """Have a write done, however long the store has no room: the attempt keeps its lease meanwhile.

        `again` is what to do where it found none: this once more, if nothing else is said.
        """
        again = again or partial(self._write, write, then)
        try:
            self._tools.settler.begin(write, partial(self._written, then, again))
        except SaturatedError:
            self._delay(then, again, "too many writes wait")

    @_watched
    def _written(self, then: Then, again: Callable[[], None], result: WriteResult | StoreError) -> None:
        match result:
            case StoreFull() | StoreUnavailable() | StoreUncertain():
                # One that was done after all changes nothing the second time: its token guards it.
                self._delay(then, again, result.detail)
            case StoreError():
                raise result
            case _:
                then(result)

    def _delay(self, then: Then, again: Callable[[], None], why: str) -> None:
        """Do a write a little later; give it up when a drain is over: the next start takes the task back."""
        _log.warning(words.SETTLE_DELAYED, task_id=self.task.id, attempt=self.task.attempt, error=why)
        now = self._tools.clock.monotonic()
        if now >= self._give_up_at:
            then(None)
            return
        self._again.append(again)
        self._again_at = now + _SETTLE_AGAIN_S
        self._duties.on_due(self._again_at)


def _take_step(seat: Seat, stage: Stage | None, reason: StopReason) -> None:
    match stage:
        case Stage.TOLD:
            seat.tell(reason)
        case Stage.TERMINATED:
            seat.terminate()
        case Stage.KILLED:
            seat.kill()
        case _:
            return
