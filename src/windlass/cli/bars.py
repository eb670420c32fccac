"""Progress bars on stderr while a command waits; nothing at all when no person reads stderr.

Asks no server: it is shown what the waiting command sees.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from windlass.cli.human import amount, figure, printable, span
from windlass.cli.output import is_terminal
from windlass.cli.tables import state_of
from windlass.core.state import State
from windlass.core.task import FileRow
from windlass.wire.v1 import TaskView

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

ShowTask = Callable[[TaskView], None]
ShowFiles = Callable[[Sequence[FileRow]], None]


@contextmanager
def task_bars() -> Generator[ShowTask]:
    """Show a bar for each task that the given function is called with."""
    if not is_terminal(sys.stderr):
        yield _ignore
        return
    from rich.progress import BarColumn, TextColumn

    bars: dict[int, TaskID] = {}
    with _progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[amount]}", markup=False),
        TextColumn("{task.fields[pace]}", markup=False),
    ) as progress:

        def show(task: TaskView) -> None:
            if task.number not in bars:
                bars[task.number] = progress.add_task(
                    f"{task.number} {printable(task.kind)}", total=None, amount="", pace=""
                )
            said = task.progress
            progress.update(
                bars[task.number],
                completed=_completed(task),
                total=1.0 if task.state.has_ended else said.total if said else None,
                amount=amount(said.done, said.total, said.unit) if said else "",
                pace=_pace(task),
                refresh=True,
            )

        yield show


@contextmanager
def file_bars() -> Generator[ShowFiles | None]:
    """Show a bar for each file that the given function is called with; None when there is no use in asking."""
    if not is_terminal(sys.stderr):
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    bars: dict[int, TaskID] = {}
    with _progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}", markup=False),
    ) as progress:

        def show(files: Sequence[FileRow]) -> None:
            for file in files:
                has_ended = file.state in ("completed", "failed")
                if file.index not in bars:
                    bars[file.index] = progress.add_task(printable(file.name), total=None, state="")
                progress.update(
                    bars[file.index],
                    description=printable(file.name),
                    completed=file.received_bytes,
                    total=file.received_bytes if has_ended and file.size_bytes is None else file.size_bytes,
                    state=printable(file.error or file.state),
                )
            progress.refresh()

        yield show


@contextmanager
def _progress(*columns: ProgressColumn) -> Generator[Progress]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress


def _completed(task: TaskView) -> float:
    if task.state.has_ended:
        return 1.0 if task.state is State.SUCCEEDED else 0.0
    return task.progress.done if task.progress else 0.0


def _pace(task: TaskView) -> str:
    said = task.progress
    if task.state is not State.RUNNING or said is None:
        return state_of(task)
    parts = [f"{figure(said.rate_per_s, said.unit)}/s"] if said.rate_per_s else []
    if said.eta is not None:
        left_s = max(0.0, (said.eta - datetime.now(UTC)).total_seconds())
        parts.append(f"{span(float(math.ceil(left_s)))} left")
    if said.message:
        parts.append(printable(said.message))
    return ", ".join(parts)


def _ignore(_: object) -> None:
    return
