"""What can be read of a server, blocking: tasks, their results and files, kinds, counters.

Never polls in a tight loop: every wait is a long poll.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypedDict, Unpack

from msgspec import UNSET

from windlass.client import exchange
from windlass.client.calls import Calls
from windlass.client.errors import TaskCancelled, TaskFailed, WaitTimeout
from windlass.client.exchange import TaskRef
from windlass.client.transport import Transport
from windlass.core.history import Attempt
from windlass.core.limits import PAGE_MAX
from windlass.core.state import State
from windlass.core.task import FileRow
from windlass.errors import InputError
from windlass.wire.v1 import HealthView, KindView, TaskView
from windlass.wire.v1_many import StatsView

# LIMIT: one long poll; below the 60 s after which common proxies give up on an answer.
_POLL_S = 30.0
# LIMIT: at most 20 polls a second of a task that changes all the time.
_CHANGED_PAUSE_S = 0.05
# LIMIT: a server that drains answers long polls at once; do not hammer it meanwhile.
_EARLY_PAUSE_S = 0.5

StateName = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Filters(TypedDict, total=False):
    """Which tasks: those that match all that is given. Bounds of time are exclusive.

    `q` is an id, number or key, or the beginning of a name; `waiting` is why a queued task does not run.
    """

    state: State | StateName | None
    kind: str | None
    queue: str | None
    key: str | None
    tag: tuple[str, str] | None
    waiting: Literal["until", "retry", "dependencies", "hold"] | None
    created_after: datetime | None
    created_before: datetime | None
    finished_after: datetime | None
    finished_before: datetime | None
    q: str | None


class Reads(Calls):
    """Reads of one server."""

    def get(self, ref: TaskRef, /) -> TaskView:
        """Read a task, with payload and result."""
        return self._call(exchange.get_task(ref))

    def watch(self, ref: TaskRef, /, *, timeout: float | None = None) -> Iterator[TaskView]:
        """Give the task as it is, then again after each change (changes in quick succession come as one), until it
        has ended.

        Raises:
            WaitTimeout: it has not ended within `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        task, etag = _poll(self._transport, ref)
        yield task
        while not task.state.has_ended:
            left_s = _POLL_S if end is None else end - time.monotonic()
            if left_s <= 0:
                raise WaitTimeout(f"the time to wait is up: task {task.number} is {task.state} and goes on", task=task)
            wait_s, began = min(_POLL_S, max(left_s, 0.001)), time.monotonic()
            seen, etag = _poll(self._transport, ref, wait_s=wait_s, etag=etag, before=task)
            if seen.version != task.version:
                task = seen
                yield task
                pause_s = _CHANGED_PAUSE_S
            else:
                pause_s = _EARLY_PAUSE_S
            if not task.state.has_ended:
                # A poll that took its time needs no pause after it.
                time.sleep(min(max(0.0, pause_s - (time.monotonic() - began)), wait_s))

    def wait(self, ref: TaskRef, /, *, timeout: float | None = None) -> TaskView:
        """Wait until the task has ended, well or not, and give it.

        Raises:
            WaitTimeout: it has not ended within `timeout` seconds.
        """
        return deque(self.watch(ref, timeout=timeout), maxlen=1).pop()

    def result(self, ref: TaskRef, /, *, timeout: float | None = 300) -> Any:
        """Wait until the task has ended, and give its result.

        Raises:
            TaskFailed: it has failed; the error's `task` says how.
            TaskCancelled: it was cancelled.
            WaitTimeout: it has not ended within `timeout` seconds.
        """
        task = self.wait(ref, timeout=timeout)
        if task.state is State.SUCCEEDED:
            return None if task.result is UNSET else task.result
        if task.state is State.CANCELLED:
            raise TaskCancelled(f"task {task.number} ({task.kind}) was cancelled", task=task)
        why = f"{task.error.type}: {task.error.message}" if task.error else str(task.reason)
        raise TaskFailed(f"task {task.number} ({task.kind}) failed: {why}", task=task)

    def list(
        self,
        *,
        order: Literal["-number", "number", "-finished_at"] = "-number",
        limit: int | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[TaskView]:
        """Give the tasks that match all that is set, newest first, `limit` at most, without payload and result.

        Pages are read as they are needed: to stop early costs nothing. The order `-finished_at` needs an ended state.
        """
        page = PAGE_MAX if limit is None else min(max(limit, 1), PAGE_MAX)
        query = {**exchange.spell_filters(filters), "order": None if order == "-number" else order}
        return islice(_read_pages(self._transport, query, page=page), limit)

    def attempts(self, ref: TaskRef, /) -> Sequence[Attempt]:
        """Read how often a task has run, and how each run ended; oldest first."""
        return self._call(exchange.list_attempts(ref)).attempts

    def files(self, ref: TaskRef, /) -> Sequence[FileRow]:
        """Read which files a task has, and how far each has come."""
        return self._call(exchange.list_files(ref)).files

    def fetch_file(self, ref: TaskRef, name: str, to: Path | str, /) -> Path:
        """Write file `name` of a task to `to`, a directory or the file's new path, and say where it is.

        The file appears whole or not at all, and replaces what was there.
        """
        target = Path(to)
        if target.is_dir():
            label = PurePosixPath(name).name
            if label in ("", ".", ".."):
                raise InputError(f"'{name}' is no name of a file", code="bad_file_name", pointer="name")
            target = target / label
        self._transport.save(exchange.fetch_file(ref, name), target)
        return target

    def kinds(self) -> Sequence[KindView]:
        """Read which kinds the server knows."""
        return self._call(exchange.list_kinds()).kinds

    def health(self) -> HealthView:
        """Ask whether the server takes and runs work, and if not, why."""
        return self._call(exchange.get_health())

    def stats(self) -> StatsView:
        """Read how many tasks there are, by state and queue, and what has happened in the last minutes."""
        return self._call(exchange.get_stats())


def _poll(
    transport: Transport, ref: TaskRef, *, wait_s: float = 0.0, etag: str | None = None, before: TaskView | None = None
) -> tuple[TaskView, str | None]:
    """Read the task and its ETag; `before` again when it has not changed in `wait_s`."""
    request = exchange.get_task(ref, wait_s=wait_s, etag=etag)
    response = transport.send(request)
    if response.status == 304 and before is not None:
        return before, etag
    return exchange.read_answer(request, response), response.headers.get("etag")


def _read_pages(transport: Transport, filters: Mapping[str, str | None], *, page: int) -> Iterator[TaskView]:
    """Read page after page, each when it is needed."""
    cursor = None
    while True:
        request = exchange.list_tasks(filters, limit=page, cursor=cursor)
        answer = exchange.read_answer(request, transport.send(request))
        yield from answer.tasks
        cursor = answer.next_cursor
        if cursor is None:
            return
