"""Every store against the reference: whatever is written, claimed, killed or undone, they must stay the same.

A rule gathers writes; those that name slots end the turn with all that has been gathered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model_ids import token_of
from model_postgres import OUTLIVED
from model_reference import Reference
from model_stores import FAULTS
from model_trial import FAULT_STEP, Trial
from msgspec.structs import replace
from store_cases import ERROR, NOBODY, OK, POOLS, START, attempt_writes, file

from windlass.contracts.queues import DeclareQueues, SetQueue
from windlass.contracts.tasks import (
    Delete,
    Edit,
    Hide,
    Hold,
    KeepFile,
    Prune,
    Release,
    Replay,
    Report,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    SubmitBatch,
    TaskRef,
    Wanted,
    Write,
)
from windlass.core.backoff import RetryPolicy
from windlass.core.decide import Settlement, decide
from windlass.core.ids import TaskId
from windlass.core.outcome import Errored, Interrupted, Lost, Outcome, Snoozed, Succeeded, TimedOut
from windlass.core.queue import QueueDefaults
from windlass.core.state import ENDED, EventName, Recovery, State
from windlass.core.task import Progress, Task

MOST_TASKS = 10
"""LIMIT: with more, rules seldom meet on the same task."""
NO_TASK = TaskId("00000000-0000-7000-8000-000000000000")

OUTCOMES: tuple[Outcome, ...] = (
    OK,
    Succeeded(result=b"[]"),
    Errored(error=ERROR),
    Errored(error=ERROR, retry_after_s=60),
    Errored(error=ERROR, retryable=False),
    Snoozed(delay_s=0),
    Snoozed(delay_s=30),
    TimedOut(error=ERROR),
    Interrupted(error=ERROR),
    Interrupted(error=ERROR, isolate=True),
    Lost(error=ERROR),
)
SUITS: dict[str, Callable[[Task], bool]] = {
    "cancel": lambda task: task.state is State.RUNNING,
    "cancel without a word": lambda task: task.state is State.RUNNING,
    "retry": lambda task: task.state.has_ended,
    "hold": lambda task: task.state is State.QUEUED and not task.held,
    "release": lambda task: task.held,
    "delete": lambda task: task.state.has_ended,
    "name": lambda task: task.name is None,
    "move": lambda task: task.state is State.QUEUED,
    "hide": lambda task: not task.is_hidden,
}
"""What clients and operators ask for, and the tasks that can have it."""
SOME_SETTLEMENT = Settlement(
    event=EventName.SUCCEEDED,
    state=State.SUCCEEDED,
    at=START,
    run_at=START,
    charged=1,
    lost=0,
    interrupted=0,
    cancel_seen=False,
    result=b"0",
)


class Then(msgspec.Struct, frozen=True):
    """What goes with the writes of a rule in a turn: time that has passed, an attempt that has ended, slots to fill."""

    slots: Mapping[str, int]
    seconds: float = 0.0
    outcome: Outcome | None = None


ALL_SLOTS, ONE_SLOT = {"shared": 3, "solo": 2, "builtin": 1}, {"shared": 1}

Name = tuple[int, bool, bool]
"""How a rule chooses a task: by which figure, whether it should suit, whether it is called by its id."""

turn = st.builds(
    Then,
    slots=st.sampled_from([ALL_SLOTS, ONE_SLOT, {}]),
    seconds=st.sampled_from([0.0, 0.0, 10.0, 400.0, -3.0]),
    outcome=st.sampled_from([None, *OUTCOMES]),
)
then = st.one_of(turn, turn, turn, st.none())
"""None: no turn yet, gather."""
which = st.integers(0, MOST_TASKS)
names = st.tuples(which, st.booleans(), st.booleans())
Request = tuple[str, bytes, float]
"""An Idempotency-Key: itself, the fingerprint, and for how many seconds it is known."""

requests = st.none() | st.tuples(st.sampled_from("xy"), st.sampled_from([b"1", b"1", b"2"]), st.sampled_from([10, 400]))
new_tasks = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["work", "work", "other", "file", "foreign"]),
        "queue": st.sampled_from("abc"),
        "priority": st.integers(-1, 1),
        "delay_s": st.sampled_from([0.0, -5.0, 10.0]),
        "key": st.sampled_from([None, "k"]),
        "origin": st.sampled_from([None, "enqueue"]),
        "fingerprint": st.sampled_from([None, b"1"]),
        "max_attempts": st.integers(1, 3),
        "retry": st.sampled_from([RetryPolicy(base_s=0), RetryPolicy()]),
        "recovery": st.sampled_from([Recovery.RETRY, Recovery.RETRY, Recovery.FAIL, Recovery.HOLD]),
        "payload": st.sampled_from([b'{"n":1}', b'{"n":2}']),
        "tags": st.sampled_from([{}, {"a": "b"}]),
    }
)


LIMITS = {"concurrency": st.sampled_from([None, 1, 2]), "capacity": st.sampled_from([None, 1, 3])}
queue_changes = st.fixed_dictionaries(
    {}, optional=LIMITS | {"is_paused": st.booleans(), "pause_reason": st.sampled_from([None, "r"])}
)


def some(what: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Give one to three of them: most of what a turn does is done to many at once."""
    return st.lists(what, min_size=1, max_size=3)


