"""The blocking client: a method for each thing a server can be asked, over `exchange` and `transport`.

Holds no rules of its own. Reads stand in `reads`, what is done to tasks that are there in `operations`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from windlass.client import exchange
from windlass.client.keys import KeyCalls
from windlass.client.operations import Operations
from windlass.client.queues import QueueCalls
from windlass.client.reads import Reads
from windlass.client.transport import Transport
from windlass.core.task import FileRow
from windlass.wire.v1 import SubmitRequest, TaskView
from windlass.wire.v1_many import PlacedView


class Client(Reads, Operations):
    """A windlass server, as Python sees it. A task may be named by its id or its number everywhere.

        with Client("http://localhost:8080") as client:
            report = client.submit("build_report", customer_id=7, month="2026-11").result(timeout=300)

    Every method raises the server's refusals as the classes of `windlass.errors` (InputError, NotFoundError,
    ConflictError, SaturatedError ...) and `ServerUnreachable` when there is no server. Reads and submits are tried
    again for about a second when a server that has answered before breaks off: a submit names its request
    (Idempotency-Key), so that it stores nothing twice. Other writes are never sent twice.

    `key` is what the server wants of those it does not trust for being on its own machine; `keys` makes and revokes
    such keys; `queues` says how queues stand, pauses them and sets their limits.

    Units: `timeout_s` bounds one answer, over what the server was asked to wait.
    Concurrency: may be used from any thread.
    """

    def __init__(self, url: str = "http://localhost:8080", *, key: str | None = None, timeout_s: float = 30.0) -> None:
        super().__init__(Transport(url, key=key, timeout_s=timeout_s))
        self.keys = KeyCalls(self._transport)
        self.queues = QueueCalls(self._transport)

    def submit(self, kind: str, /, **payload: Any) -> TaskHandle:
        """Have a task of `kind` done; every keyword is a field of its payload.

        No keyword is reserved: how a task runs (queue, key, delay ...) is said with `submit_task`.
        """
        return self.submit_task(SubmitRequest(kind=kind, payload=payload))

    def submit_task(self, request: SubmitRequest, /, *, idempotency_key: str | None = None) -> TaskHandle:
        """Have a task done, with options.

        client.submit_task(SubmitRequest(kind="build_report", payload={"customer_id": 7}, key="r-7", delay="5m"))

        A `key` makes it safe to submit again, as long as the task exists: the same key and content give the task that
        is already there. An `idempotency_key` of your own does so for 24 h, for this very request; without one each
        call has its own.

        Raises:
            KeyConflict: the key belongs to a task with other content.
            IdempotencyMismatch: the idempotency key came with another request before.
        """
        call = exchange.submit_task(request, idempotency_key=idempotency_key or _new_key())
        return TaskHandle(self, self._call(call))

    def submit_batch(
        self, requests: Iterable[SubmitRequest], /, *, idempotency_key: str | None = None
    ) -> Sequence[PlacedView]:
        """Have many tasks done, 10,000 at most: all of them are stored, or none. Gives their ids and numbers, in order.

        Raises:
            InputError: `errors` names the tasks that break a rule by their place: `/tasks/17/kind`.
            KeyConflict: a key belongs to a task with other content.
        """
        return self.submit_lines(exchange.spell_lines(requests), idempotency_key=idempotency_key)

    def submit_lines(self, lines: bytes, /, *, idempotency_key: str | None = None) -> Sequence[PlacedView]:
        """Have the tasks done that `lines` spell, one JSON object a line; as `submit_batch`."""
        return self._call(exchange.submit_lines(lines, idempotency_key=idempotency_key or _new_key())).tasks


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


def _new_key() -> str:
    return secrets.token_hex(16)
