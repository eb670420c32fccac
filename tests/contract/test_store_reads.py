"""Pages, histories, running tasks, the registry: what a store can be asked."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from store_cases import FAILED, Bench

from windlass.contracts.registry import ServerRow, WorkerRow
from windlass.contracts.tasks import Hold, Release, RequestCancel, Retry, Submit
from windlass.core.ids import ServerId
from windlass.core.kind import Isolation, Kind
from windlass.core.query import Order, TaskQuery
from windlass.core.state import TRANSITIONS, EventName, State
from windlass.errors import ConfigError, StoreUnavailable
from windlass.store import pages
from windlass.store.open import open_store

pytest_plugins = ["store_fixtures"]
pytestmark = pytest.mark.anyio


# ── pages ──────────────────────────────────────────────────────────


async def numbers_of(bench: Bench, query: TaskQuery) -> list[list[int]]:
    """Follow the pages of a query to the end."""
    found: list[list[int]] = []
    while True:
        page = await bench.store.tasks.page(query)
        found.append([task.number for task in page.tasks])
        if page.after is None:
            return found
        query = msgspec.structs.replace(query, after=page.after)


async def test_an_empty_store_has_one_empty_page(bench: Bench) -> None:
    for order in Order:
        assert await numbers_of(bench, TaskQuery(order=order)) == [[]]
        assert await numbers_of(bench, TaskQuery(order=order, key="a")) == [[]]


async def test_pages_go_from_the_newest_to_the_oldest_or_back(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(5)])
    assert await numbers_of(bench, TaskQuery(limit=2)) == [[5, 4], [3, 2], [1]]
    assert await numbers_of(bench, TaskQuery(limit=2, order=Order.OLDEST)) == [[1, 2], [3, 4], [5]]


async def test_a_full_last_page_says_that_it_is_the_last(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    for order in Order:
        assert [len(page) for page in await numbers_of(bench, TaskQuery(limit=2, order=order))] == [2, 2]


async def test_tasks_that_come_meanwhile_do_not_disturb_the_pages(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(4)])
    page = await bench.store.tasks.page(TaskQuery(limit=2))
    await bench.submit()
    following = await bench.store.tasks.page(TaskQuery(limit=2, after=page.after))
    assert [task.number for task in following.tasks] == [2, 1]


async def test_every_filter_narrows_and_all_must_match(bench: Bench) -> None:
    await bench.turn(
        Submit(bench.new(kind="other", queue="q", key="k", tags={"team": "a", "env": "x"})),
        Submit(bench.new(kind="work", queue="q", key="k", tags={"team": "b"})),
        Submit(bench.new(kind="work", queue="r", tags={"team": "a"})),
        Submit(bench.new(kind="work", queue="q", key="l")),
    )
    await bench.turn(RequestCancel(4, bench.now))
    expected = {
        TaskQuery(state=State.CANCELLED): [4],
        TaskQuery(state=State.QUEUED): [3, 2, 1],
        TaskQuery(kind="work"): [4, 3, 2],
        TaskQuery(queue="q"): [4, 2, 1],
        TaskQuery(key="k"): [2, 1],
        TaskQuery(key="k", order=Order.OLDEST): [1, 2],
        TaskQuery(tag=("team", "a")): [3, 1],
        TaskQuery(tag=("team", "a"), kind="other"): [1],
        TaskQuery(key="k", kind="work"): [2],
        TaskQuery(key="k", state=State.CANCELLED): [],
        TaskQuery(queue="nowhere"): [],
    }
    for query, numbers in expected.items():
        assert await numbers_of(bench, query) == [numbers], query


async def test_pages_by_key_can_be_followed_too(bench: Bench) -> None:
    kinds = ("work", "other", "file")
    await bench.turn(*[Submit(bench.new(kind=kind, key="k")) for kind in kinds], Submit(bench.new()))
    assert await numbers_of(bench, TaskQuery(key="k", limit=2)) == [[3, 2], [1]]
    assert await numbers_of(bench, TaskQuery(key="k", limit=2, order=Order.OLDEST)) == [[1, 2], [3]]


async def test_a_page_examines_a_bounded_number_of_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_SCAN_ROWS", 4)
    await bench.turn(*[Submit(bench.new(queue="rare" if n == 2 else "default")) for n in range(1, 11)])
    assert await numbers_of(bench, TaskQuery(queue="rare")) == [[], [], [2]]
    assert await numbers_of(bench, TaskQuery(queue="rare", order=Order.OLDEST)) == [[2], [], []]


@pytest.mark.parametrize("after", [-(10**30), -1, 0, 3, 4, 10**30])
async def test_a_cursor_from_anywhere_leads_to_a_page(bench: Bench, after: int) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(3)])
    for order, beyond in ((Order.NEWEST, [n for n in (3, 2, 1) if n < after]), (Order.OLDEST, [])):
        expected = beyond or [n for n in (1, 2, 3) if n > after and order is Order.OLDEST]
        assert await numbers_of(bench, TaskQuery(order=order, after=after)) == [expected]


async def test_pages_carry_the_errors_of_their_tasks(bench: Bench) -> None:
    running = await bench.run()
    task = await bench.end(running.task, FAILED)
    assert (await bench.store.tasks.page(TaskQuery())).tasks == [task]


async def test_running_tasks_are_read_in_stretches(bench: Bench) -> None:
    await bench.turn(*[Submit(bench.new()) for _ in range(6)])
    claimed = await bench.claim(shared=5)
    await bench.turn(bench.settle(claimed[1].task))
    running = bench.store.tasks.running
    assert [task.number for task in await running(after=0, limit=3)] == [1, 3, 4]
    assert await running(after=4, limit=3) == [claimed[4].task]
    assert await running(after=5, limit=3) == []


# ── events ─────────────────────────────────────────────────────────


async def live_through_everything(bench: Bench) -> None:
    """Take tasks along every kind of event."""
    running = await bench.run(max_attempts=2)
    await bench.end(running.task, FAILED)
    bench.pass_time(60)
    (second,) = await bench.claim()
    await bench.end(second.task, FAILED)
    await bench.turn(Retry(1, bench.now))
    await bench.turn(Hold(1, bench.now))
    await bench.turn(Release(1, bench.now))
    (third,) = await bench.claim()
    await bench.turn(RequestCancel(1, bench.now))
    await bench.end(await bench.task(third.task.number), FAILED)
    other = await bench.submit(kind="other")
    await bench.turn(RequestCancel(other.number, bench.now))


async def test_histories_are_legal_paths_that_end_where_the_task_stands(bench: Bench) -> None:
    await live_through_everything(bench)
    for number in (1, 2):
        state: State | None = None
        for place, event in enumerate(await bench.history(number), start=1):
            assert event.ordinal == place
            assert TRANSITIONS[state, event.name] is event.state
            state = event.state
        task = await bench.task(number)
        assert (task.state, task.id, task.kind) == (state, event.task_id, event.kind)


async def test_the_log_holds_every_event_once_in_the_order_of_the_turns(bench: Bench) -> None:
    await live_through_everything(bench)
    log = await bench.store.events.log()
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    for number in (1, 2):
        assert [event for event in log if event.number == number] == list(await bench.history(number))


async def test_a_turn_gives_the_very_events_that_the_log_keeps(bench: Bench) -> None:
    running = await bench.run(kind="other")
    turn = await bench.turn(bench.settle(running.task, FAILED), Submit(bench.new()), slots={"shared": 1})
    names = [EventName.RETRYING, EventName.SUBMITTED, EventName.STARTED]
    assert [event.name for event in turn.events] == names
    assert list(await bench.store.events.log(after=2)) == list(turn.events)


async def test_histories_and_the_log_are_read_in_stretches(bench: Bench) -> None:
    await live_through_everything(bench)
    whole = list(await bench.history(1))
    assert list(await bench.store.events.history(1, after=3, limit=2)) == whole[3:5]
    assert list(await bench.store.events.history(1, after=len(whole))) == []
    log = list(await bench.store.events.log())
    assert list(await bench.store.events.log(after=4, limit=3)) == log[4:7]
    assert list(await bench.store.events.history(77)) == []


# ── registry ───────────────────────────────────────────────────────


def server(bench: Bench) -> ServerRow:
    return ServerRow(id=bench.ids.server_id(), host="h", pid=7, version="1", started_at=bench.now)


async def test_the_store_belongs_to_the_server_that_enrolled_last(bench: Bench) -> None:
    registry, first, second = bench.store.registry, server(bench), server(bench)
    assert not await registry.beat(first.id, now=bench.now)
    await registry.enroll(first)
    assert await registry.beat(first.id, now=bench.now)
    await registry.enroll(second)
    assert not await registry.beat(first.id, now=bench.now)
    assert await registry.beat(second.id, now=bench.now)


async def test_workers_are_known_until_they_are_struck(bench: Bench) -> None:
    registry = bench.store.registry
    workers = [WorkerRow(server=ServerId(bench.ids.task_id()), pid=pid, started=5, boot="b") for pid in (9, 8, 7)]
    for worker in (*workers, workers[0]):
        await registry.record_worker(worker)
    assert list(await registry.workers()) == workers
    await registry.forget_worker(msgspec.structs.replace(workers[1], started=6))
    await registry.forget_worker(workers[1])
    await registry.forget_worker(workers[1])
    assert list(await registry.workers()) == [workers[0], workers[2]]


def kind(name: str, version: str = "1", **changes: object) -> Kind:
    values: dict[str, object] = {"app": "app", "schema": b'{"type":"object"}', "isolation": Isolation.SOLO}
    return Kind(name=name, version=version, **values | changes)  # type: ignore[arg-type]


async def test_kinds_are_read_by_name_and_the_one_kept_last_first(bench: Bench) -> None:
    registry = bench.store.registry
    b1, b2, a1 = kind("b"), kind("b", "2", summary="two", timeout_s=None), kind("a", grace_s=1)
    await registry.keep_kinds([b1, b2, a1])
    assert list(await registry.kinds()) == [a1, b2, b1]
    await registry.keep_kinds([b1])
    assert list(await registry.kinds()) == [a1, b1, b2]
    changed = msgspec.structs.replace(b2, schema=b"{}")
    await registry.keep_kinds([changed])
    assert list(await registry.kinds()) == [a1, changed, b1]


# ── opening and closing ────────────────────────────────────────────


async def test_a_closed_store_takes_no_turn_and_can_be_closed_again(bench: Bench) -> None:
    await bench.store.close()
    await bench.store.close()
    with pytest.raises(StoreUnavailable, match="open"):
        await bench.turn()


async def test_a_store_that_does_not_exist_is_refused_by_name(tmp_path: Path, bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"'oracle'.*'sqlite' or 'memory'"):
        await open_store("oracle", data=tmp_path, ids=bench.ids)