class StoresMachine(RuleBasedStateMachine):
    """Drives a store in memory, one in a file, one in `database` if that names one, and the reference, with the same
    turns.
    """

    database: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.trial = Trial(self.database)
        self.reference = self.trial.reference
        self.writes: list[Write] = []
        self.submits: list[Submit] = []
        self.settles: list[Settle] = []

    def teardown(self) -> None:
        self.trial.close()

    # ── clients ────────────────────────────────────────────────────

    @initialize(new=st.lists(new_tasks, min_size=2, max_size=5))
    def begin(self, new: Sequence[dict[str, Any]]) -> None:
        self.go(self.trial.submits(new), Then(ALL_SLOTS))

    @precondition(lambda self: len(self.reference.tasks) < MOST_TASKS)
    @rule(new=some(new_tasks), request=requests, then=then)
    def submit(self, new: Sequence[dict[str, Any]], request: Request | None, then: Then | None) -> None:
        self.go([replace(write, replay=self.replay(request)) for write in self.trial.submits(new)], then)

    @precondition(lambda self: len(self.reference.tasks) < MOST_TASKS)
    @rule(new=some(new_tasks), again=st.none() | which, request=requests, then=then)
    def submit_batch(
        self, new: Sequence[dict[str, Any]], again: int | None, request: Request | None, then: Then | None
    ) -> None:
        """Submit some at once, perhaps with one that was submitted before."""
        tasks = [write.task for write in self.trial.submits(new)]
        if again is not None:
            tasks.append(self.submits[again % len(self.submits)].task)
        self.go([SubmitBatch(tuple(tasks), self.replay(request))], then)

    def replay(self, request: Request | None) -> Replay | None:
        if request is None:
            return None
        key, fingerprint, seconds = request
        return Replay("client", key, fingerprint, self.trial.now + timedelta(seconds=seconds))

    @rule(one=which, then=then)
    def submit_again(self, one: int, then: Then | None) -> None:
        self.go([self.submits[one % len(self.submits)]], then)

    @rule(sorts=some(st.tuples(st.sampled_from(sorted(SUITS)), names)), then=then)
    def amend(self, sorts: Sequence[tuple[str, Name]], then: Then | None) -> None:
        self.go([self.amendment(sort, call(self.reference, name, SUITS[sort])) for sort, name in sorts], then)

    def amendment(self, sort: str, ref: TaskRef) -> Write:
        at = self.trial.now
        match sort:
            case "cancel":
                return RequestCancel(ref, at, reason="r", grace_s=2.5)
            case "cancel without a word":
                return RequestCancel(ref, at)
            case "retry":
                return Retry(ref, at)
            case "hold":
                return Hold(ref, at)
            case "delete":
                return Delete(ref, at)
            case "name":
                return Edit(ref=ref, at=at, name="n", description=None, tags={"a": "c"})
            case "move":
                return Edit(ref=ref, at=at, priority=1, run_at=at + timedelta(seconds=10), queue="c", name="m")
            case "hide":
                return Hide(ref, at)
            case _:
                return Release(ref, at)

    @rule(name=st.sampled_from("abc"), changes=queue_changes, then=then)
    def set_queue(self, name: str, changes: dict[str, Any], then: Then | None) -> None:
        self.go([SetQueue(name=name, at=self.trial.now, **changes)], then)

    @rule(names=st.sets(st.sampled_from("abc")), limits=st.fixed_dictionaries(LIMITS), then=then)
    def declare_queues(self, names: set[str], limits: dict[str, int | None], then: Then | None) -> None:
        self.go([DeclareQueues(tuple(QueueDefaults(name=name, **limits) for name in sorted(names)))], then)

    @rule(
        states=st.sampled_from([(State.SUCCEEDED,), tuple(ENDED), tuple(State)]),
        seconds=st.sampled_from([None, 0.0, -5.0, 0.000_001]),
        limit=st.integers(0, 2),
        then=then,
    )
    def prune(self, states: tuple[State, ...], seconds: float | None, limit: int, then: Then | None) -> None:
        now = self.trial.now
        self.go([Prune(states, None if seconds is None else now + timedelta(seconds=seconds), limit, now)], then)

    # ── attempts ───────────────────────────────────────────────────

    @rule(then=turn, is_foreign_live=st.booleans())
    def claim(self, then: Then, is_foreign_live: bool) -> None:
        self.go([], then, pools=POOLS | ({"foreign": ("shared", "solo")} if is_foreign_live else {}))

    @precondition(lambda self: self.reference.running())
    @rule(news=some(st.tuples(which, st.sampled_from([Save, Save, Report, KeepFile]), st.integers(0, 2))), then=then)
    def tell(self, news: Sequence[tuple[int, Any, int]], then: Then | None) -> None:
        writes: list[Write] = []
        for one, sort, figure in news:
            task = one_running(self.reference, one)
            content = {
                Report: Progress(done=figure, total=9, message="m", at=self.trial.now),
                Save: b"[%d]" % figure,
                KeepFile: file(figure, received_bytes=len(self.reference.events)),
            }
            writes.append(sort(task.number, token_of(task), content[sort]))
        self.go(writes, then)

    @precondition(lambda self: self.reference.running())
    @rule(ends=some(st.tuples(which, st.sampled_from(OUTCOMES), st.booleans())), then=then)
    def end(self, ends: Sequence[tuple[int, Outcome, bool]], then: Then | None) -> None:
        """Settle attempts, perhaps unaware of a cancel request."""
        self.go(
            [
                settle(one_running(self.reference, one), outcome, now=self.trial.now, is_unaware=is_unaware)
                for one, outcome, is_unaware in ends
            ],
            then,
        )

    @precondition(lambda self: self.reference.running())
    @rule(then=then)
    def take_all_back(self, then: Then | None) -> None:
        """Settle all that runs as interrupted, as a new server does."""
        lost = Interrupted(error=ERROR)
        self.go([settle(task, lost, now=self.trial.now) for task in self.reference.running()], then)

    @precondition(lambda self: self.settles)
    @rule(one=which, then=then)
    def settle_once_more(self, one: int, then: Then | None) -> None:
        self.go([self.settles[-1 - one % len(self.settles)]], then)

    @rule(name=names, lease=which, then=then)
    def write_with_a_wrong_token(self, name: Name, lease: int, then: Then | None) -> None:
        """Write all there is to write for a task, with a token of another time, of another task, or of nobody."""
        ref = call(self.reference, name, lambda task: task.state is State.RUNNING)
        task = self.reference.find(ref)
        given = dict.fromkeys(event.token for event in self.reference.events if event.token is not None)
        tokens = [NOBODY, *(token for token in given if task is None or token != task.token)]
        number = self.reference.last_number + 1 if task is None else task.number
        settlement = self.settles[-1].settlement if self.settles else SOME_SETTLEMENT
        self.go(attempt_writes(number, tokens[-1 - lease % len(tokens)], settlement), then)

    # ── the world ──────────────────────────────────────────────────

    @rule(seconds=st.sampled_from([0.000_001, 5.0, 400.0, -3.0, -600.0]))
    def step_the_clock(self, seconds: float) -> None:
        self.trial.now += timedelta(seconds=seconds)

    @rule(statement=st.integers(1, FAULT_STEP), fault=st.sampled_from(sorted(FAULTS.keys() | OUTLIVED)))
    def fail_the_next_turn(self, statement: int, fault: str) -> None:
        self.trial.fault = (statement, fault)

    @rule(is_killed=st.booleans())
    def restart(self, is_killed: bool) -> None:
        self.trial.restart(is_killed=is_killed)

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        self.trial.check()

    def go(self, writes: Sequence[Write], then: Then | None, pools: Mapping[str, tuple[str, str]] = POOLS) -> None:
        """Gather `writes`; with `then`, make the turn."""
        self.writes += writes
        self.submits += [write for write in writes if isinstance(write, Submit)]
        self.settles += [write for write in writes if isinstance(write, Settle)]
        if then is None:
            return
        self.trial.now += timedelta(seconds=then.seconds)
        if then.outcome is not None and self.reference.running():
            self.go([settle(one_running(self.reference, 0), then.outcome, now=self.trial.now)], None)
        gathered, self.writes = self.writes, []
        self.trial.turn(gathered, Wanted(slots=then.slots, pools=pools))


def call(reference: Reference, name: Name, suits: Callable[[Task], bool]) -> TaskRef:
    """Choose a task as `name` says, and what to call it: one that suits where there is one, any, or none at all."""
    one, is_to_suit, by_id = name
    tasks = list(reference.tasks.values())
    if is_to_suit and tasks:
        tasks = [task for task in tasks if suits(task)] or tasks
    elif one % (len(tasks) + 1) == len(tasks):
        return NO_TASK if by_id else reference.last_number + 1
    task = tasks[one % len(tasks)]
    return task.id if by_id else task.number


def one_running(reference: Reference, one: int) -> Task:
    running = reference.running()
    return running[one % len(running)]


def settle(task: Task, outcome: Outcome, *, now: datetime, is_unaware: bool = False) -> Settle:
    """Decide what `outcome` makes of `task`; `is_unaware`: by a server that has not heard of a cancel request."""
    seen = replace(task, cancel_requested_at=None) if is_unaware else task
    return Settle(task.number, token_of(task), decide(seen, outcome, now=now, roll=0.5), 0.25)
