"""What clients may change of a task, and when."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from store_cases import Bench, applied_task

from windlass.contracts.tasks import Applied, Count, Edit, Hold, Refusal, Refused
from windlass.core.state import EventName, State

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


async def test_labels_can_be_changed_at_any_time_and_the_rest_stays(bench: Bench) -> None:
    await bench.submit(name="old", description="d", tags={"a": "1"}, priority=3, key="k")
    for state in (State.QUEUED, State.RUNNING, State.SUCCEEDED):
        before = await bench.task(1)
        assert before.state is state
        turn = await bench.turn(Edit(ref=before.id, at=bench.now, name=state.value, tags={"s": state.value}))
        after = replace(before, name=state.value, tags={"s": state.value}, version=before.version + 1)
        assert turn.results == [Applied(after)]
        assert await bench.task(1) == after
        (event,) = turn.events
        assert (event.name, event.state, event.token) == (EventName.EDITED, state, before.token)
        assert event.data == {"name": state.value, "tags": {"s": state.value}}
        if state is State.QUEUED:
            await bench.claim()
        elif state is State.RUNNING:
            await bench.end(after)


async def test_labels_can_be_taken_away(bench: Bench) -> None:
    await bench.submit(name="n", description="d", tags={"a": "1"})
    edit = Edit(ref=1, at=bench.now, name=None, description=None, tags={})
    task = applied_task(await bench.write(edit))
    assert (task.name, task.description, task.tags) == (None, None, {})
    assert await bench.task(1) == task
    assert (await bench.history(1))[-1].data == {"name": None, "description": None, "tags": {}}


async def test_a_queued_task_moves_to_another_queue_with_its_size(bench: Bench) -> None:
    await bench.submit(payload=b'{"n":12}')
    await bench.turn(Edit(ref=1, at=bench.now, queue="fast"))
    assert await bench.store.tasks.counts() == [Count("fast", "work", State.QUEUED, 1, 8)]
    (claimed,) = await bench.claim()
    assert (claimed.task.queue, (await bench.task(1)).queue) == ("fast", "fast")
    assert [event.kind for event in await bench.history(1)] == ["work"] * 3


async def test_a_queued_task_starts_by_its_new_priority_and_time(bench: Bench) -> None:
    for _ in range(3):
        await bench.submit()
    later = bench.now + timedelta(seconds=60)
    turn = await bench.turn(
        Edit(ref=3, at=bench.now, priority=9), Edit(ref=1, at=bench.now, run_at=later), slots={"shared": 5}
    )
    assert [claimed.task.number for claimed in turn.claimed] == [3, 2]
    assert (turn.next_due_at, turn.events[1].data) == (later, {"run_at": "2026-11-20T12:01:00.123456Z"})
    assert await bench.claim() == []
    (claimed,) = (await bench.turn(Edit(ref=1, at=bench.now, run_at=bench.now), slots={"shared": 5})).claimed
    assert claimed.task.number == 1


async def test_a_held_task_stays_held_whatever_is_edited(bench: Bench) -> None:
    await bench.submit()
    await bench.turn(Hold(1, bench.now))
    await bench.turn(Edit(ref=1, at=bench.now, queue="q", name="n"))
    assert (await bench.task(1)).held
    assert await bench.claim() == []


@pytest.mark.parametrize("change", [{"priority": 1}, {"queue": "other"}, {"run_at": "later"}])
@pytest.mark.parametrize("state", [State.RUNNING, State.SUCCEEDED])
async def test_what_no_longer_waits_is_not_moved_not_even_its_labels(
    bench: Bench, state: State, change: dict[str, Any]
) -> None:
    running = await bench.run()
    if state is State.SUCCEEDED:
        await bench.end(running.task)
    if "run_at" in change:
        change = {"run_at": bench.now + timedelta(seconds=1)}
    before = await bench.task(1)
    turn = await bench.turn(Edit(ref=1, at=bench.now, name="new", **change))
    assert (turn.results, turn.events) == ([Refused(Refusal.STATE, before)], [])
    assert await bench.task(1) == before


async def test_what_is_so_already_changes_nothing(bench: Bench) -> None:
    running = await bench.run(name="n", tags={"a": "1"}, priority=2)
    edit = Edit(ref=1, at=bench.now, name="n", tags={"a": "1"}, priority=2, queue="default", run_at=running.task.run_at)
    turn = await bench.turn(edit, Edit(ref=1, at=bench.now))
    assert turn.results == [Applied(running.task, created=False)] * 2
    assert turn.events == []


async def test_a_task_that_is_not_there_cannot_be_edited(bench: Bench) -> None:
    for ref in (7, bench.ids.task_id()):
        assert await bench.write(Edit(ref=ref, at=bench.now, name="n")) == Refused(Refusal.MISSING)
