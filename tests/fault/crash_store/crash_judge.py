"""What a store must hold after any fault, by what the program that met it was told. Knows no fault."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from clean import assert_clean
from crash_parts import CountedIds

from windlass.contracts.store import Store
from windlass.core.query import Order, TaskQuery
from windlass.core.state import TRANSITIONS, EventName
from windlass.core.task import Event, Task
from windlass.store.open import open_store

Line = dict[str, Any]


def read_ledger(path: Path) -> list[Line]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def judge(data: Path, *ledgers: Path) -> None:
    """Hold the store in `data`, in which every task has ended, against what was told."""
    told = [line for ledger in ledgers for line in read_ledger(ledger)]
    tasks, histories, payloads = asyncio.run(_everything(data))
    for task in tasks.values():
        _check_history(task, histories[task.id])
    removed = {line["id"] for line in told if line["what"] == "removed"}
    assert not removed & set(tasks), f"removed, but there: {removed & set(tasks)}"
    removing = {line["id"] for line in told if line["what"] == "removing"} - set(tasks)
    _check_told([line for line in told if line.get("id") not in removing], histories, payloads)
    sent = {line["id"] for line in told if line["what"] == "sending"}
    assert set(tasks) <= sent, f"tasks that nobody has sent: {set(tasks) - sent}"
    assert not [line for line in told if line["what"] == "went_on"], "a damaged store went on"
    assert_clean(data)


async def _everything(data: Path) -> tuple[dict[str, Task], dict[str, Sequence[Event]], dict[str, bytes | None]]:
    store: Store = await open_store("sqlite", data=data, ids=CountedIds(4))
    try:
        page = await store.tasks.page(TaskQuery(order=Order.OLDEST, limit=100))
        histories = {task.id: await store.events.history(task.number) for task in page.tasks}
        payloads = {task.id: await store.tasks.payload(task.number) for task in page.tasks}
        return {task.id: task for task in page.tasks}, histories, payloads
    finally:
        await store.close()


def _check_history(task: Task, events: Sequence[Event]) -> None:
    """See that a task went legal ways only, started 1, 2, 3, ended once, and is where its history leads."""
    state, attempt, endings = None, 0, 0
    for ordinal, event in enumerate(events, 1):
        assert event.ordinal == ordinal
        assert TRANSITIONS.get((state, event.name)) is event.state, f"no legal edge from {state}: {event}"
        state = event.state
        attempt += event.name is EventName.STARTED
        if event.name is not EventName.EDITED:  # a name may change at any time
            endings = 0 if event.name is EventName.RETRIED else endings + event.state.has_ended
        assert event.attempt == attempt
        assert endings <= 1, f"ended twice: {event}"
    assert task.state is state
    assert task.state.has_ended, f"never ended: {task}"


def _check_told(told: Sequence[Line], histories: dict[str, Sequence[Event]], payloads: dict[str, bytes | None]) -> None:
    """See that all that was acknowledged is there, in that order, and no more often."""
    acknowledged: dict[str, list[tuple[str, int]]] = {}
    for line in told:
        if line["what"] == "event":
            acknowledged.setdefault(line["id"], []).append((line["name"], line["attempt"]))
        if "payload" in line:
            assert payloads.get(line["id"]) == line["payload"].encode()
    for task, events in acknowledged.items():
        happened = [(str(event.name), event.attempt) for event in histories.get(task, ())]
        rest = iter(happened)
        assert all(event in rest for event in events), f"acknowledged {events}, but there is {happened}"
        assert not Counter(events) - Counter(happened)
    saved: dict[str, int] = {}
    for line in told:
        if line["what"] == "saved":
            saved[line["id"]] = line["value"]
        elif line["what"] == "resumed":
            assert line["value"] >= saved.get(line["id"], 0), f"a checkpoint is lost: {line}"
