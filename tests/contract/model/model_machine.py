"""Every store against the reference: whatever is written, claimed, killed or undone, they must stay the same.

A rule gathers writes; those that name slots end the turn with all that has been gathered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model_checks import check_claims, check_log
from model_ids import CountedIds
from model_reference import Reference
from model_stores import FAULTS, FileRig, MemoryRig
from msgspec.structs import replace
from store_cases import ERROR, NOBODY, OK, POOLS, START, attempt_writes, file

from windlass.contracts.tasks import (
    Hold,
    KeepFile,
    Release,
    Report,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    TaskRef,
    Turn,
    Wanted,
    Write,
)
from windlass.core.backoff import RetryPolicy
from windlass.core.decide import Settlement, decide
from windlass.core.ids import Token
from windlass.core.outcome import Errored, Interrupted, Lost, Outcome, Snoozed, Succeeded, TimedOut
from windlass.core.state import EventName, Recovery, State
from windlass.core.task import Progress, Task
from windlass.errors import StoreCorrupt, StoreError

MOST_TASKS = 10
"""LIMIT: with more, rules seldom meet on the same task."""
FAST_DISK = Path("/dev/shm")
"""Where syncs cost nothing; the promise under test is what is in the file, not how fast it gets there."""

SAID: tuple[Outcome, ...] = (
    OK,
    Succeeded(result=b"[]"),
    Errored(error=ERROR),
    Errored(error=ERROR, retry_after_s=60),
    Errored(error=ERROR, retryable=False),
    Snoozed(delay_s=0),
    Snoozed(delay_s=30),
)
"""Ends that an attempt reports itself."""
SUFFERED: tuple[Outcome, ...] = (
    TimedOut(error=ERROR),
    Interrupted(error=ERROR),
    Interrupted(error=ERROR, isolate=True),
    Lost(error=ERROR),
)
"""Ends that its server finds."""
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

Slots = Mapping[str, int] | None
"""How many tasks of each pool the turn may start; None: no turn yet, gather."""

ALL_SLOTS, ONE_SLOT = {"shared": 3, "solo": 2, "builtin": 1}, {"shared": 1}

Name = tuple[int, bool, bool]
"""How a rule chooses a task: by which figure, whether it should suit, whether it is called by its id."""

then = st.sampled_from([None, {}, ONE_SLOT, ALL_SLOTS, ALL_SLOTS])
rolls = st.sampled_from([0.0, 0.5])
which = st.integers(0, MOST_TASKS)
names = st.tuples(which, st.booleans(), st.booleans())
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
        "recovery": st.sampled_from(Recovery),
        "payload": st.sampled_from([b'{"n":1}', b'{"n":2}']),
        "tags": st.sampled_from([{}, {"a": "b"}]),
    }
)
batches = st.lists(new_tasks, min_size=1, max_size=3)


class StoresMachine(RuleBasedStateMachine):
    """Drives a store in memory, one in a file, and the reference, with the same turns."""

    def __init__(self) -> None:
        super().__init__()
        self.reference = Reference(CountedIds().token)
        self.memory = MemoryRig()
        self.writes: list[Write] = []
        self.submitted: list[Submit] = []
        self.settles: list[Settle] = []
        self.fault: tuple[int, str] | None = None
        self.is_to_check = True
        self._runner = asyncio.Runner()
        self.run = self._runner.get_loop().run_until_complete
        self._home = TemporaryDirectory(dir=FAST_DISK if FAST_DISK.is_dir() else None)
        self.file = FileRig(Path(self._home.name))
        self.run(self.file.open())

    def teardown(self) -> None:
        try:
            self.run(self.file.close())
        finally:
            self._runner.close()
            self._home.cleanup()

    # ── clients ────────────────────────────────────────────────────

    @initialize(new=batches)
    def begin(self, new: Sequence[dict[str, Any]]) -> None:
        self.submit_fresh(new, ALL_SLOTS)

    @precondition(lambda self: len(self.reference.tasks) < MOST_TASKS)
    @rule(new=batches, then=then)
    def submit(self, new: Sequence[dict[str, Any]], then: Slots) -> None:
        self.submit_fresh(new, then)

    @rule(one=which, then=then)
    def submit_again(self, one: int, then: Slots) -> None:
        self.go([self.submitted[one % len(self.submitted)]], then)

    @rule(name=names, reason=st.sampled_from([None, "r"]), grace_s=st.sampled_from([None, 2.5]), then=then)
    def cancel(self, name: Name, reason: str | None, grace_s: float | None, then: Slots) -> None:
        ref = self.ref(name, lambda task: task.state is State.RUNNING)
        self.go([RequestCancel(ref, self.now, reason=reason, grace_s=grace_s)], then)

    @rule(name=names, then=then)
    def retry(self, name: Name, then: Slots) -> None:
        self.go([Retry(self.ref(name, lambda task: task.state.has_ended), self.now)], then)

    @rule(name=names, is_hold=st.booleans(), then=then)
    def hold_or_release(self, name: Name, is_hold: bool, then: Slots) -> None:
        ref = self.ref(name, lambda task: task.state is State.QUEUED and task.held != is_hold)
        self.go([Hold(ref, self.now) if is_hold else Release(ref, self.now)], then)

    # ── attempts ───────────────────────────────────────────────────

    @rule(then=then.filter(bool), is_foreign_live=st.booleans())
    def claim(self, then: Slots, is_foreign_live: bool) -> None:
        self.go([], then, pools=POOLS | ({"foreign": ("shared", "solo")} if is_foreign_live else {}))

    @precondition(lambda self: self.reference.running())
    @rule(one=which, sort=st.sampled_from([Report, Save, KeepFile]), figure=st.integers(0, 2), then=then)
    def tell(self, one: int, sort: type[Report | Save | KeepFile], figure: int, then: Slots) -> None:
        task = self.attempt(one)
        content = {
            Report: Progress(done=figure, total=9, message="m", at=self.now),
            Save: b"[%d]" % figure,
            KeepFile: file(figure, received_bytes=len(self.reference.events)),
        }
        self.go([sort(task.number, token_of(task), content[sort])], then)

    @precondition(lambda self: self.reference.running())
    @rule(one=which, outcome=st.sampled_from(SAID), roll=rolls, is_unaware=st.booleans(), then=then)
    def finish(self, one: int, outcome: Outcome, roll: float, is_unaware: bool, then: Slots) -> None:
        self.go([self.settle(self.attempt(one), outcome, roll, is_unaware=is_unaware)], then)

    @precondition(lambda self: self.reference.running())
    @rule(one=which, outcome=st.sampled_from(SUFFERED), roll=rolls, is_unaware=st.booleans(), then=then)
    def end(self, one: int, outcome: Outcome, roll: float, is_unaware: bool, then: Slots) -> None:
        self.go([self.settle(self.attempt(one), outcome, roll, is_unaware=is_unaware)], then)

    @precondition(lambda self: self.reference.running())
    @rule(then=then)
    def take_all_back(self, then: Slots) -> None:
        """Settle all that runs as interrupted, as a new server does."""
        self.go([self.settle(task, Interrupted(error=ERROR), 0.0) for task in self.reference.running()], then)

    @precondition(lambda self: self.settles)
    @rule(one=which, then=then)
    def settle_once_more(self, one: int, then: Slots) -> None:
        self.go([self.settles[-1 - one % len(self.settles)]], then)

    @rule(one=which, sort=st.integers(0, 3), lease=which, then=then)
    def write_with_a_wrong_token(self, one: int, sort: int, lease: int, then: Slots) -> None:
        """Write for some task with a token of another time, of another task, or of nobody's making."""
        number = 1 + one % (len(self.reference.tasks) + 1)
        task = self.reference.tasks.get(number)
        given = dict.fromkeys(event.token for event in self.reference.events if event.token is not None)
        tokens = [NOBODY, *(token for token in given if task is None or token != task.token)]
        settlement = self.settles[-1].settlement if self.settles else SOME_SETTLEMENT
        self.go([attempt_writes(number, tokens[-1 - lease % len(tokens)], settlement)[sort]], then)

    # ── the world ──────────────────────────────────────────────────

    @rule(seconds=st.sampled_from([0.000_001, 5.0, 10.0, 400.0, -3.0, -600.0]))
    def step_the_clock(self, seconds: float) -> None:
        self.memory.bench.pass_time(seconds)

    @rule(statement=st.integers(1, 15), fault=st.sampled_from(sorted(FAULTS)))
    def fail_the_next_turn(self, statement: int, fault: str) -> None:
        self.fault = (statement, fault)

    @rule(is_killed=st.booleans())
    def restart(self, is_killed: bool) -> None:
        self.run(self.file.kill() if is_killed else self.file.restart())
        self.forget()

    # ── what must hold ─────────────────────────────────────────────

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        if self.is_to_check:
            self.is_to_check = False
            self.check_same("memory", self.run(self.memory.dump()))
            self.check_same("file", self.run(self.file.dump()))

    def check_same(self, name: str, dump: dict[str, Any]) -> None:
        """Check that a store has what the reference has, and that its tasks have lived as they may."""
        check_log(dump["tasks"], dump["events"])
        for part, due in self.reference.dump().items():
            assert dump[part] == due, f"{part} in {name}"

    # ── how a rule does it ─────────────────────────────────────────

    @property
    def now(self) -> Any:
        return self.memory.bench.now

    def ref(self, name: Name, suits: Callable[[Task], bool]) -> TaskRef:
        """Choose a task as `name` says, and what to call it: one that suits where there is one, any, or none at all."""
        one, is_to_suit, by_id = name
        tasks = list(self.reference.tasks.values())
        if is_to_suit:
            tasks = [task for task in tasks if suits(task)] or tasks
        elif one % (len(tasks) + 1) == len(tasks):
            return len(tasks) + 1
        task = tasks[one % len(tasks)]
        return task.id if by_id else task.number

    def attempt(self, one: int) -> Task:
        running = self.reference.running()
        return running[one % len(running)]

    def settle(self, task: Task, outcome: Outcome, roll: float, *, is_unaware: bool = False) -> Settle:
        """Decide what `outcome` makes of `task`; `is_unaware`: by a server that has not heard of a cancel request."""
        seen = replace(task, cancel_requested_at=None) if is_unaware else task
        self.settles.append(Settle(task.number, token_of(task), decide(seen, outcome, now=self.now, roll=roll), 0.25))
        return self.settles[-1]

    def submit_fresh(self, new: Sequence[dict[str, Any]], then: Slots) -> None:
        fresh = [Submit(self.memory.bench.new(**values)) for values in new]
        self.submitted += fresh
        self.go(fresh, then)

    def forget(self) -> None:
        self.memory.reopen()
        self.reference.reopen()
        self.is_to_check = True

    def go(self, writes: Sequence[Write], slots: Slots, pools: Mapping[str, tuple[str, str]] = POOLS) -> None:
        """Gather `writes`; with `slots`, make the turn."""
        self.writes += writes
        if slots is None:
            return
        gathered, self.writes = self.writes, []
        wanted = Wanted(slots=slots, pools=pools)
        from_file = self.run(self._turn_in_file(gathered, wanted))
        from_memory = self.run(self.memory.store.tasks.turn(gathered, wanted, now=self.now))
        due = self.reference.turn(gathered, wanted, now=self.now)
        for name, turn in (("memory", from_memory), ("file", from_file)):
            check_claims(turn, slots)
            for part in Turn.__struct_fields__:
                assert getattr(turn, part) == getattr(due, part), f"{part} of a turn in {name}"
        self.is_to_check = True

    async def _turn_in_file(self, writes: Sequence[Write], wanted: Wanted) -> Turn:
        """Make the turn; where it is to fail, see first that nothing comes of it and that the store goes on."""

        def turn() -> Awaitable[Turn]:
            return self.file.bench.store.tasks.turn(writes, wanted, now=self.now)

        fault, self.fault = self.fault, None
        if fault is None:
            return await turn()
        given = self.file.ids.given
        await self.file.fail_at(*fault)
        try:
            made = await turn()
        except StoreError:
            self.file.ids.given = given
        else:
            await self.file.heal()
            return made
        if fault[1] == "damaged":
            with pytest.raises(StoreCorrupt):
                await turn()
            await self.file.kill()
            self.forget()
        elif fault[1] == "killed":
            await self.file.open_image()
            self.forget()
        self.check_same("file", await self.file.dump())
        return await turn()


def token_of(task: Task) -> Token:
    assert task.token is not None
    return task.token
