"""Each command in this process, writing to no terminal, against a server that speaks the contract."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_runs import Ended
from v1_server import V1Server, free_port, later, problem

import windlass
from windlass.cli.main import make_app
from windlass.core.history import Attempt
from windlass.core.state import EventName, Reason, State
from windlass.core.task import Error, FileRow, Progress

Run = Callable[..., Ended]


def documents(text: str) -> list[Any]:
    """Read one JSON document per line."""
    return [msgspec.json.decode(line) for line in text.splitlines()]


# submit


def test_submit_prints_the_id_and_nothing_else(run: Run, server: V1Server) -> None:
    ended = run("submit", "build_report", "customer_id=7", "month=2026-11")
    assert ended == (0, server.tasks[1].id + "\n", "")
    assert msgspec.json.decode(server.payloads[1]) == {"customer_id": 7, "month": "2026-11"}


def test_submit_sends_its_options(run: Run, server: V1Server) -> None:
    words = "--queue reports --priority -5 --key r-7 --delay 10m --timeout none --max-attempts 3 --name Nov"
    run("submit", "build_report", *words.split(), "--tag", "a=b", "--tag", "c=d=e")
    assert msgspec.json.decode(server.requests[-1][2]) == {
        "kind": "build_report",
        "payload": {},
        "queue": "reports",
        "priority": -5,
        "key": "r-7",
        "delay": 600.0,
        "timeout": None,
        "max_attempts": 3,
        "name": "Nov",
        "tags": {"a": "b", "c": "d=e"},
    }


def test_submit_reads_a_payload_from_stdin(run: Run, server: V1Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": {"b": [1]}}')))
    assert run("submit", "build_report", "-").code == 0
    assert msgspec.json.decode(server.payloads[1]) == {"a": {"b": [1]}}


def test_submit_refuses_two_payloads(run: Run, server: V1Server) -> None:
    assert run("submit", "build_report", "a=1", "-") == (
        2,
        "",
        "windlass: give the payload as name=value or on stdin, not both\n",
    )
    assert server.requests == []


@pytest.mark.parametrize(
    ("state", "code", "said"),
    [
        (State.SUCCEEDED, 0, "task 1 succeeded\n"),
        (State.FAILED, 3, "task 1 failed (exhausted): no such month\n"),
        (State.CANCELLED, 7, "task 1 cancelled\n"),
    ],
)
def test_submit_and_wait_ends_as_the_task_does(run: Run, server: V1Server, state: State, code: int, said: str) -> None:
    failure: dict[str, Any] = {}
    if state is State.FAILED:
        failure = {"reason": Reason.EXHAUSTED, "error": Error(type="E", message="no such month")}
    end = later(0.1, lambda: (server.wait_for_request("GET.*wait="), server.change(1, state=state, **failure)))
    ended = run("submit", "build_report", "--wait")
    end.join()
    assert ended == (code, server.tasks[1].id + "\n", said)


def test_submit_and_wait_prints_one_document_with_the_result(run: Run, server: V1Server) -> None:
    end = later(0.1, lambda: server.change(1, state=State.SUCCEEDED, result={"rows": 3}))
    ended = run("submit", "build_report", "--wait", "10", "--json")
    end.join()
    [task] = documents(ended.out)
    assert (ended.code, task["state"], task["result"]) == (0, "succeeded", {"rows": 3})


def test_submit_and_wait_ends_with_6_when_its_time_is_up(run: Run, server: V1Server) -> None:
    ended = run("submit", "build_report", "--wait", "0.2")
    assert ended.code == 6
    assert ended.err == "windlass: the time to wait is up: task 1 is queued and goes on\n"


# list, show, kinds


def test_list_writes_a_line_of_tabbed_fields_per_task(run: Run, server: V1Server) -> None:
    server.add(name="Nov\t\x1b[31m")
    server.add(state=State.RUNNING)
    ended = run("list")
    first, second = [line.split("\t") for line in ended.out.splitlines()]
    assert first[:5] == ["2", server.tasks[2].id, "running", "build_report", "default"]
    assert second[6] == "Nov\\t\\x1b[31m"
    assert datetime.fromisoformat(first[5]) == server.tasks[2].created_at
    assert (ended.code, ended.err) == (0, "")


def test_list_as_json_is_a_document_per_line(run: Run, server: V1Server) -> None:
    for _ in range(3):
        server.add()
    assert [task["number"] for task in documents(run("list", "--json").out)] == [3, 2, 1]


def test_list_is_narrowed_and_bounded_unless_all_is_asked_for(run: Run, server: V1Server) -> None:
    for index in range(60):
        server.add(tags={"c": str(index % 2)}, state=State.FAILED if index % 3 else State.QUEUED)
    assert len(run("list").out.splitlines()) == 50
    assert len(run("list", "--all").out.splitlines()) == 60
    assert len(run("list", "--state", "queued", "--tag", "c=0").out.splitlines()) == 10
    assert [line.split("\t")[0] for line in run("list", "--limit", "2").out.splitlines()] == ["60", "59"]
    assert run("list", "--kind", "download").out == ""


def test_show_aligns_what_there_is_and_leaves_out_what_is_not(run: Run, server: V1Server) -> None:
    server.add(
        payload={"month": "2026-11"},
        state=State.FAILED,
        reason=Reason.EXHAUSTED,
        attempt=2,
        charged=2,
        max_attempts=2,
        run_s=6.2,
        started_at=datetime(2026, 11, 20, 15, tzinfo=UTC),
        progress=Progress(done=12_345, total=3_200_000, unit="bytes", at=datetime(2026, 11, 20, 15, 0, 5, tzinfo=UTC)),
        error=Error(type="ValueError", message="no such month", traceback="Traceback:\n  File x\n", exit="exit 3"),
    )
    server.files[1] = [
        FileRow(index=0, name="a.iso", state="completed", received_bytes=2000, size_bytes=2000, digest="sha256:ab"),
        FileRow(index=1, name="b.iso", state="failed", received_bytes=10, size_bytes=2000, error="HTTP 404"),
    ]
    server.attempts[1] = [
        Attempt(
            attempt=1,
            started_at=datetime(2026, 11, 20, 14, tzinfo=UTC),
            outcome=EventName.RETRYING,
            ran_s=1.5,
            error=Error(type="ValueError", message="no such month\nat all"),
        ),
        Attempt(attempt=2, started_at=datetime(2026, 11, 20, 15, tzinfo=UTC)),
    ]
    lines = run("show", "1").out.splitlines()
    told = lines.index("attempts")
    assert [" ".join(line.split()) for line in lines[told + 1 : told + 3]] == [
        "1 retrying 1.5 s no such month",
        "2 running",
    ]
    fields = dict(line.split(None, 1) for line in lines if not line.startswith(" ") and " " in line)
    assert fields["state"] == "failed (exhausted)"
    assert fields["attempt"] == "2 (2 of 2 charged)"
    assert fields["progress"] == "12.3 kB/3.2 MB, 2.5 kB/s"
    assert fields["payload"] == '{"month":"2026-11"}'
    assert fields["error"] == "ValueError: no such month"
    assert fields["started"] == "2026-11-20T15:00:00+00:00"
    assert not {"result", "key", "due", "description"} & set(fields)
    assert lines[lines.index("  Traceback:") + 1] == "    File x"
    assert [line.split() for line in lines[lines.index("files") + 1 :]] == [
        ["completed", "2.0", "kB", "a.iso", "sha256:ab"],
        ["failed", "10", "B/2.0", "kB", "b.iso", "HTTP", "404"],
    ]


def test_show_spreads_out_a_large_payload(run: Run, server: V1Server) -> None:
    server.add(payload={"months": [f"2026-{month:02}" for month in range(1, 13)]})
    assert '    "months": [\n      "2026-01",\n' in run("show", "1").out


def test_show_as_json_is_the_tasks_document(run: Run, server: V1Server) -> None:
    server.add(payload={"a": 1})
    [task] = documents(run("show", server.tasks[1].id, "--json").out)
    assert (task["number"], task["payload"], task["waiting"]) == (1, {"a": 1}, "slot")


def test_nothing_of_a_task_can_steer_the_terminal(run: Run, server: V1Server) -> None:
    evil = "\x1b]0;owned\x07\u202e"
    server.add(
        payload={"a": evil},
        name=evil,
        tags={"a": evil},
        state=State.FAILED,
        error=Error(type=evil, message=evil, traceback=evil),
    )
    error = Error(type="E", message=evil)
    server.attempts[1] = [Attempt(attempt=1, started_at=datetime(2026, 11, 20, 15, tzinfo=UTC), error=error)]
    server.files[1] = [FileRow(index=0, name=evil, state="failed", error=evil)]
    for words in (["show", "1"], ["list"], ["wait", "1"]):
        ended = run(*words)
        assert not set(ended.out + ended.err) & {"\x1b", "\x07", "\u202e"}


def test_kinds_lists_what_can_be_submitted(run: Run) -> None:
    assert run("kinds").out.splitlines()[0].split("\t") == [
        "build_report",
        "tests",
        "shared",
        "default",
        "live",
        "Builds a report.",
    ]
    assert [kind["name"] for kind in documents(run("kinds", "--json").out)] == ["build_report", "download"]


# wait and the operators' commands


def test_wait_ends_with_the_worst_of_its_tasks(run: Run, server: V1Server) -> None:
    for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
        server.add(state=state)
    assert run("wait", "1").code == 0
    assert run("wait", "1", "3").code == 7
    ended = run("wait", "1", "2", "3", "--json")
    assert (ended.code, [task["number"] for task in documents(ended.out)]) == (3, [1, 2, 3])


def test_wait_says_what_has_ended_even_when_its_time_is_up(run: Run, server: V1Server) -> None:
    server.add(state=State.SUCCEEDED)
    server.add(state=State.RUNNING)
    ended = run("wait", "1", "2", "--timeout", "200ms")
    assert ended.code == 6
    assert ended.err == "task 1 succeeded\nwindlass: the time to wait is up: task 2 is running and goes on\n"


def test_cancel_tells_each_task_and_goes_on_after_a_refusal(run: Run, server: V1Server) -> None:
    server.add(state=State.SUCCEEDED)
    server.add(state=State.RUNNING)
    server.add()
    ended = run("cancel", "1", "99", "2", "3", "--reason", "wrong month", "--grace", "30s")
    assert ended.out == "2\trunning (cancel requested)\n3\tcancelled\n"
    assert ended.err.splitlines() == ["windlass: task 1 has ended: it is succeeded", "windlass: there is no such task"]
    assert ended.code == 1
    assert server.requests[-1][2] == b'{"grace_s":30.0,"reason":"wrong month"}'


@pytest.mark.parametrize(
    ("command", "before", "after"),
    [
        ("retry", {"state": State.FAILED}, "queued (slot)"),
        ("hold", {}, "queued (hold)"),
        ("release", {"held": True}, "queued (slot)"),
    ],
)
def test_operators_commands_print_where_the_task_stands_then(
    run: Run, server: V1Server, command: str, before: dict[str, Any], after: str
) -> None:
    server.add(**before)
    assert run(command, "1") == (0, f"1\t{after}\n", "")
    assert run(command, "99").code == 5


# errors


def test_several_broken_fields_are_told_one_per_line(run: Run, server: V1Server) -> None:
    broken = [("/payload/a", "x", "must be an integer"), ("/priority", "y", "must be at most 100")]
    server.script("POST", "/v1/tasks", problem(422, "invalid_input", "2 fields are wrong", *broken))
    assert run("submit", "build_report") == (
        2,
        "",
        "windlass: 2 fields are wrong\n  /payload/a: must be an integer\n  /priority: must be at most 100\n",
    )


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (problem(401, "unauthenticated", "a key is needed"), 4, "windlass: a key is needed"),
        (problem(404, "not_found", "there is no such task"), 5, "windlass: there is no such task"),
        (problem(409, "key_conflict", "key 'r-7' is taken"), 1, "windlass: key 'r-7' is taken"),
        (problem(500, "internal", "it broke"), 1, "windlass: it broke (request r-1)"),
        (
            problem(503, "saturated", "the line is full", Retry_After="3"),
            1,
            "windlass: the line is full (try again in 3 s)",
        ),
    ],
)
def test_what_the_server_refuses_is_told_in_a_line_and_by_the_exit_code(
    run: Run, server: V1Server, answer: Any, code: int, said: str
) -> None:
    server.script("POST", "/v1/tasks", answer)
    assert run("submit", "build_report") == (code, "", said + "\n")


def test_no_server_is_exit_8_and_says_how_to_start_one(run: Run) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ended = run("list", "--url", url)
    assert ended.code == 8
    assert url in ended.err
    assert "`windlass serve`" in ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("submt build_report", "there is no command 'submt'; did you mean submit?"),
        ("frobnicate", "there is no command 'frobnicate'"),
        ("list --stat failed", "Did you mean --state?"),
        ("list --state failedd", "failedd"),
        ("list --limit many", "--limit"),
        ("list --limit 0", "--limit: must be at least 1"),
        ("submit", "KIND"),
        ("submit k a", "'a' is not of the form name=value"),
        ("submit k --delay soon", "--delay: 'soon' is no duration"),
        ("wait", "TASKS"),
        ("wait seventeen", "'seventeen' names no task"),
        ("get", "URLS"),
        ("list --url nowhere", "'nowhere' is no address of a server"),
    ],
)
def test_wrong_usage_is_exit_2_and_names_what_is_wrong(run: Run, server: V1Server, words: str, said: str) -> None:
    ended = run(*words.split())
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.startswith("windlass: ")
    assert server.requests == []


def test_what_nobody_foresaw_ends_with_1_and_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.cli.tables.state_of", lambda _: 1 / 0)
    monkeypatch.setattr("windlass.cli.operations.state_of", lambda _: 1 / 0)
    run("submit", "build_report")
    ended = run("hold", "1")
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert ended.err.endswith("windlass: this is a bug in windlass\n")


# help


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    alone, asked = run(), run("--help")
    assert alone.out == asked.out
    assert alone.code == asked.code == 0
    for command in ("serve", "submit", "get", "list", "show", "wait", "cancel", "retry", "hold", "release", "kinds"):
        assert f"│ {command} " in alone.out


@pytest.mark.parametrize(
    "command", ["submit", "get", "list", "show", "wait", "cancel", "retry", "hold", "release", "kinds", "serve"]
)
def test_every_command_explains_itself_with_an_example(run: Run, command: str) -> None:
    ended = run(command, "--help")
    assert ended.code == 0
    assert f"Examples:\n  windlass {command}" in ended.out


def test_serve_takes_apps_and_flags_in_any_order() -> None:
    command, bound, _ = make_app().parse_args(["serve", "tasks:app", "--port", "9000", "other:app", "--data", "d"])
    assert command.__module__ == "windlass.cli.serve"
    assert bound.args == ("tasks:app", "other:app")
    assert bound.kwargs == {"port": 9000, "data": Path("d")}


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version").out.strip() == windlass.__version__
