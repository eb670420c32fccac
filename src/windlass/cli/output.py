"""Where commands write and with which code they end: JSON, lines, messages on stderr, exit codes.

Formats no tables and imports no terminal library: scripts pay for neither.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from enum import IntEnum
from typing import IO, Any

import msgspec

from windlass.cli.human import printable
from windlass.client.errors import AccessDenied, ServerError, ServerUnreachable, TaskCancelled, TaskFailed, WaitTimeout
from windlass.core.state import State
from windlass.errors import InputError, NotFoundError, StoreCorrupt, WindlassError
from windlass.wire.v1 import TaskView


class ExitCode(IntEnum):
    """How a command ends; scripts rely on these."""

    OK = 0
    ERROR = 1
    USAGE = 2
    TASK_FAILED = 3
    AUTH = 4
    NOT_FOUND = 5
    TIMED_OUT = 6
    CANCELLED = 7
    UNREACHABLE = 8
    STORE = 74
    """The store is damaged or cannot be read: a supervisor should not just start the server again."""
    INTERRUPTED = 130


class Interrupted(WindlassError):
    """The person at the keyboard has stopped waiting."""

    code = "interrupted"


_CODES: tuple[tuple[type[WindlassError], ExitCode], ...] = (
    (InputError, ExitCode.USAGE),
    (TaskFailed, ExitCode.TASK_FAILED),
    (AccessDenied, ExitCode.AUTH),
    (NotFoundError, ExitCode.NOT_FOUND),
    (WaitTimeout, ExitCode.TIMED_OUT),
    (TaskCancelled, ExitCode.CANCELLED),
    (ServerUnreachable, ExitCode.UNREACHABLE),
    (StoreCorrupt, ExitCode.STORE),
    (Interrupted, ExitCode.INTERRUPTED),
)


def exit_code_of(error: WindlassError) -> ExitCode:
    """Say with which code a command ends that `error` has stopped."""
    return next((code for error_class, code in _CODES if isinstance(error, error_class)), ExitCode.ERROR)


def exit_code_of_tasks(tasks: Iterable[TaskView]) -> ExitCode:
    """Say with which code a command ends that has waited for `tasks`: a failure outweighs a cancellation."""
    states = {task.state for task in tasks}
    if State.FAILED in states:
        return ExitCode.TASK_FAILED
    return ExitCode.CANCELLED if State.CANCELLED in states else ExitCode.OK


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person reads `stream`, rather than a program."""
    return stream.isatty()


def write(line: str) -> None:
    """Write a line to stdout, at once: whoever reads the pipe acts on it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def write_json(value: Any) -> None:
    """Write `value` as one line of JSON."""
    write(msgspec.json.encode(value).decode())


def note(line: str) -> None:
    """Write a line about the work itself to stderr, so that stdout holds results alone."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def report(error: WindlassError) -> ExitCode:
    """Say on stderr what went wrong, broken fields one per line, and give the exit code."""
    for line in _describe(error):
        note(line)
    return exit_code_of(error)


def _describe(error: WindlassError) -> list[str]:
    detail = printable(error.detail)
    if isinstance(error, InputError):
        fields = [(printable(pointer), printable(text)) for pointer, _, text in error.errors]
        if len(fields) == 1:
            pointer, text = fields[0]
            return [f"windlass: {pointer}: {text}" if pointer else f"windlass: {text}"]
        return [f"windlass: {detail}", *(f"  {pointer}: {text}" for pointer, text in fields)]
    if len(problems := error.details.get("problems", ())) > 1:
        heading, *_ = error.detail.split("\n")
        return [f"windlass: {printable(heading)}", *(f"  {printable(str(problem))}" for problem in problems)]
    if (retry_after_s := error.details.get("retry_after_s")) is not None:
        return [f"windlass: {detail} (try again in {retry_after_s:g} s)"]
    if isinstance(error, ServerError) and (request_id := error.details.get("request_id")) is not None:
        return [f"windlass: {detail} (request {printable(request_id)})"]
    return [f"windlass: {detail}"]


@contextmanager
def interruptible(*refs: str | int) -> Generator[None]:
    """Turn Ctrl-C while waiting into a message: the tasks go on, and how to look at them or cancel them."""
    try:
        yield
    except KeyboardInterrupt:
        names = " ".join(str(ref) for ref in refs)
        subject = f"task {names} goes on" if len(refs) == 1 else f"tasks {names} go on"
        raise Interrupted(
            f"stopped waiting; {subject}. Look: windlass wait {names}. Cancel: windlass cancel {names}"
        ) from None
