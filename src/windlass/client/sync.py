"""The blocking client: a method for each thing a server can be asked, over `exchange` and `transport`.

Holds no rules of its own and never polls in a tight loop: every wait is a long poll.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from msgspec import UNSET

from windlass.client import exchange
from windlass.client.errors import TaskCancelled, TaskFailed, WaitTimeout
from windlass.client.exchange import Request, T, TaskRef
from windlass.client.transport import Transport
from windlass.core.history import Attempt
from windlass.core.limits import PAGE_MAX
from windlass.core.state import State
from windlass.core.task import FileRow
from windlass.errors import InputError
from windlass.wire.v1 import CancelRequest, HealthView, KindView, SubmitRequest, TaskView

# LIMIT: one long poll; below the 60 s after which common proxies give up on an answer.
_POLL_S = 30.0
# LIMIT: at most 20 polls a second of a task that changes all the time.
_CHANGED_PAUSE_S = 0.05
# LIMIT: a server that drains answers long polls at once; do not hammer it meanwhile.
_EARLY_PAUSE_S = 0.5


class Client:
    """A windlass server, as Python sees it. A task may be named by its id or its number everywhere.

        with Client("http://localhost:8080") as client:
            report = client.submit("build_report", customer_id=7, month="2026-11").result(timeout=300)

    Every method raises the server's refusals as the classes of `windlass.errors` (InputError, NotFoundError,
    ConflictError, SaturatedError ...) and `ServerUnreachable` when there is no server. Reads are tried again for about
    a second when a server that has answered before breaks off; writes are never sent twice.

    Units: `timeout_s` bounds one answer, over what the server was asked to wait.
    Concurrency: may be used from any thread.
    """

    def __init__(self, url: str = "http://localhost:8080", *, timeout_s: float = 30.0) -> None:
        self._transport = Transport(url, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The client may be used again all the same."""
        self._transport.close()

    def submit(self, kind: str, /, **payload: Any) -> TaskHandle:
        """Have a task of `kind` done; every keyword is a field of its payload.

        No keyword is reserved: how a task runs (queue, key, delay ...) is said with `submit_task`.
        """
        return self.submit_task(SubmitRequest(kind=kind, payload=payload))

    def submit_task(self, request: SubmitRequest, /) -> TaskHandle:
        """Have a task done, with options.

        client.submit_task(SubmitRequest(kind="build_report", payload={"customer_id": 7}, key="r-7", delay="5m"))

        A `key` makes it safe to submit again: the same key and content give the task that is already there.

        Raises:
            KeyConflict: the key belongs to a task with other content.
        """
        return TaskHandle(self, self._call(exchange.submit_task(request)))

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
        state: State | Literal["queued", "running", "succeeded", "failed", "cancelled"] | None = None,
        kind: str | None = None,
        queue: str | None = None,
        key: str | None = None,
        tag: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> Iterator[TaskView]:
        """Give the tasks that match all that is set, newest first, `limit` at most, without payload and result.

        Pages are read as they are needed: to stop early costs nothing.
        """
        filters = {"state": state, "kind": kind, "queue": queue, "key": key, "tag": ":".join(tag) if tag else None}
        page = PAGE_MAX if limit is None else min(max(limit, 1), PAGE_MAX)
        return islice(_read_pages(self._transport, filters, page=page), limit)

    def cancel(self, ref: TaskRef, /, *, reason: str | None = None, grace_s: float | None = None) -> TaskView:
        """Cancel a queued task, or have a running one stopped: it is then still `running` until it is gone.

        `grace_s` is what a running handler gets to clean up. Cancelling again changes nothing.

        Raises:
            ConflictError: it has ended otherwise.
        """
        return self._call(exchange.cancel_task(ref, CancelRequest(reason=reason, grace_s=grace_s)))

    def retry(self, ref: TaskRef, /) -> TaskView:
        """Queue an ended task again.

        Raises:
            ConflictError: it has not ended.
        """
        return self._call(exchange.act_on_task(ref, "retry"))

    def hold(self, ref: TaskRef, /) -> TaskView:
        """Keep a queued task from starting.

        Raises:
            ConflictError: it is not queued.
        """
        return self._call(exchange.act_on_task(ref, "hold"))

    def release(self, ref: TaskRef, /) -> TaskView:
        """Let a held task start.

        Raises:
            ConflictError: it is not held.
        """
        return self._call(exchange.act_on_task(ref, "release"))

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

    def _call(self, request: Request[T]) -> T:
        return exchange.read_answer(request, self._transport.send(request))


class TaskHandle:
    """A submitted task, to be waited for, read and cancelled."""

    def __init__(self, client: Client, task: TaskView) -> None:
        self._client = client
        self.task = task
        """The task as the server answered to the submit; `get` reads it anew."""

    def __repr__(self) -> str:
        return f"<TaskHandle {self.task.number} {self.task.kind} {self.id}>"

    @property
    def id(self) -> str:
        """The task's id."""
        return self.task.id

    def get(self) -> TaskView:
        """Read the task as it is now."""
        return self._client.get(self.id)

    def wait(self, timeout: float | None = None) -> TaskView:
        """Wait until the task has ended, well or not; as `Client.wait`."""
        return self._client.wait(self.id, timeout=timeout)

    def result(self, timeout: float | None = 300) -> Any:
        """Wait until the task has ended, and give its result; as `Client.result`."""
        return self._client.result(self.id, timeout=timeout)

    def cancel(self, *, reason: str | None = None, grace_s: float | None = None) -> TaskView:
        """Cancel the task; as `Client.cancel`."""
        return self._client.cancel(self.id, reason=reason, grace_s=grace_s)

    def files(self) -> Sequence[FileRow]:
        """Read the task's files; as `Client.files`."""
        return self._client.files(self.id)


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
