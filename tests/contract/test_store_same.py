"""Two stores given the same writes do the same: one is the model of the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_cases import ERROR, NOBODY, OK, Bench, file
from store_ids import SeededIds

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
    Turn,
    Write,
)
from windlass.core.decide import decide
from windlass.core.ids import Token
from windlass.core.outcome import Errored, Interrupted, Lost, Outcome, Snoozed, TimedOut
from windlass.core.state import TRANSITIONS, EventName, Recovery, State
from windlass.core.task import Event, Progress, Task
from windlass.store.open import open_store

OUTCOMES: tuple[Outcome, ...] = (
    OK,
    Errored(error=ERROR),
    Errored(error=ERROR, retryable=False),
    Snoozed(delay_s=0),
    Snoozed(delay_s=30),
    TimedOut(error=ERROR),
    Interrupted(error=ERROR),
    Interrupted(error=ERROR, isolate=True),
    Lost(error=ERROR),
)

small = st.integers(0, 5)
submits = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["work", "other", "file", "foreign"]),
        "queue": st.sampled_from("ab"),
        "priority": st.integers(-1, 1),
        "delay_s": st.sampled_from([-5.0, 0.0, 0.0, 10.0]),
        "key": st.sampled_from([None, None, "k", "l"]),
        "origin": st.sampled_from([None, "enqueue"]),
        "fingerprint": st.sampled_from([None, b"1"]),
        "max_attempts": st.integers(1, 2),
        "recovery": st.sampled_from(list(Recovery)),
    }
)
operations = st.one_of(
    st.tuples(st.just("submit"), submits),
    st.tuples(st.just("settle"), small, st.sampled_from(OUTCOMES)),
    st.tuples(st.sampled_from(["report", "save", "file", "cancel", "retry", "hold", "release", "stale"]), small),
)
turns = st.tuples(
    st.lists(operations, max_size=6),
    st.fixed_dictionaries({"shared": st.integers(0, 3), "solo": st.integers(0, 2), "builtin": st.integers(0, 1)}),
    st.sampled_from([0.0, 0.5, 20.0, -3.0]),
)


class Script:
    """Turns drawn operations into writes that make sense for the tasks as one of the stores has them."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._last: dict[int, Settle] = {}

    async def writes(self, drawn: Sequence[tuple[Any, ...]]) -> list[Write]:
        return [await self._write(*operation) for operation in drawn]

    async def _write(self, sort: str, what: Any, outcome: Outcome = OK) -> Write:
        if sort == "submit":
            return Submit(self._bench.new(**what))
        task = await self._bench.store.tasks.get(what + 1)
        number = what + 1 if task is None else task.number
        at, token = self._bench.now, NOBODY if task is None or task.token is None else task.token
        match sort:
            case "settle":
                return self._settle(task, number, outcome)
            case "stale":
                return self._last.get(number, Save(number, NOBODY, b"1"))
            case "report":
                return Report(number, token, Progress(done=what, message="m", at=at))
            case "save":
                return Save(number, token, b"[%d]" % what)
            case "file":
                return KeepFile(number, token, file(what % 3))
            case "cancel":
                return RequestCancel(number if task is None else task.id, at, reason="r", grace_s=float(what))
            case "retry":
                return Retry(number, at)
            case "hold":
                return Hold(number, at)
            case _:
                return Release(number, at)

    def _settle(self, task: Task | None, number: int, outcome: Outcome) -> Write:
        if task is None or task.state is not State.RUNNING or task.token is None:
            return self._last.get(number, Save(number, NOBODY, b"1"))
        settlement = decide(task, outcome, now=self._bench.now, roll=self._bench.ids.roll())
        self._last[number] = Settle(number, Token(task.token), settlement, 0.1)
        return self._last[number]


def check_history(task: Task, events: Sequence[Event]) -> None:
    """Check what must hold of every task at every commit."""
    state: State | None = None
    for place, event in enumerate(events, start=1):
        assert event.ordinal == place
        assert TRANSITIONS[state, event.name] is event.state
        assert state is not State.RUNNING or event.token is not None
        state = event.state
    assert task.state is state
    starts = [event for event in events if event.name is EventName.STARTED]
    assert [event.attempt for event in starts] == list(range(1, task.attempt + 1))
    assert len({event.token for event in starts}) == len(starts)
    assert 0 <= task.charged <= task.max_attempts
    assert (task.token is not None) == (task.state is State.RUNNING)
    assert task.token is None or task.token == starts[-1].token


async def compare(data: Path, script: Sequence[tuple[Any, ...]]) -> None:
    """Drive a store in memory and one in a file through `script`, comparing them after every turn."""
    benches: list[Bench] = []
    for database in ("memory", "sqlite"):
        ids = SeededIds()
        benches.append(Bench(await open_store(database, data=data, ids=ids), ids))
    try:
        writer = Script(benches[0])
        for drawn, slots, seconds in script:
            writes = await writer.writes(drawn)
            done: list[Turn] = []
            for bench in benches:
                bench.now = benches[0].now
                done.append(await bench.turn(*writes, slots=slots))
            assert done[0] == done[1]
            dump = await benches[0].dump()
            assert dump == await benches[1].dump()
            for task in dump["tasks"]:
                check_history(task, [event for event in dump["events"] if event.number == task.number])
            benches[0].pass_time(seconds)
    finally:
        for bench in benches:
            await bench.store.close()


@pytest.mark.timeout(120)  # LIMIT: passing takes seconds; a failure is shrunk, which takes longer
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(turns, min_size=3, max_size=14))
def test_the_same_writes_have_the_same_effect_in_memory_and_in_a_file(script: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as data:
        asyncio.run(compare(Path(data), script))
