"""The commands for many tasks, against a whole server: what they write, and how they end."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_runs import WINDLASS, Ended
from live import LiveServer, running

from windlass.cli.main import main

Run = Callable[..., Ended]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    directory = tmp_path_factory.mktemp("many")
    with running(directory, WINDLASS_DATABASE="memory", WINDLASS_LOG_LEVEL="warning") as server:
        yield server


@pytest.fixture
def run(whole: LiveServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process against the server; its output goes to no terminal."""
    monkeypatch.setenv("WINDLASS_URL", whole.url)

    def run_here(*words: str) -> Ended:
        code = main(words)
        out, err = capsys.readouterr()
        return Ended(code, out, err)

    return run_here


def later(whole: LiveServer, queue: str, count: int = 1, **fields: Any) -> list[str]:
    """Submit tasks that stay queued, and give their numbers."""
    tasks = [whole.submit("simulate", queue=queue, delay="1h", **fields) for _ in range(count)]
    return [str(task["number"]) for task in tasks]


def documents(text: str) -> list[Any]:
    return [msgspec.json.decode(line) for line in text.splitlines()]


# submit --batch


def write_lines(path: Path, *items: Any) -> str:
    path.write_bytes(b"\n".join(msgspec.json.encode(item) for item in items))
    return str(path)


def test_a_file_of_tasks_is_submitted_whole(run: Run, tmp_path: Path) -> None:
    item = {"kind": "simulate", "queue": "file", "delay": "1h"}
    ended = run("submit", "--batch", write_lines(tmp_path / "tasks.ndjson", item, item, item))
    assert (ended.code, ended.err) == (0, "")
    listed = documents(run("list", "--queue", "file", "--order", "oldest", "--json").out)
    assert ended.out.splitlines() == [task["id"] for task in listed]
    assert len(listed) == 3


def test_a_batch_comes_from_stdin_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'{"kind":"simulate","queue":"stdin","delay":"1h"}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line * 2)))
    ended = run("submit", "--batch", "-", "--json")
    assert [set(task) for task in documents(ended.out)] == [{"id", "number", "state"}] * 2


def test_a_wrong_line_is_named_and_nothing_is_stored(run: Run, tmp_path: Path) -> None:
    item = {"kind": "simulate", "queue": "wrong"}
    path = write_lines(tmp_path / "tasks.ndjson", item, {**item, "delay": "5"}, {**item, "nmae": "x"})
    ended = run("submit", "--batch", path)
    assert (ended.code, ended.out) == (2, "")
    assert "/tasks/1/delay: " in ended.err
    assert "/tasks/2/nmae: there is no 'nmae' here; did you mean 'name'?" in ended.err
    assert run("list", "--queue", "wrong").out == ""


@pytest.mark.parametrize("words", [["simulate"], ["--queue", "x"], ["--wait"], ["-"]])
def test_a_batch_says_all_about_its_tasks_itself(run: Run, words: list[str]) -> None:
    ended = run("submit", *words, "--batch", "tasks.ndjson")
    assert (ended.code, ended.out) == (2, "")
    assert "no kind, fields or options besides" in ended.err


def test_a_submit_without_a_kind_is_told_so(run: Run) -> None:
    assert run("submit").code == 2
    assert run("submit", "--batch", "/does/not/exist").code == 1


# edit, delete


def test_tasks_are_edited_and_say_how_they_stand(run: Run, whole: LiveServer) -> None:
    numbers = later(whole, "edited", 2, name="old")
    ended = run("edit", *numbers, "--priority", "5", "--name", "", "--tag", "a=b", "--delay", "2h", "--queue", "new")
    assert ended == (0, "".join(f"{number}\tqueued (until)\n" for number in numbers), "")
    [task] = documents(run("show", numbers[0], "--json").out)
    assert (task["priority"], task["name"], task["tags"], task["queue"]) == (5, None, {"a": "b"}, "new")
    assert run("edit", numbers[0]).code == 2
    assert run("edit", numbers[0], "--priority", "500").code == 2


