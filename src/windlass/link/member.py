"""A worker as a member of a pool: its life from hello to end, and the seats of the attempts inside it."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import msgspec

from windlass.contracts.link import Gone, Hear, Word
from windlass.core.ids import Token
from windlass.core.kind import Isolation, Kind
from windlass.core.stop import StopReason
from windlass.core.task import Error
from windlass.errors import WorkerError
from windlass.link.pipe import WorkerProcess
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger
from windlass.wire.frames import (
    Accepted,
    Assign,
    Beat,
    Ended,
    Frame,
    Hello,
    KeepFile,
    Report,
    Retire,
    Save,
    Saved,
    Tell,
    Unfit,
    Welcome,
)

_log = get_logger()


LEAVES_WITHIN_S = 5.0
"""A worker that takes no more attempts and has none left, or retires, is killed when it has not left by then."""


class Stage(Enum):
    """Where a worker stands."""

    STARTING = auto()
    OPEN = auto()
    CLOSED = auto()
    """Takes no more attempts; those inside go on."""
    GONE = auto()


class Duties(msgspec.Struct, frozen=True):
    """Whom a member tells what has become of it."""

    on_hello: Callable[[Member, list[Kind]], None]
    on_unfit: Callable[[Member, str], None]
    on_change: Callable[[Member], None]
    on_room: Callable[[Member], None]
    on_gone: Callable[[Member], None]


class Member:
    """One worker of a pool.

    Concurrency: of one event loop.
    """

    def __init__(self, app: str, role: Isolation | None, capacity: int, duties: Duties) -> None:
        self.app = app
        self.role = role
        self.capacity = capacity
        self.stage = Stage.STARTING
        self.process = WorkerProcess(self)
        self.seats: dict[Token, MemberSeat] = {}
        self.now = asyncio.get_running_loop().time
        self.heard_at = self.born_at = self.closed_at = self.now()
        self.blocked_s = 0.0
        self.said_hello = False
        self.is_explained = False
        self.ending = ""
        self.has_worked = False
        self.is_discarded = self.was_killed = False
        self._duties = duties

    @property
    def pid(self) -> int:
        """The process."""
        return self.process.pid

    @property
    def free(self) -> int:
        """How many more attempts it takes now."""
        return self.capacity - len(self.seats) if self.stage is Stage.OPEN else 0

    def welcome(self, role: Isolation, settings: dict[str, Any]) -> None:
        """Make it a worker of `role` and open it."""
        self.role = role
        self.stage = Stage.OPEN
        self.process.send(Welcome(role=role, settings=settings))
        for seat in self.seats.values():
            seat.send_waiting()

    def seat(self, token: Token, hear: Hear) -> MemberSeat:
        """Take a slot."""
        seat = MemberSeat(self, token, hear)
        if not self.seats:
            self.heard_at, self.blocked_s = self.now(), 0.0
        self.seats[token] = seat
        return seat

    def close(self) -> None:
        """Take no more attempts, and end once those inside have ended."""
        if self.stage is Stage.OPEN:
            self.process.send(Retire())
        if self.stage in (Stage.STARTING, Stage.OPEN):
            self.stage = Stage.CLOSED
            self.closed_at = self.now()
            self._duties.on_change(self)

    def retire(self, because_of: Token) -> None:
        """Close, and tell all but one attempt to stop: that one does not let itself be stopped otherwise."""
        self.close()
        self.is_discarded = True
        _log.warning(words.WORKER_RETIRED, app=self.app, pid=self.pid, inside=len(self.seats))
        for token in self.seats:
            if token != because_of:
                self.process.send(Tell(token, StopReason.DRAIN))

    def discard(self) -> None:
        """SIGKILL it; what its attempts were doing does not count against them."""
        self.is_discarded = self.was_killed = True
        self.close()
        self.process.signal_group(signal.SIGKILL)

    def should_be_gone(self, now: float) -> bool:
        """Whether it has had its time to leave: it is closed, and empty or retiring."""
        may_leave = self.stage is Stage.CLOSED and (not self.seats or self.is_discarded)
        return may_leave and now - self.closed_at >= LEAVES_WITHIN_S

    def unanswered_s(self, now: float) -> float:
        """Say how long an attempt handed over has not begun."""
        return max((now - seat.unanswered_since for seat in self.seats.values() if seat.unanswered_since), default=0.0)

    def forgive(self, now: float) -> None:
        """Count its silence anew."""
        self.heard_at, self.closed_at, self.blocked_s = now, now, 0.0
        for seat in self.seats.values():
            if seat.unanswered_since is not None:
                seat.unanswered_since = now

    def remove(self, seat: MemberSeat) -> None:
        """Give a slot back."""
        if self.seats.pop(seat.token, None) is not None:
            self._duties.on_room(self)

    # Owner of the process ────────────────────────────────────────

    def on_frame(self, frame: Frame) -> None:
        """Pass an attempt's word to its seat; take in what the worker says of itself."""
        self.heard_at = self.now()
        if type(frame) is Ended or type(frame) is Accepted:  # the many; a pattern that says no costs 0.1 µs a class
            if (seat := self.seats.get(frame.token)) is not None:
                seat.hear(frame)
            return
        match frame:
            case Report() | Save() | KeepFile():
                if (seat := self.seats.get(frame.token)) is not None:
                    seat.hear(frame)
            case Hello(kinds=kinds):
                self.said_hello = True
                self._duties.on_hello(self, kinds)
            case Unfit(detail=detail):
                self._duties.on_unfit(self, detail)
            case Beat(lag_s=lag_s, token=token):
                self._note_lag(lag_s, token)
            case _:
                raise WorkerError(f"a worker sent {type(frame).__name__}", code="protocol_error")

    def _note_lag(self, lag_s: float, token: Token | None) -> None:
        self.blocked_s = lag_s if math.isfinite(lag_s) else 0.0
        self._duties.on_change(self)
        if lag_s > 1.0:
            _log.debug(words.WORKER_BLOCKED, app=self.app, pid=self.pid, blocked_s=round(lag_s, 1), token=token)

    def on_gone(self, ending: str) -> None:
        """Give every attempt inside its last word."""
        self.stage, self.ending = Stage.GONE, ending
        seats = list(self.seats.values())
        message = f"the worker process {self.pid} ended with {ending} while the attempt ran in it"
        error = Error(type="WorkerGone", message=message, exit=ending)
        for seat in seats:
            seat.hear(Gone(error=error, alone=len(seats) == 1, discarded=self.is_discarded))
        self._duties.on_gone(self)


