"""What holds of every task at every moment, whatever led there: each rule as a check that names what breaks it.

Reads no store and mends nothing: `engine.audit` brings the tasks and their events, people decide what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from windlass.core.ids import TaskId, Token
from windlass.core.limits import INTERRUPTED_MAX, LOST_MAX
from windlass.core.state import TRANSITIONS, EventName, State
from windlass.core.task import Event, Task

_GIVEN_BACK: Final = frozenset({EventName.SNOOZED, EventName.INTERRUPTED, EventName.HELD})
"""What an attempt that used no budget ends in."""
_AFTER_THE_END: Final = frozenset({EventName.EDITED, EventName.RETRIED})
"""What may still be written of a task that has ended."""


class Rule(StrEnum):
    """What is checked; stable codes."""

    HISTORY = "history"
    MOVES = "moves"
    STATE = "state"
    ATTEMPTS = "attempts"
    BUDGET = "budget"
    ENDS = "ends"
    TOKENS = "tokens"
    LEASE = "lease"
    COUNTERS = "counters"
    TOMBSTONES = "tombstones"
    FILES = "files"
    DATABASE = "database"


MEANING: Final[dict[Rule, str]] = {
    Rule.HISTORY: "the events of a task are numbered 1, 2, 3 and lie in the order of the log",
    Rule.MOVES: "every event is a legal move from the state before it",
    Rule.STATE: "a task stands where its last event left it",
    Rule.ATTEMPTS: "attempts are numbered 1, 2, 3",
    Rule.BUDGET: "no task is charged for more attempts than it may make, or runs on after its last chance",
    Rule.ENDS: "a task ends once, and nothing but an edit or a retry follows",
    Rule.TOKENS: "every attempt has a new token, and all it writes carries it",
    Rule.LEASE: "a task runs under the token of its last start, for a server that the store knows",
    Rule.COUNTERS: "the counters say how many tasks there are, and how large",
    Rule.TOMBSTONES: "no task is both there and deleted",
    Rule.FILES: "every directory of files belongs to a task, or to one whose deletion is not finished",
    Rule.DATABASE: "the database file is sound and its references lead somewhere",
}
"""Each rule in words."""

_RESTORE: Final = (
    "stop the server, keep a copy of the data directory, and restore the newest backup that `windlass check` finds "
    "clean"
)
_REPORT: Final = (
    "nothing is lost by running on; keep a copy of the data directory and of the server's log, and report it with both"
)
_START: Final = f"start the server: it takes back what an earlier one left running; should that not help, {_REPORT}"

ADVICE: Final[dict[Rule, str]] = {
    Rule.HISTORY: _RESTORE,
    Rule.MOVES: _REPORT,
    Rule.STATE: _RESTORE,
    Rule.ATTEMPTS: _REPORT,
    Rule.BUDGET: _REPORT,
    Rule.ENDS: _REPORT,
    Rule.TOKENS: _REPORT,
    Rule.LEASE: _START,
    Rule.COUNTERS: _REPORT,
    Rule.TOMBSTONES: _REPORT,
    Rule.FILES: "see whether somebody needs it, after a restore for example; a starting server removes it once it is a "
    "week old",
    Rule.DATABASE: _RESTORE,
}
"""What to do about a broken rule."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that does not hold, where, and how that shows; of a task, or of the store as a whole."""

    rule: Rule
    detail: str
    number: int | None = None
    task_id: TaskId | None = None

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ADVICE[self.rule]


class Tally(NamedTuple):
    """What a counter counts: the tasks of a queue and kind in a state."""

    queue: str
    kind: str
    state: State


