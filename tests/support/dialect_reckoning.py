"""Holds what a server has come to against what the clients of its dialects know: nothing lost, nothing twice, nothing
out of nowhere, and every task ended by the words of its dialect.

Asks a server in which all work has ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from dialect_asking import DialectClient, Sent
from dialect_clients import DownloadsClient, EnqueueClient, urls_of, whole_of
from dialect_shapes import EnqueueAccepted, TasktrackItem
from killing import all_tasks
from live import ENDED, LiveServer

Task = dict[str, Any]

WORDS: Final = {
    "workmate": {"succeeded": "completed", "failed": "failed by io bound"},
    "check_result": {"succeeded": "completed", "failed": "failed"},
    "tasktrack": {"succeeded": "done", "failed": "failed"},
    "enqueue": {"succeeded": "succeeded", "failed": "failed"},
}
"""What a dialect calls the end of simulated work."""


def reckon(
    server: LiveServer, clients: Sequence[DialectClient], *, cut: set[str], ends: int, failing: frozenset[str]
) -> None:
    """Hold all there is against all that is known. `cut` has the tasks of `check_result` that ran when the server was
    ended, `ends` says how often it was, `failing` names the dialects whose work fails at times.
    """
    by_origin: dict[str, list[Task]] = {}
    for task in all_tasks(server):
        assert task["state"] in ENDED, task
        assert task["attempt"] - task["charged"] <= ends, f"given back more often than the server was ended: {task}"
        by_origin.setdefault(task["origin"], []).append(task)
    for dialect in sorted({client.dialect for client in clients}):
        its_clients = [client for client in clients if client.dialect == dialect]
        tasks = by_origin.pop(dialect, [])
        for client, sent, task in _matched(dialect, its_clients, tasks):
            _check_end(client, sent, task, failing=failing)
            if isinstance(client, DownloadsClient):
                _check_files(server, client, sent, task)
            if isinstance(client, EnqueueClient) and sent.ref is not None:
                _send_again(client, sent)
        if dialect == "tasktrack":
            _check_numbers(its_clients, len(tasks))
        if dialect == "check_result":
            _check_once(server, tasks, cut)
    assert not by_origin, f"nobody has sent {by_origin}"


# ── what there is, and who has sent it ─────────────────────────────


def _matched(
    dialect: str, clients: Iterable[DialectClient], tasks: Iterable[Task]
) -> Iterator[tuple[DialectClient, Sent, Task]]:
    """Find the task of each submission."""
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(_name_of(dialect, task), []).append(task)
    unknown = 0
    for client in clients:
        for sent in client.sent:
            its_tasks = found.pop(sent.ref if dialect == "workmate" else sent.name, [])
            match sent.outcome:
                case "ok":
                    assert len(its_tasks) == 1, f"acknowledged {sent}, but there is {its_tasks}"
                case "not":
                    assert its_tasks == [], f"refused {sent}, but there is {its_tasks}"
                case "unknown":
                    assert len(its_tasks) <= 1, f"sent once {sent}, but there is {its_tasks}"
                    unknown += 1
            if dialect in ("check_result", "downloads") and sent.ref is not None:
                assert its_tasks[0]["id"] == sent.ref, f"{sent} is {its_tasks}"
            yield from ((client, sent, task) for task in its_tasks)
    # What is asked for without a name can only be counted.
    assert len(found) <= (unknown if dialect == "workmate" else 0), f"{unknown} without an answer, but there is {found}"


def _name_of(dialect: str, task: Task) -> str:
    match dialect:
        case "check_result":
            return task["payload"]["echo"]["task"]
        case "tasktrack":
            return task["name"]
        case "enqueue":
            return task["key"]
        case "downloads":
            return task["payload"]["files"][0].split("/")[3]
        case _:
            return task["id"]


# ── how it has ended ───────────────────────────────────────────────


def _check_end(client: DialectClient, sent: Sent, task: Task, *, failing: frozenset[str]) -> None:
    if task["state"] == "cancelled":
        assert sent.asked_to_delete, f"nobody has asked for its end: {task}"
    elif task["state"] == "failed" and client.dialect not in ("check_result", "downloads"):
        assert client.dialect in failing, task
        assert task["charged"] == task["max_attempts"], f"given up early: {task}"
        assert task["error"]["message"].startswith("failed by chance"), task
    if sent.ref is None:
        return
    if sent.asked_to_delete:
        if sent.is_deleted:
            _check_gone(client, sent)
        return
    word = client.word_of(sent)
    if isinstance(client, DownloadsClient):
        assert word == whole_of(client.states_of(sent)), task
    else:
        assert word == WORDS[client.dialect][task["state"]], task
    assert sent.ended in (None, word), f"{sent} was {sent.ended}, and is {word}"


def _check_gone(client: DialectClient, sent: Sent) -> None:
    path = f"/task/{sent.ref}/status" if client.dialect == "workmate" else f"/api/task/{sent.ref}"
    client.stray("GET", path, 404, "task not found")


def _check_once(server: LiveServer, tasks: Iterable[Task], cut: set[str]) -> None:
    """See that those have failed that were cut off, and no others, and that none has begun twice."""
    failed: set[str] = set()
    for task in tasks:
        status, history = server.request("GET", f"/v1/tasks/{task['id']}/attempts")
        assert status == 200, history
        assert [one["attempt"] for one in history["attempts"]] == [1], f"{task} has run {history}"
        if task["state"] == "failed":
            assert task["reason"] in ("interrupted", "lost"), task
            failed.add(task["id"])
    assert failed == cut, f"failed without being cut off: {failed - cut}; cut off without failing: {cut - failed}"


def _check_numbers(clients: Sequence[DialectClient], count: int) -> None:
    """See that the numbers of all tasks there are, deleted ones too, rise from 1 without a gap."""
    answer = clients[0].ask("GET", "/api/task", due={200: list[TasktrackItem]})
    listed = {item.id for item in answer.said}
    acknowledged = [sent.ref for client in clients for sent in client.sent if sent.ref is not None]
    assert len(acknowledged) == len(set(acknowledged)), "a number was given twice"
    numbers = listed | set(acknowledged)
    assert numbers == set(range(1, count + 1)), f"{count} tasks have the numbers {sorted(numbers)}"


def _send_again(client: EnqueueClient, sent: Sent) -> None:
    answer = client.submit(sent, "/enqueue", taken={202: EnqueueAccepted})
    assert answer.status == 202, f"{sent}: {answer}"
    assert client.word_of(sent) in client.last_words  # of the one task there is


def _check_files(server: LiveServer, client: DownloadsClient, sent: Sent, task: Task) -> None:
    """See that what could be fetched is there, byte by byte, and nothing else; and was fetched once by a task that ran
    once.
    """
    status, said = server.request("GET", f"/v1/tasks/{task['id']}/files")
    assert status == 200, said
    rows = {row["url"]: row for row in said["files"]}
    directory = server.directory / "data" / "files" / task["id"]
    names: list[str] = []
    for url in urls_of(sent):
        content = client.contents[url]
        if content is None:
            assert rows[url]["state"] == "failed", rows
            continue
        names.append(rows[url]["name"])
        assert (directory / rows[url]["name"]).read_bytes() == content, rows[url]
        assert rows[url]["digest"] == "sha256:" + hashlib.sha256(content).hexdigest(), rows[url]
        assert rows[url]["size_bytes"] == len(content), rows[url]
    there = [path.name for path in directory.iterdir()] if directory.exists() else []
    assert sorted(there) == sorted(names)
    if task["attempt"] == 1:
        assert max(client.fetched(sent).values()) == 1, f"fetched twice: {task}"
