"""The commands that submit and look: submit, list, show, wait, kinds, stats.

Each asks one server through the client and prints; errors pass through to `main`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Final, Literal

from cyclopts import Parameter
from msgspec import UNSET

from windlass.cli.bars import task_bars
from windlass.cli.filters import EVERYTHING, Which
from windlass.cli.human import printable
from windlass.cli.options import (
    COMMON,
    Common,
    parse_document,
    parse_fields,
    parse_pairs,
    parse_seconds,
    parse_wait,
    read_lines,
)
from windlass.cli.output import (
    ExitCode,
    exit_code_of_tasks,
    interruptible,
    is_terminal,
    note,
    write,
    write_json,
)
from windlass.cli.tables import print_kinds, print_stats, print_task, print_tasks, state_of
from windlass.client.sync import Client
from windlass.core.limits import DELAY_MAX_S
from windlass.errors import InputError
from windlass.wire.v1 import SubmitRequest, TaskView

TaskArgument = Annotated[str, Parameter(help="A task's number or id.")]
TaskArguments = Annotated[str, Parameter(required=True, help="Numbers or ids of tasks.")]
TagOption = Annotated[list[str] | None, Parameter(negative="", metavar="NAME=VALUE", help="A tag; may be repeated.")]


@Parameter(name="*")
@dataclass(frozen=True)
class SubmitOptions:
    """How a submitted task is to be run; what is left out comes from the kind's defaults."""

    key: Annotated[
        str | None, Parameter(help="A name of yours: submitting it again gives the same task, not a second one.")
    ] = None
    queue: Annotated[str | None, Parameter(help="The queue it waits in.")] = None
    priority: Annotated[int, Parameter(help="From -100 to 100, higher first.")] = 0
    delay: Annotated[str | None, Parameter(help="Not before this time has passed, for example 10m.")] = None
    timeout: Annotated[str | None, Parameter(help="The longest one attempt may take, for example 1h, or none.")] = None
    max_attempts: Annotated[int | None, Parameter(help="How often it is tried before it has failed.")] = None
    name: Annotated[str | None, Parameter(help="A title for people.")] = None
    tag: TagOption = None

    def request(self, kind: str, payload: dict[str, object]) -> SubmitRequest:
        """Make the request out of these options."""
        timeout = self.timeout
        return SubmitRequest(
            kind=kind,
            payload=payload,
            key=self.key,
            queue=self.queue,
            priority=self.priority,
            delay=None if self.delay is None else parse_seconds(self.delay, "--delay", max_s=DELAY_MAX_S),
            timeout=UNSET if timeout is None else None if timeout == "none" else parse_seconds(timeout, "--timeout"),
            max_attempts=self.max_attempts,
            name=self.name,
            tags=parse_pairs(self.tag or (), "--tag"),
        )


def submit(
    kind: Annotated[str | None, Parameter(help="What to run; `windlass kinds` lists what there is.")] = None,
    /,
    *fields: Annotated[str, Parameter(help="The payload as name=value, or - to read a JSON object from stdin.")],
    stdin: Annotated[bool, Parameter(show=False, negative="")] = False,
    wait: Annotated[
        str | None, Parameter(metavar="[SECONDS]", help="Wait until the task has ended, and end as it did.")
    ] = None,
    batch: Annotated[
        str | None,
        Parameter(metavar="FILE|-", help="Have many tasks done, all or none: a file with one JSON object a line."),
    ] = None,
    options: SubmitOptions = SubmitOptions(),
    common: Common = COMMON,
) -> int:
    """Have a task done and print its id, or many."""
    if batch is not None:
        if kind or fields or stdin or wait or options != SubmitOptions():
            detail = "the lines of the file say all about its tasks: give no kind, fields or options besides"
            raise InputError(detail, code="two_payloads", pointer="--batch")
        return _submit_batch(batch, common)
    if kind is None:
        raise InputError("name a kind: `windlass kinds` lists what there is", code="missing_field", pointer="KIND")
    if stdin and fields:
        raise InputError("give the payload as name=value or on stdin, not both", code="two_payloads")
    timeout = parse_wait(wait)
    request = options.request(kind, parse_document(sys.stdin.buffer.read()) if stdin else parse_fields(fields))
    with common.client() as client:
        task = client.submit_task(request).task
        if wait is None:
            write_json(task) if common.json else write(task.id)
            return ExitCode.OK
        if not common.json:
            write(task.id)
        return _wait_for([str(task.number)], client=client, timeout=timeout, json=common.json)


