"""`windlass queues`, `pause`, `resume` and the client's `queues`, against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from command_runs import Ended
from live import LiveServer, running

from windlass.cli import queues as commands
from windlass.cli.main import main
from windlass.client import Client, SubmitRequest
from windlass.errors import InputError, NotFoundError, SaturatedError

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server for all tests here: each keeps to queues of its own."""
    with running(tmp_path_factory.mktemp("queues"), WINDLASS_DATABASE="memory") as server:
        yield server


@pytest.fixture
def client(live: LiveServer) -> Iterator[Client]:
    with Client(live.url) as client:
        yield client


@pytest.fixture
def run(live: LiveServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("WINDLASS_URL", live.url)

    def run_here(*words: str) -> Ended:
        code = main(words)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run_here


def submit(client: Client, queue: str) -> str:
    return client.submit_task(SubmitRequest(kind="simulate", payload={"duration_s": 0}, queue=queue)).id


def test_a_queue_is_paused_and_resumed_from_the_command_line(run: Run, client: Client):
    paused = run("pause", "reports", "--reason", "the database moves")
    assert (paused.code, paused.out) == (0, "reports\tpaused\t0 queued\t0 running\n")
    task = submit(client, "reports")
    assert client.get(task).waiting == "paused"
    listed = run("queues")
    assert "reports\t1\t0\t-\t-\tpaused\tthe database moves" in listed.out.splitlines()
    resumed = run("resume", "reports")
    assert (resumed.code, resumed.out.split("\t")[:2]) == (0, ["reports", "open"])
    assert client.wait(task, timeout=20).state == "succeeded"


def test_queues_are_spelled_as_json_one_a_line(run: Run, client: Client):
    client.queues.edit("spelled", concurrency=2, capacity=7)
    listed = [json.loads(line) for line in run("queues", "--json").out.splitlines()]
    (found,) = [queue for queue in listed if queue["name"] == "spelled"]
    assert (found["concurrency"], found["capacity"], found["depth"], found["paused"]) == (2, 7, 0, False)
    assert json.loads(run("pause", "spelled", "--json").out)["paused"] is True


def test_queues_are_a_table_on_a_terminal(run: Run, client: Client, monkeypatch: pytest.MonkeyPatch):
    client.queues.pause("tabled", reason="why\u202enot")
    monkeypatch.setattr(commands, "is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", "160")
    table = run("queues").out
    assert "QUEUE" in table
    (row,) = [line for line in table.splitlines() if line.startswith("tabled")]
    assert "paused" in row
    assert "why\\u202enot" in row


def test_a_name_that_is_none_is_refused_with_what_a_name_is(run: Run):
    refused = run("pause", "no such name")
    assert refused.code == 2
    assert "1-64 letters" in refused.err


def test_the_client_sets_limits_and_takes_them_back(client: Client):
    assert client.queues.edit("limited", concurrency=3).overrides.concurrency == 3
    assert client.queues.edit("limited", capacity=1).concurrency == 3
    client.queues.pause("limited")
    submit(client, "limited")
    with pytest.raises(SaturatedError) as full:
        submit(client, "limited")
    assert full.value.code == "queue_full"
    assert full.value.details["retry_after_s"] >= 1
    back = client.queues.edit("limited", concurrency=None, capacity=None)
    assert (back.concurrency, back.capacity, back.depth, back.paused) == (None, None, 1, True)
    assert client.queues.resume("limited").paused is False
    assert client.queues.get("limited").paused is False


def test_a_queue_that_is_not_there_is_not_found_and_what_breaks_a_rule_is_named(client: Client):
    with pytest.raises(NotFoundError) as missing:
        client.queues.get("no/where")
    assert missing.value.code in ("queue_not_found", "not_found")
    with pytest.raises(InputError) as wrong:
        client.queues.edit("wrong", concurrency=0)
    assert wrong.value.errors[0][0] == "/concurrency"