def test_a_deleted_task_is_gone_with_5(run: Run, whole: LiveServer) -> None:
    first, second = later(whole, "deleted", 2)
    run("cancel", first)
    ended = run("delete", first, second)
    assert (ended.code, ended.out) == (1, f"{first}\tdeleted\n")
    assert f"task {second} is queued" in ended.err
    gone = run("show", first)
    assert (gone.code, gone.err) == (5, f"windlass: task {first} was deleted\n")


# cancel, retry and delete what matches


def test_what_matches_is_counted_and_then_changed(run: Run, whole: LiveServer) -> None:
    later(whole, "matching", 4)
    assert run("cancel", "--queue", "matching", "--dry-run") == (0, "4 tasks match\n", "")
    refused = run("delete", "--queue", "matching", "--state", "queued")
    assert (refused.code, refused.out) == (1, "4 matched: 0 changed, 0 unchanged, 4 refused\n")
    assert run("cancel", "--queue", "matching", "--state", "queued", "--reason", "no") == (
        0,
        "4 matched: 4 changed, 0 unchanged, 0 refused\n",
        "",
    )
    [done] = documents(run("retry", "--queue", "matching", "--json").out)
    assert (done["action"], done["matched"], done["changed"]) == ("retry", 4, 4)


@pytest.mark.parametrize("command", ["cancel", "retry", "delete"])
def test_all_tasks_are_meant_only_where_that_is_said(run: Run, whole: LiveServer, command: str) -> None:
    [number] = later(whole, "spared")
    for words in ([], ["--dry-run"], [number, "--all"], [number, "--queue", "x"], ["--all", "--queue", "x"]):
        ended = run(command, *words)
        assert (ended.code, ended.out) == (2, ""), words
    assert run(command, "--all", "--dry-run").out.endswith("tasks match\n")
    assert documents(run("show", number, "--json").out)[0]["state"] == "queued"


# list, stats


def test_lists_are_filtered_by_time_search_and_what_is_waited_for(run: Run, whole: LiveServer) -> None:
    [number] = later(whole, "listed", name="November", tags={"a": "b"})

    def numbers(*words: str) -> list[str]:
        return [line.split("\t")[0] for line in run("list", "--queue", "listed", *words).out.splitlines()]

    assert numbers("--created-after", "1h", "--search", "Nov", "--waiting", "until", "--tag", "a=b") == [number]
    assert numbers("--created-before", "1h") == numbers("--created-after", "2999-01-01T00:00:00Z") == []
    assert numbers("--created-before", "2999-01-01T00:00:00+01:00") == [number]
    assert run("list", "--created-after", "yesterday").code == 2
    assert run("list", "--order", "ended").code == 2
    assert run("list", "--order", "ended", "--state", "succeeded").code == 0


def test_counters_are_a_line_for_each_queue_and_one_document_as_json(run: Run, whole: LiveServer) -> None:
    later(whole, "counted", 3)
    lines = [line.split("\t") for line in run("stats").out.splitlines()]
    assert ["counted", "3", "0", "0", "0", "0"] in [line[:6] for line in lines]
    [stats] = documents(run("stats", "--json").out)
    assert stats["tasks"]["queued"] == sum(queue["tasks"]["queued"] for queue in stats["queues"])


def test_counters_fit_a_terminal_of_eighty_columns(whole: LiveServer) -> None:
    later(whole, "a-queue-with-a-long-name.of-its-own")
    leader, follower = pty.openpty()
    env = {**os.environ, "WINDLASS_URL": whole.url, "COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen([WINDLASS, "stats"], env=env, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        said = b""
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:
                break
            if not chunk:
                break
            said += chunk
    os.close(leader)
    text = re.sub(r"\x1b\[[0-9;]*m", "", said.decode().replace("\r\n", "\n"))
    assert process.returncode == 0
    assert "a-queue-with-a-long-name.of-its-own" in "".join(line[:28].strip() for line in text.splitlines())
    assert max(len(line) for line in text.splitlines()) <= 80
    for word in ("QUEUED", "CANCELLED", "last 1 min", "last 5 min", "store memory"):
        assert word in text, text
