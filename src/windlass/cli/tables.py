"""Tasks, files and kinds as tables on a terminal, and as plain lines for programs.

Reads views alone; asks no server.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from windlass.cli.human import ago, amount, figure, instant, printable, size, span
from windlass.cli.output import is_terminal, write
from windlass.core.history import Attempt
from windlass.core.state import State
from windlass.core.task import FileRow
from windlass.wire.v1 import KindView, ProgressView, TaskView
from windlass.wire.v1_many import StatsView

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {
    State.QUEUED: "yellow",
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.CANCELLED: "magenta",
}
_LINE_CHARS = 88
_ID_COLUMNS = 110


def print_tasks(tasks: Iterable[TaskView]) -> None:
    """Print a list of tasks: a table on a terminal, else a line each with tabs between its fields."""
    if not is_terminal(sys.stdout):
        for task in tasks:
            at = task.created_at.isoformat()
            _write_fields(task.number, task.id, task.state, task.kind, task.queue, at, task.name or task.key or "")
        return
    from rich.console import Console
    from rich.text import Text

    now = datetime.now(UTC)
    console = Console(highlight=False)
    # An id is never cut: where it has no room the number stands for the task.
    has_room = console.width >= _ID_COLUMNS
    headings = ("NUMBER", "STATE", "KIND", "NAME", "PROGRESS", "CREATED")
    table = _table(*headings, *(("ID",) if has_room else ()))
    table.columns[0].justify = "right"
    for column in table.columns:
        column.no_wrap = column.header not in ("KIND", "NAME")
    for task in tasks:
        table.add_row(
            str(task.number),
            Text(state_of(task), style=_STYLES[task.state]),
            Text(printable(task.kind)),
            Text(printable(task.name or task.key or "")),
            Text(_share(task.progress)),
            Text(ago(task.created_at, now=now)),
            *((Text(task.id),) if has_room else ()),
        )
    console.print(table)


def print_kinds(kinds: Sequence[KindView]) -> None:
    """Print what can be submitted."""
    if not is_terminal(sys.stdout):
        for kind in kinds:
            _write_fields(
                kind.name, kind.app, kind.isolation, kind.queue, "live" if kind.is_live else "-", kind.summary
            )
        return
    from rich.console import Console
    from rich.text import Text

    table = _table("KIND", "WHAT IT DOES", "QUEUE", "TIMEOUT", "ATTEMPTS", "RUNS", "WORKER")
    for kind in kinds:
        table.add_row(
            Text(printable(kind.name)),
            Text(printable(kind.summary)),
            Text(printable(kind.queue)),
            Text(span(kind.timeout_s) if kind.timeout_s else "none"),
            str(kind.max_attempts),
            Text(printable(kind.isolation)),
            Text("live", style="green") if kind.is_live else Text("none", style="red"),
        )
    Console(highlight=False).print(table)


def print_task(task: TaskView, files: Sequence[FileRow], attempts: Sequence[Attempt]) -> None:
    """Print all about one task, its attempts and its files last."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    now = datetime.now(UTC) if console.is_terminal else None
    rows = [(label, text) for label, text in _fields(task, now=now) if text]
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        style = _STYLES[task.state] if label == "state" else ""
        console.print(Text.assemble((f"{label:<{width}}  ", "dim"), (text, style)))
    if task.error is not None and task.error.traceback:
        console.print(Text(_indented(printable(task.error.traceback.rstrip(), keep="\n\t"))))
    for title, lines in (("attempts", _attempt_lines(attempts)), ("files", _file_lines(files))):
        if lines:
            console.print(Text(title, style="dim"))
        for line in lines:
            console.print(Text(line))


def print_stats(stats: StatsView) -> None:
    """Print the counters: tables on a terminal, else a line of each queue with its tasks by state."""
    if not is_terminal(sys.stdout):
        for queue in stats.queues:
            _write_fields(queue.name, *(getattr(queue.tasks, state) for state in State), queue.size_bytes)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    table = _table("QUEUE", *(state.upper() for state in State), "SIZE")
    rates = _table("PER SECOND", "SUBMITTED", "STARTED", "SUCCEEDED", "FAILED", "CANCELLED")
    for column in (*table.columns[1:], *rates.columns[1:]):
        column.justify = "right"
    table.columns[0].overflow = "fold"
    for name, counts, size_bytes in (
        *((queue.name, queue.tasks, queue.size_bytes) for queue in stats.queues),
        ("all", stats.tasks, stats.size_bytes),
    ):
        numbers = (Text(f"{getattr(counts, state):,}", style=_STYLES[state]) for state in State)
        table.add_row(Text(printable(name)), *numbers, Text(size(size_bytes)))
    for window in stats.rates:
        shown = (window.submitted, window.started, window.succeeded, window.failed, window.cancelled)
        rates.add_row(f"last {span(window.window_s)}", *(f"{rate:,.2f}" for rate in shown))
    console.print(table)
    console.print(rates)
    kept = "" if stats.store.size_bytes is None else f", {size(stats.store.size_bytes)}"
    console.print(Text(f"windlass {stats.version}, up {span(stats.uptime_s)}; store {stats.store.kind}{kept}"))