class TaskJudge:
    """Judges one task by its events, which it takes one by one; of each rule it tells the first breach alone."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._found: dict[Rule, str] = {}
        self._state: State | None = None
        self._ordinal = self._seq = 0
        self._attempt = self._charged = self._ends = 0
        self._token: Token | None = None
        self._given: set[Token] = set()
        self._held = False

    def take(self, event: Event) -> None:
        """Judge the next event of the task."""
        before = self._state
        self._place(event)
        if TRANSITIONS.get((before, event.name)) is not event.state:
            origin = "nothing" if before is None else before
            self._find(Rule.MOVES, f"event {event.ordinal} ({event.name}) leads from {origin} to {event.state}")
        self._state = event.state
        self._end(event)
        self._count(event, before)
        self._check_token(event, before)
        if event.attempt != self._attempt:
            self._find(
                Rule.ATTEMPTS,
                f"event {event.ordinal} ({event.name}) is of attempt {event.attempt}, {self._attempt} was expected",
            )
            self._attempt = event.attempt
        if event.state is not State.RUNNING:
            self._token = None

    def verdict(self) -> Iterator[Violation]:
        """Compare the task as it stands with what its events have told; give every rule it breaks."""
        self._compare()
        for rule, detail in self._found.items():
            yield Violation(rule=rule, detail=detail, number=self._task.number, task_id=self._task.id)

    def _place(self, event: Event) -> None:
        """Judge where the event lies in the task's history and in the log."""
        self._ordinal += 1
        if event.ordinal != self._ordinal:
            self._find(Rule.HISTORY, f"event {self._ordinal} is missing: event {event.ordinal} comes in its place")
            self._ordinal = event.ordinal
        if event.seq <= self._seq:
            self._find(Rule.HISTORY, f"event {event.ordinal} lies before event {event.ordinal - 1} in the log")
        self._seq = event.seq

    def _end(self, event: Event) -> None:
        """Judge how often the task has ended since it was last queued anew."""
        if event.name is EventName.RETRIED:
            self._ends = 0
        elif self._ends and event.name is not EventName.EDITED:
            self._find(Rule.ENDS, f"event {event.ordinal} ({event.name}) comes after the end of the task")
        if event.state.has_ended and event.name not in _AFTER_THE_END:
            self._ends += 1
            if self._ends > 1:
                self._find(Rule.ENDS, f"event {event.ordinal} ({event.name}) is end number {self._ends}")

    def _count(self, event: Event, before: State | None) -> None:
        """Keep count of attempts and of the budget they have used."""
        match event.name:
            case EventName.STARTED:
                if self._held:
                    self._find(Rule.MOVES, f"event {event.ordinal} starts a task that is held")
                self._attempt, self._charged = self._attempt + 1, self._charged + 1
            case EventName.RETRIED:
                self._charged, self._held = 0, False
            case EventName.EDITED | EventName.CANCEL_REQUESTED:
                pass
            case _:
                self._held = event.name is EventName.HELD
                self._charged -= before is State.RUNNING and event.name in _GIVEN_BACK
        if self._charged > self._task.max_attempts:
            self._find(
                Rule.BUDGET, f"event {event.ordinal} charges attempt {self._charged} of {self._task.max_attempts}"
            )

    def _check_token(self, event: Event, before: State | None) -> None:
        """Judge the token that the event carries."""
        if event.name is EventName.STARTED:
            if event.token is None:
                self._find(Rule.TOKENS, f"event {event.ordinal} starts an attempt without a token")
            elif event.token in self._given:
                self._find(Rule.TOKENS, f"event {event.ordinal} starts an attempt with the token of an earlier one")
            else:
                self._given.add(event.token)
            self._token = event.token
        elif event.name is not EventName.EDITED:
            current = self._token if before is State.RUNNING else None
            if event.token != current:
                self._find(Rule.TOKENS, f"event {event.ordinal} ({event.name}) does not carry the token of that time")

    def _compare(self) -> None:
        task = self._task
        if self._state is None:
            self._find(Rule.HISTORY, "the task has no events")
            return
        if task.state is not self._state:
            self._find(Rule.STATE, f"the task is {task.state}, its last event left it {self._state}")
        if task.held != self._held:
            self._find(Rule.STATE, f"held is {task.held}, its events say {self._held}")
        if task.state.has_ended != (task.finished_at is not None):
            self._find(Rule.STATE, f"the task is {task.state}, but its finished_at is {task.finished_at}")
        if task.attempt != self._attempt:
            self._find(Rule.ATTEMPTS, f"the task counts {task.attempt} attempts, its events {self._attempt}")
        if task.charged != self._charged:
            self._find(Rule.BUDGET, f"the task was charged {task.charged} attempts, by its events {self._charged}")
        if task.lost > LOST_MAX or task.interrupted > INTERRUPTED_MAX:
            self._find(Rule.BUDGET, f"lost {task.lost} times and interrupted {task.interrupted} times, and goes on")
        if task.token != self._token:
            self._find(Rule.LEASE, "the token of the task is not that of its last start")
        if task.state is State.RUNNING and (task.token is None or task.started_at is None):
            self._find(Rule.LEASE, "the task runs without a token or without a start")

    def _find(self, rule: Rule, detail: str) -> None:
        self._found.setdefault(rule, detail)


class StoreJudge:
    """Judges a store as a whole by all of its tasks, which it takes one by one; keeps sums alone."""

    def __init__(self) -> None:
        self._tallies: dict[Tally, tuple[int, int]] = {}

    def take(self, task: Task, *, size_bytes: int) -> None:
        """Take the next task into the sums; `size_bytes` is what its payload, result and error take."""
        tally = Tally(task.queue, task.kind, task.state)
        tasks, size = self._tallies.get(tally, (0, 0))
        self._tallies[tally] = (tasks + 1, size + size_bytes)

    def verdict(self, counted: Iterable[tuple[Tally, int, int]], *, has_owner: bool) -> Iterator[Violation]:
        """Compare the sums with the store's counters (tasks and bytes of each); see that the leases have an owner."""
        left = dict(self._tallies)
        for tally, tasks, size_bytes in counted:
            found = left.pop(tally, (0, 0))
            if found != (tasks, size_bytes):
                yield _miscounted(tally, counted=(tasks, size_bytes), found=found)
        for tally, found in left.items():
            yield _miscounted(tally, counted=(0, 0), found=found)
        running = sum(tasks for tally, (tasks, _) in self._tallies.items() if tally.state is State.RUNNING)
        if running and not has_owner:
            yield Violation(rule=Rule.LEASE, detail=f"{running} tasks run, but no server owns the store")


def _miscounted(tally: Tally, *, counted: tuple[int, int], found: tuple[int, int]) -> Violation:
    return Violation(
        rule=Rule.COUNTERS,
        detail=(
            f"queue {tally.queue}, kind {tally.kind}, {tally.state}: the counter says {counted[0]} tasks of "
            f"{counted[1]} bytes, there are {found[0]} of {found[1]} bytes"
        ),
    )