_ORDERS: Final[dict[str, Literal["-number", "number", "-finished_at"]]] = {
    "newest": "-number",
    "oldest": "number",
    "ended": "-finished_at",
}


def list_tasks(
    *,
    which: Which = EVERYTHING,
    order: Annotated[
        Literal["newest", "oldest", "ended"], Parameter(help="What comes first; ended needs an ended --state.")
    ] = "newest",
    limit: Annotated[int, Parameter(help="How many at most.")] = 50,
    all_: Annotated[
        bool, Parameter(name="--all", negative="", show_default=False, help="All there are, whatever --limit says.")
    ] = False,
    common: Common = COMMON,
) -> int:
    """List tasks, newest first unless told otherwise."""
    if limit < 1:
        raise InputError("must be at least 1", code="bad_limit", pointer="--limit")
    with common.client() as client:
        # One more than is shown, to know whether there is more.
        tasks = client.list(**which.filters(), order=_ORDERS[order], limit=None if all_ else limit + 1)
        shown = tasks if all_ else islice(tasks, limit)
        if common.json:
            for task in shown:
                write_json(task)
        else:
            print_tasks(shown)
        if is_terminal(sys.stdout) and next(tasks, None) is not None:
            note(f"There are more: --all, or --limit above {limit}.")
    return ExitCode.OK


def show(task: TaskArgument, /, *, common: Common = COMMON) -> int:
    """Show all about one task."""
    with common.client() as client:
        view = client.get(task)
        if common.json:
            write_json(view)
        else:
            print_task(view, client.files(view.id), client.attempts(view.id))
    return ExitCode.OK


def wait(
    *tasks: TaskArguments,
    timeout: Annotated[str | None, Parameter(help="Wait for all together no longer than this, for example 5m.")] = None,
    common: Common = COMMON,
) -> int:
    """Wait until the tasks have ended, and end as they did."""
    limit_s = None if timeout is None else parse_seconds(timeout, "--timeout", max_s=DELAY_MAX_S)
    with common.client() as client:
        return _wait_for(tasks, client=client, timeout=limit_s, json=common.json)


def stats(*, common: Common = COMMON) -> int:
    """Count tasks by state and queue, and say what has happened in the last minutes."""
    with common.client() as client:
        found = client.stats()
    write_json(found) if common.json else print_stats(found)
    return ExitCode.OK


def kinds(*, common: Common = COMMON) -> int:
    """List the kinds that can be submitted."""
    with common.client() as client:
        found = client.kinds()
    if common.json:
        for kind in found:
            write_json(kind)
    else:
        print_kinds(found)
    return ExitCode.OK


def _submit_batch(source: str, common: Common) -> ExitCode:
    lines = read_lines(source)
    with common.client() as client:
        for task in client.submit_lines(lines):
            write_json(task) if common.json else write(task.id)
    return ExitCode.OK


def _wait_for(refs: Sequence[str], *, client: Client, timeout: float | None, json: bool) -> ExitCode:
    """Wait for one task after the other: none can end unseen, and all are over when the last one is."""
    end = None if timeout is None else time.monotonic() + timeout
    ended: list[TaskView] = []
    try:
        with interruptible(*refs), task_bars() as show_bar:
            for ref in refs:
                left_s = None if end is None else max(0.0, end - time.monotonic())
                for task in client.watch(ref, timeout=left_s):
                    show_bar(task)
                    if task.state.has_ended:
                        ended.append(task)
    finally:
        for task in ended:
            _print_end(task, json=json)
    return exit_code_of_tasks(ended)


def _print_end(task: TaskView, *, json: bool) -> None:
    if json:
        write_json(task)
    else:
        note(f"task {task.number} {state_of(task)}" + (f": {printable(task.error.message)}" if task.error else ""))
