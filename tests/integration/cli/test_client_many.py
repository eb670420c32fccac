"""The client and many tasks, against a whole server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from live import running

from windlass.client import BulkRequest, Client, EditRequest, SubmitRequest, TaskFilter
from windlass.core.bulk import BulkAction
from windlass.core.state import State
from windlass.errors import ConflictError, IdempotencyMismatch, InputError, KeyConflict, NotFoundError


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory = tmp_path_factory.mktemp("many")
    with (
        running(directory, WINDLASS_DATABASE="memory", WINDLASS_LOG_LEVEL="warning") as server,
        Client(server.url) as client,
    ):
        yield client


def later(queue: str, **fields: object) -> SubmitRequest:
    return SubmitRequest(**{"kind": "simulate", "queue": queue, "delay": "1h", **fields})


def test_a_batch_comes_back_in_its_order(client: Client) -> None:
    placed = client.submit_batch(later("batch", name=f"n{place}", tags={"a": "b"}) for place in range(30))
    assert [client.get(task.id).name for task in placed] == [f"n{place}" for place in range(30)]
    assert [task.number for task in client.list(queue="batch", order="number")] == [task.number for task in placed]


def test_a_broken_task_of_a_batch_is_named_by_its_place(client: Client) -> None:
    with pytest.raises(InputError) as refused:
        client.submit_batch([later("broken"), later("broken", priority=999)])
    assert [(at, code) for at, code, _ in refused.value.errors] == [("/tasks/1/priority", "invalid_value")]
    with pytest.raises(KeyConflict, match=r"tasks\[1\]"):
        client.submit_batch([later("broken", key="k"), later("broken", key="k", name="other")])
    assert list(client.list(queue="broken")) == []


def test_a_request_of_the_same_name_stores_nothing_twice(client: Client) -> None:
    first = client.submit_task(later("named"), idempotency_key='order "7"').task
    assert client.submit_task(later("named"), idempotency_key='order "7"').task == first
    with pytest.raises(IdempotencyMismatch):
        client.submit_task(later("named", name="x"), idempotency_key='order "7"')
    assert client.submit_task(later("named")).task.number != client.submit_task(later("named")).task.number
    batch = [later("named-batch")] * 2
    assert client.submit_batch(batch, idempotency_key="b") == client.submit_batch(batch, idempotency_key="b")
    assert len(list(client.list(queue="named-batch"))) == 2


@pytest.mark.parametrize("key", ["é", "a\nb", "\x7f"])
def test_a_name_that_no_header_can_carry_is_refused_before_it_is_sent(client: Client, key: str) -> None:
    with pytest.raises(InputError, match="printable ASCII"):
        client.submit_task(later("unsent"), idempotency_key=key)


def test_a_task_is_changed_and_taken_away(client: Client) -> None:
    task = client.submit_task(later("edit", name="old", description="kept")).task
    changed = client.edit(task.id, EditRequest(name=None, priority=7))
    assert (changed.name, changed.description, changed.priority) == (None, "kept", 7)
    with pytest.raises(ConflictError) as refused:
        client.delete(task.id)
    assert refused.value.code == "task_state"
    client.cancel(task.id)
    client.delete(task.id)
    with pytest.raises(NotFoundError) as gone:
        client.get(task.id)
    assert gone.value.code == "task_deleted"


def test_a_bulk_goes_on_until_all_is_done_or_its_limit(client: Client) -> None:
    client.submit_batch([later("bulk")] * 10_000)
    client.submit_batch([later("bulk")] * 50)
    only = TaskFilter(queue="bulk")
    assert client.bulk(BulkRequest(action=BulkAction.CANCEL, filter=only, dry_run=True)).matched == 10_050
    done = client.bulk(BulkRequest(action=BulkAction.CANCEL, filter=only, limit=30))
    assert (done.matched, done.changed, done.next_cursor is None) == (30, 30, False)
    done = client.bulk(BulkRequest(action=BulkAction.CANCEL, filter=only))
    assert (done.matched, done.changed, done.next_cursor) == (10_020, 10_020, None)
    assert client.bulk(BulkRequest(action=BulkAction.DELETE, filter=only)).changed == 10_050
    assert list(client.list(queue="bulk")) == []


def test_an_empty_bulk_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match="all tasks there are"):
        client.bulk(BulkRequest(action=BulkAction.DELETE))


def test_lists_take_every_filter(client: Client) -> None:
    task = client.submit_task(later("filters", key="k/1", name="November", tags={"a": "b:c"})).task
    now = datetime.now(UTC) + timedelta(seconds=5)
    for found in (
        client.list(queue="filters", state=State.QUEUED, waiting="until"),
        client.list(key="k/1", kind="simulate"),
        client.list(tag=("a", "b:c")),
        client.list(q="Nov", created_before=now, created_after=now - timedelta(hours=1)),
    ):
        assert [found.number for found in found] == [task.number]
    assert list(client.list(queue="filters", finished_before=now)) == []
    with pytest.raises(InputError, match="time zone"):
        client.list(created_before=datetime(2026, 11, 20))  # noqa: DTZ001
    with pytest.raises(InputError, match="only ended tasks"):
        next(client.list(order="-finished_at"))


def test_counters_are_read_whole(client: Client) -> None:
    client.submit_batch([later("stats")] * 5)
    stats = client.stats()
    assert next(queue.tasks.queued for queue in stats.queues if queue.name == "stats") == 5
    assert stats.tasks.queued >= 5
    assert stats.rates[0].submitted > 0
