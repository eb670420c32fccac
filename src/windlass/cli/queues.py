"""`windlass queues`, `pause` and `resume`: how queues stand, and stopping and starting them.

Each asks one server through the client and prints; errors pass through to `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

from cyclopts import Parameter

from windlass.cli.human import printable, span
from windlass.cli.options import COMMON, Common
from windlass.cli.output import ExitCode, is_terminal, write, write_json
from windlass.wire.v1_queues import QueueView

QueueName = Annotated[str, Parameter(name="QUEUE", help="The queue's name.")]


def list_queues(*, common: Common = COMMON) -> int:
    """List the queues with what is in them and their limits."""
    with common.client() as client:
        queues = client.queues.list()
    if common.json:
        for queue in queues:
            write_json(queue)
    else:
        _print(queues)
    return ExitCode.OK


def pause(
    queue: QueueName,
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why, for those who look later.")] = None,
    common: Common = COMMON,
) -> int:
    """Start none of a queue's tasks until it is resumed; those that run go on."""
    with common.client() as client:
        return _show(client.queues.pause(queue, reason=reason), common)


def resume(queue: QueueName, /, *, common: Common = COMMON) -> int:
    """Start a paused queue's tasks again."""
    with common.client() as client:
        return _show(client.queues.resume(queue), common)


def _show(queue: QueueView, common: Common) -> int:
    write_json(queue) if common.json else write(
        f"{queue.name}\t{_state_of(queue)}\t{queue.depth} queued\t{queue.running} running"
    )
    return ExitCode.OK


def _print(queues: Iterable[QueueView]) -> None:
    """Print queues: a table on a terminal, else a line each with tabs between its fields."""
    if not is_terminal(sys.stdout):
        for queue in queues:
            fields = (queue.name, queue.depth, queue.running, _limit(queue.concurrency), _limit(queue.capacity))
            write("\t".join(map(str, (*fields, _state_of(queue), printable(queue.pause_reason or "")))))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "QUEUE", "QUEUED", "OF", "RUNNING", "OF", "OLDEST WAIT", "STARTED", "", box=None, pad_edge=False,
        header_style="dim",
    )  # fmt: skip
    for column in table.columns[1:5]:
        column.justify = "right"
    for queue in queues:
        state = Text(_state_of(queue), style="yellow" if queue.paused else "green")
        if queue.pause_reason:
            state.append(f": {printable(queue.pause_reason)}")
        table.add_row(
            queue.name,
            f"{queue.depth:,}",
            _limit(queue.capacity),
            f"{queue.running:,}",
            _limit(queue.concurrency),
            "" if queue.oldest_wait_s is None else span(queue.oldest_wait_s),
            f"{queue.started_per_s:.1f}/s",
            state,
        )
    Console(highlight=False).print(table)


def _limit(limit: int | None) -> str:
    return "-" if limit is None else str(limit)


def _state_of(queue: QueueView) -> str:
    return "paused" if queue.paused else "open"
