"""One task, two workers, and every order in which things can happen to them, against a store.

A path is told anew from its beginning for each step that is tried at its end: stores cannot be copied.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import msgspec
from model_checks import check_claims, check_task
from model_ids import CountedIds, token_of
from model_postgres import PostgresRig
from model_reference import Reference
from store_cases import ERROR, FAILED, OK, POOLS, START

from windlass.contracts.tasks import (
    Applied,
    Refusal,
    Refused,
    Release,
    Report,
    RequestCancel,
    Retry,
    Save,
    Settle,
    Submit,
    Turn,
    Wanted,
    Write,
    WriteResult,
)
from windlass.core.backoff import RetryPolicy
from windlass.core.decide import decide
from windlass.core.ids import TaskId
from windlass.core.outcome import Interrupted, Lost, Outcome
from windlass.core.state import Recovery, State
from windlass.core.task import Event, NewTask, Progress, Task
from windlass.store.memory import MemoryStore

T = TypeVar("T")

WORKERS = ("left", "right")
Step = tuple[str, str]
"""What happens, and to which worker; to none for what clients, operators and the server do."""
Path = tuple[Step, ...]

THE_TASK = 1


class Shelf(Protocol):
    """The store of one world, with one task in it, which others know as `THE_TASK`."""

    kind: str

    def turn(self, writes: Sequence[Write], wanted: Wanted, due: Turn, *, now: datetime) -> Turn:
        """Make a turn; `due` is what should come of it."""
        ...

    def read(self) -> tuple[Task | None, Sequence[Event], dict[int, bytes]]:
        """Read the task, its events, and the checkpoints there are."""
        ...


class MemoryShelf:
    """A store in memory, new for each world."""

    kind = "work"

    def __init__(self) -> None:
        self._store = MemoryStore(CountedIds())

    def turn(self, writes: Sequence[Write], wanted: Wanted, due: Turn, *, now: datetime) -> Turn:
        del due
        return at_once(self._store.tasks.turn(writes, wanted, now=now))

    def read(self) -> tuple[Task | None, Sequence[Event], dict[int, bytes]]:
        task, events = at_once(self._store.tasks.get(THE_TASK)), at_once(self._store.events.log())
        return task, events, self._store.tasks._shelf.checkpoints


class PostgresShelf:
    """A task of a kind of its own in the database that all worlds share: the tasks of others are not claimed here."""

    def __init__(self, rig: PostgresRig, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._rig = rig
        self._run = run
        self.kind = rig.begin_anew()

    def turn(self, writes: Sequence[Write], wanted: Wanted, due: Turn, *, now: datetime) -> Turn:
        return self._rig.told(self._run(self._rig.turn(writes, wanted, now=now)), due)

    def read(self) -> tuple[Task | None, Sequence[Event], dict[int, bytes]]:
        return self._run(self._rig.read(THE_TASK))


class World:
    """One task in a store, and what two workers hold: the task as it was when they last heard of it.

    A worker keeps what it held after its attempt has ended, so that it can be late with the same news again.
    Nothing is compared while `is_past`: those steps were the end of another path.
    """

    def __init__(self, recovery: Recovery, shelf: Shelf) -> None:
        self._shelf = shelf
        self._reference = Reference(CountedIds().token)
        self._now = START
        self.hands: dict[str, Task | None] = dict.fromkeys(WORKERS)
        self.seen: set[str] = set()
        self.is_past = False
        self._turn(
            Submit(
                NewTask(
                    id=TaskId(str(uuid.uuid5(uuid.NAMESPACE_OID, shelf.kind))),
                    kind=shelf.kind,
                    queue="default",
                    payload=b"{}",
                    created_at=START,
                    run_at=START,
                    max_attempts=2,
                    retry=RetryPolicy(base_s=0),
                    recovery=recovery,
                )
            )
        )

    @property
    def task(self) -> Task:
        return self._reference.tasks[THE_TASK]

    def steps(self) -> Iterator[Step]:
        """Name what can happen now."""
        for worker, held in self.hands.items():
            is_current = held is not None and held.token == self.task.token
            if not is_current:
                yield "claims", worker
            if held is not None:
                yield from ((news, worker) for news in ("reports", "saves", "succeeds", "errs"))
            if is_current:
                yield from ((end, worker) for end in ("takes its process down", "vanishes"))
        yield from ((name, "") for name in ("cancel", "retry", "release"))
        if self.task.state is State.RUNNING:
            yield "sweep", ""

    def take(self, step: Step) -> None:
        """Let one thing happen.

        Raises:
            AssertionError: what came of it is not what the contract says.
        """
        self._now += timedelta(seconds=1)
        match step:
            case ("claims", worker):
                turn = self._turn(slots=1)
                self.hands[worker] = turn.claimed[0].task if turn.claimed else None
            case ("vanishes", worker):
                self.hands[worker] = None
            case ("takes its process down", worker):
                self._end(worker, Lost(ERROR))
            case ("succeeds", worker):
                self._end(worker, OK)
            case ("errs", worker):
                self._end(worker, FAILED)
            case ("reports", worker):
                self._write_as(worker, Report(THE_TASK, token_of(self._held(worker)), Progress(done=1)))
            case ("saves", worker):
                self._write_as(worker, Save(THE_TASK, token_of(self._held(worker)), b"1"))
            case ("sweep", _):
                self._turn(self._settle(self.task, Interrupted(ERROR)))
            case ("cancel", _):
                self._turn(RequestCancel(THE_TASK, self._now))
            case ("retry", _):
                self._turn(Retry(THE_TASK, self._now))
            case ("release", _):
                self._turn(Release(THE_TASK, self._now))
            case _:
                raise AssertionError(f"no such step: {step}")

    def key(self) -> tuple[Any, ...]:
        """Tell this world from others, as far as it matters to what can come of it; the workers are alike."""
        task = self.task
        story = (task.state, task.reason, task.attempt, task.charged, task.lost, task.interrupted, task.held)
        return (*story, task.cancel_requested_at is None, *sorted(map(self._hand, self.hands.values())))

    def _hand(self, held: Task | None) -> tuple[int, ...]:
        if held is None:
            return (0,)
        return (held.attempt, held.cancel_requested_at is None, held.interrupted)

    def _held(self, worker: str) -> Task:
        held = self.hands[worker]
        assert held is not None
        return held

    def _settle(self, task: Task, outcome: Outcome) -> Settle:
        return Settle(THE_TASK, token_of(task), decide(task, outcome, now=self._now, roll=0.5), 1.0)

    def _end(self, worker: str, outcome: Outcome) -> None:
        """Send the end of an attempt; a server that learns of a change decides anew when it is asked again."""
        result = self._write_as(worker, self._settle(self._held(worker), outcome))
        if isinstance(result, Refused) and result.why is Refusal.CHANGED:
            self.hands[worker] = result.task

    def _write_as(self, worker: str, write: Settle | Report | Save) -> WriteResult:
        """Write for an attempt: with the token of this time it applies, with any other it changes nothing."""
        before = (self.task, list(self._reference.events))
        is_current = self.task.token == write.token
        (result,) = self._turn(write).results
        is_stale = isinstance(result, Refused) and result.why is Refusal.STALE
        assert is_stale is not is_current, f"{worker}: {result}"
        if isinstance(result, Refused):
            assert before == (self.task, self._reference.events)
        else:
            assert result == Applied()
        return result

    def _turn(self, *writes: Write, slots: int = 0) -> Turn:
        """Make a turn in the store and in the reference, and compare all there is."""
        wanted = Wanted(slots={"shared": slots}, pools={self._shelf.kind: POOLS["work"]})
        due = self._reference.turn(writes, wanted, now=self._now)
        turn = self._shelf.turn(writes, wanted, due, now=self._now)
        if self.is_past:
            return turn
        assert turn == due
        check_claims(turn, wanted.slots)
        task, events, checkpoints = self._shelf.read()
        assert task is not None
        check_task(task, events)
        assert task == self.task
        assert events == self._reference.events
        assert checkpoints == self._reference.checkpoints
        self.seen.update(str(event.name) for event in turn.events)
        self.seen.update(str(result.why) for result in turn.results if isinstance(result, Refused))
        return turn


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never waits, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("the store in memory has waited for something")


class Exploration(msgspec.Struct):
    """What was looked at: different worlds, steps out of them, orders of events that they stand for, what occurred."""

    worlds: int
    steps: int
    orders: int
    seen: set[str]


def explore(recovery: Recovery, depth: int, make_shelf: Callable[[], Shelf] = MemoryShelf) -> Exploration:
    """Take every order of at most `depth` steps; one that comes to a world met before goes on as from there.

    Raises:
        AssertionError: a path broke a promise; names the path.
    """
    start = World(recovery, make_shelf()).key()
    leads_to: dict[Any, list[Any]] = {}
    frontier: dict[Any, Path] = {start: ()}
    seen: set[str] = set()
    for _ in range(depth):
        found: dict[Any, Path] = {}
        for key, path in frontier.items():
            leads_to[key] = []
            for step in list(told(path, World(recovery, make_shelf())).steps()):
                world = told((*path, step), World(recovery, make_shelf()))
                seen |= world.seen
                leads_to[key].append(reached := world.key())
                found.setdefault(reached, (*path, step))
        frontier = {key: path for key, path in found.items() if key not in leads_to}
    ways = Counter({start: 1})
    for _ in range(depth):
        following: Counter[Any] = Counter()
        for key, count in ways.items():
            for end in leads_to[key]:
                following[end] += count
        ways = following
    return Exploration(len(leads_to) + len(frontier), sum(map(len, leads_to.values())), ways.total(), seen)


def told(path: Path, world: World) -> World:
    """Lead a new world along `path`."""
    try:
        for place, step in enumerate(path, start=1):
            world.is_past = place < len(path)
            world.take(step)
    except AssertionError as error:
        error.add_note(" → ".join(f"{worker} {name}".strip() for name, worker in path))
        raise
    return world
