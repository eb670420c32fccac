"""Exit codes and messages: one table, one form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from windlass import errors
from windlass.cli.output import ExitCode, Interrupted, exit_code_of, exit_code_of_tasks, interruptible, report
from windlass.client.errors import (
    AccessDenied,
    ServerError,
    ServerUnreachable,
    TaskCancelled,
    TaskFailed,
    UnexpectedAnswer,
    WaitTimeout,
)
from windlass.core.ids import TaskId
from windlass.core.state import State
from windlass.core.task import Task
from windlass.wire.v1 import TaskView, view_task

_NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)


def a_view(state: State = State.RUNNING) -> TaskView:
    task = Task(number=17, id=TaskId("x"), kind="k", queue="q", state=state, created_at=_NOW, run_at=_NOW)
    return view_task(task, now=_NOW, waiting=None)


def test_the_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "ERROR": 1,
        "USAGE": 2,
        "TASK_FAILED": 3,
        "AUTH": 4,
        "NOT_FOUND": 5,
        "TIMED_OUT": 6,
        "CANCELLED": 7,
        "UNREACHABLE": 8,
        "STORE": 74,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("no"), 2),
        (TaskFailed("no", task=a_view()), 3),
        (AccessDenied("no"), 4),
        (errors.NotFoundError("no"), 5),
        (WaitTimeout("no", task=a_view()), 6),
        (TaskCancelled("no", task=a_view()), 7),
        (ServerUnreachable("no"), 8),
        (Interrupted("no"), 130),
        (errors.KeyConflict("no"), 1),
        (errors.SaturatedError("no"), 1),
        (errors.NotReadyError("no"), 1),
        (ServerError("no"), 1),
        (UnexpectedAnswer("no"), 1),
    ],
)
def test_every_error_has_its_exit_code(error: errors.WindlassError, code: int) -> None:
    assert exit_code_of(error) == code


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ("", 0),
        ("succeeded succeeded", 0),
        ("succeeded cancelled", 7),
        ("cancelled failed succeeded", 3),
    ],
)
def test_of_several_tasks_a_failure_outweighs_a_cancellation(states: str, code: int) -> None:
    assert exit_code_of_tasks([a_view(State(state)) for state in states.split()]) == code


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (errors.NotFoundError("there is no such task"), ["windlass: there is no such task"]),
        (errors.InputError("is no duration", pointer="--delay"), ["windlass: --delay: is no duration"]),
        (errors.InputError("two payloads"), ["windlass: two payloads"]),
        (
            errors.InputError.of((("/a", "x", "no a"), ("/b", "y", "no b"))),
            ["windlass: 2 fields are wrong", "  /a: no a", "  /b: no b"],
        ),
        (
            errors.SaturatedError("the line is full", retry_after_s=3.0),
            ["windlass: the line is full (try again in 3 s)"],
        ),
        (ServerError("it broke", request_id="r-1"), ["windlass: it broke (request r-1)"]),
        (errors.NotFoundError("gone", request_id="r-1"), ["windlass: gone"]),
        (errors.ConflictError("a\x1b[2Jb\n"), ["windlass: a\\x1b[2Jb\\n"]),
    ],
)
def test_an_error_is_told_in_plain_lines(
    error: errors.WindlassError, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report(error)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == lines


def test_who_stops_waiting_is_told_that_the_task_goes_on() -> None:
    with pytest.raises(Interrupted, match=r"task 17 goes on\. Look: windlass wait 17\. Cancel: windlass cancel 17"):
        _interrupt(17)
    with pytest.raises(Interrupted, match=r"tasks 17 18 go on"):
        _interrupt(17, 18)


def _interrupt(*refs: Any) -> None:
    with interruptible(*refs):
        raise KeyboardInterrupt


def test_views_can_be_printed_as_json_again() -> None:
    assert msgspec.json.decode(msgspec.json.encode(a_view()))["number"] == 17