def state_of(task: TaskView) -> str:
    """Say where the task stands, and why."""
    if task.state is State.RUNNING and task.cancel_requested_at is not None:
        return "running (cancel requested)"
    why = task.waiting or task.reason
    return str(task.state) if why is None or why == task.state else f"{task.state} ({why})"


def progress_of(progress: ProgressView | None) -> str:
    """Say how far a task has come, how fast it goes, and what it says itself."""
    if progress is None:
        return ""
    parts = [amount(progress.done, progress.total, progress.unit)]
    if progress.rate_per_s:
        parts.append(f"{figure(progress.rate_per_s, progress.unit)}/s")
    if progress.message:
        parts.append(printable(progress.message))
    return ", ".join(parts)


def _fields(task: TaskView, *, now: datetime | None) -> list[tuple[str, str]]:
    """Give the aligned fields; without `now`, instants are spelled for programs."""

    def at(moment: datetime | None) -> str:
        if moment is None:
            return ""
        return moment.isoformat() if now is None else instant(moment, now=now)

    error = task.error
    return [
        ("number", str(task.number)),
        ("id", task.id),
        ("state", state_of(task)),
        ("kind", printable(task.kind)),
        ("name", printable(task.name or "")),
        ("description", printable(task.description or "")),
        ("key", printable(task.key or "")),
        ("queue", printable(task.queue)),
        ("priority", str(task.priority) if task.priority else ""),
        ("tags", ", ".join(f"{printable(name)}={printable(value)}" for name, value in task.tags.items())),
        ("origin", printable(task.origin or "")),
        ("attempt", f"{task.attempt} ({task.charged} of {task.max_attempts} charged)"),
        ("progress", progress_of(task.progress)),
        ("eta", at(task.progress.eta if task.progress else None)),
        ("created", at(task.created_at)),
        ("due", at(task.run_at) if task.state is State.QUEUED else ""),
        ("started", at(task.started_at)),
        ("ended", at(task.finished_at)),
        ("ran for", span(task.run_s) if task.attempt else ""),
        ("timeout", span(task.timeout_s) if task.timeout_s else "none"),
        ("recovery", str(task.recovery)),
        ("cancel asked", at(task.cancel_requested_at)),
        ("cancel", printable(task.cancel_outcome or "")),
        ("payload", _json(task.payload)),
        ("result", _json(task.result) if task.state is State.SUCCEEDED else ""),
        ("error", printable(f"{error.type}: {error.message}", keep="\n") if error else ""),
        ("exit", printable(error.exit or "") if error else ""),
    ]


def _json(value: Any) -> str:
    if value is UNSET:
        return ""
    compact = msgspec.json.encode(value)
    if len(compact) <= _LINE_CHARS:
        return printable(compact.decode())
    return "\n" + _indented(printable(msgspec.json.format(compact, indent=2).decode(), keep="\n"))


def _attempt_lines(attempts: Sequence[Attempt]) -> list[str]:
    lines: list[str] = []
    for attempt in attempts:
        took = span(attempt.ran_s) if attempt.ran_s is not None else ""
        why = attempt.error.message.splitlines()[0] if attempt.error and attempt.error.message else ""
        lines.append(
            f"  {attempt.attempt:>3}  {attempt.outcome or 'running':<11}  {took:>8}  {printable(why)}".rstrip()
        )
    return lines


def _file_lines(files: Sequence[FileRow]) -> list[str]:
    lines: list[str] = []
    for file in files:
        total = f"{size(file.received_bytes)}/{size(file.size_bytes)}" if file.size_bytes else size(file.received_bytes)
        done = size(file.received_bytes) if file.received_bytes == file.size_bytes else total
        extra = printable(file.error or file.digest or "")
        lines.append(f"  {file.state:<9}  {done:>17}  {printable(file.name)}" + (f"  {extra}" if extra else ""))
    return lines


def _share(progress: ProgressView | None) -> str:
    if progress is None:
        return ""
    if progress.total:
        return f"{min(1.0, progress.done / progress.total):.0%}"
    return amount(progress.done, progress.total, progress.unit)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _write_fields(*fields: object) -> None:
    write("\t".join(printable(str(field)) for field in fields))


def _table(*headings: str) -> Table:
    from rich.table import Table

    return Table(*headings, box=None, pad_edge=False, header_style="dim")