class MemberSeat:
    """One attempt's place in a member; see `contracts.link.Seat`."""

    def __init__(self, member: Member, token: Token, hear: Hear) -> None:
        self.member = member
        self.token = token
        self.unanswered_since: float | None = None
        """When the attempt was handed over, while it has not begun."""
        self._waiting: Assign | None = None
        self._was_sent = self._has_ended = False
        self._hear = hear

    def assign(self, frame: Assign) -> None:
        """Hand the attempt over, now or at the worker's hello."""
        self._waiting = frame
        if self.member.stage is not Stage.STARTING:
            self.send_waiting()

    def send_waiting(self) -> None:
        """Send what `assign` has left for the hello."""
        frame, self._waiting = self._waiting, None
        if frame is not None:
            self.member.process.send(frame)
            self.member.has_worked = self._was_sent = True
            self.unanswered_since = self.member.now()

    def hear(self, word: Word) -> None:
        """Pass a word on."""
        self.unanswered_since = None
        if type(word) is Ended:
            self._has_ended = True
        self._hear(word)

    def tell(self, reason: StopReason) -> None:
        """Ask the handler to stop, or withdraw an attempt that has not been sent."""
        if self._waiting is not None:
            self._waiting = None
            asyncio.get_running_loop().call_soon(self._withdraw)
        else:
            self.member.process.send(Tell(self.token, reason))

    def _withdraw(self) -> None:
        if self.member.seats.get(self.token) is self:  # RACE: its worker may have gone, and the seat been left, since
            error = Error(type="NoWorker", message="stopped before a worker had come up for it")
            self.hear(Gone(error=error, alone=False, discarded=True))

    def terminate(self) -> None:
        """SIGTERM the group; retire a shared worker instead."""
        if self.member.role is Isolation.SHARED:
            self.member.retire(self.token)
        else:
            self.member.close()
            self.member.process.signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL the group."""
        _log.warning(words.WORKER_KILLED, app=self.member.app, pid=self.member.pid)
        self.member.discard()

    def answer(self, *, serial: int, accepted: bool) -> None:
        """Answer a `Save`."""
        self.member.process.send(Saved(self.token, serial, accepted))

    def leave(self) -> None:
        """Give the slot back; a solo worker whose attempt has not ended by its own word is not used again."""
        if self.member.role is Isolation.SOLO and self._was_sent and not self._has_ended:
            self.member.close()
        self.member.remove(self)
