"""Lists of dialects: streamed page by page, whole or cut."""

from __future__ import annotations

import asyncio
import http.client
from typing import Any

import msgspec
import pytest
from http_front import Front

from windlass.core.limits import PAGE_MAX
from windlass.core.query import Page, TaskQuery
from windlass.errors import StoreUnavailable

MANY = PAGE_MAX * 2 + 7


@pytest.fixture
def crowded(front: Front) -> Front:
    """Give a server with more tasks of `workmate` than a page holds, and some of others between them."""
    first = front.take("workmate", "01a1fb1e-ac96-77fd-b9c1-000000000001")
    for number in range(2, MANY + 1):
        task_id = f"01a1fb1e-ac96-77fd-b9c1-{number:012x}"
        origin = None if number % 10 == 0 else "workmate"
        front.engine.tasks[number] = msgspec.structs.replace(first, number=number, id=task_id, origin=origin)
    return front


def own_ids(front: Front) -> list[str]:
    return [task.id for task in front.engine.tasks.values() if task.origin == "workmate" and not task.is_hidden]


def test_a_list_holds_all_of_its_own_in_their_order(crowded: Front):
    crowded.change(4, is_hidden=True)
    answer = crowded.ask("GET", "/task")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert [task["id"] for task in answer.json] == own_ids(crowded)
    assert len(answer.json) > PAGE_MAX
    assert crowded.engine.pages >= 2


def test_an_empty_list_is_an_empty_array(front: Front):
    assert (front.ask("GET", "/task").body, front.ask("GET", "/api/task").body) == (b"[]", b"[]")


def test_a_page_in_which_nothing_is_left_does_not_break_the_array(front: Front, monkeypatch: pytest.MonkeyPatch):
    first = front.take("workmate", "01a1fb1e-ac96-77fd-b9c1-000000000001")
    pages = iter(
        [
            Page(tasks=[], after=1),
            Page(tasks=[first], after=2),
            Page(tasks=[], after=3),
            Page(tasks=[first], after=None),
        ]
    )

    async def page(_query: TaskQuery) -> Page:
        return next(pages)

    monkeypatch.setattr(front.engine, "page", page)
    assert [task["id"] for task in front.ask("GET", "/task").json] == [first.id, first.id]


def test_the_head_of_a_list_reads_no_more_than_a_page(crowded: Front):
    answer = crowded.ask("HEAD", "/task")
    assert (answer.status, answer.body) == (200, b"")
    assert crowded.engine.pages == 1


def breaking(front: Front, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store fail after so many pages."""
    real, count = front.engine.page, 0

    async def page(query: TaskQuery) -> Page:
        nonlocal count
        count += 1
        if count > after:
            raise StoreUnavailable("the disk is away")
        return await real(query)

    monkeypatch.setattr(front.engine, "page", page)


def test_a_store_that_fails_at_once_is_an_error_of_the_dialect(crowded: Front, monkeypatch: pytest.MonkeyPatch):
    breaking(crowded, 0, monkeypatch)
    answer = crowded.ask("GET", "/task")
    assert (answer.status, answer.json) == (503, {"error": "the disk is away"})
    assert answer.headers["retry-after"]


def test_a_store_that_fails_on_the_way_cuts_the_list_so_that_no_part_passes_for_the_whole(
    crowded: Front, monkeypatch: pytest.MonkeyPatch
):
    breaking(crowded, 1, monkeypatch)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        crowded.ask("GET", "/task")
    monkeypatch.undo()
    assert crowded.ask("GET", "/task").status == 200


def test_a_client_that_leaves_ends_the_work_for_its_list(crowded: Front, monkeypatch: pytest.MonkeyPatch):
    endless: Any = {"pages": 0}
    tasks = list(crowded.engine.tasks.values())

    async def page(_query: TaskQuery) -> Page:
        endless["pages"] += 1
        return Page(tasks=tasks, after=1)

    monkeypatch.setattr(crowded.engine, "page", page)
    connection = http.client.HTTPConnection("127.0.0.1", crowded.port, timeout=15)
    connection.request("GET", "/task")
    assert connection.getresponse().read(1) == b"["
    connection.close()

    async def settled() -> None:
        seen = -1
        while seen != endless["pages"]:
            seen = endless["pages"]
            await asyncio.sleep(0.2)

    crowded.run(settled())
