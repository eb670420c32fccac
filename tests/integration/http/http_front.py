"""A real HTTP server on a real socket, over an engine small enough to read: tasks in a dict, moved by the test.

The engine keeps the promises of `EngineApi`; it only has no workers, so that a test says when a task runs and ends.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from front_queues import DictQueues
from msgspec import UNSET
from uuid_utils import uuid7

from windlass.contracts.engine_api import (
    BulkOrder,
    BulkOutcome,
    Changes,
    Health,
    KindStatus,
    Rates,
    Repeat,
    Stats,
    Submission,
    Submitted,
    SubmittedBatch,
)
from windlass.contracts.keys import AccessKey
from windlass.contracts.store import StoreStatus
from windlass.contracts.tasks import Count, Placed, TaskRef
from windlass.core.access import AccessScope
from windlass.core.history import Attempt
from windlass.core.ids import TaskId
from windlass.core.kind import Isolation, Kind
from windlass.core.query import Order, Page, TaskQuery
from windlass.core.state import Reason, State
from windlass.core.task import FileRow, Task
from windlass.core.waiting import Waiting, waiting_for
from windlass.engine.access import KeyRing
from windlass.errors import ConflictError, InputError, KeyConflict, NotFoundError
from windlass.http.app import build_app
from windlass.http.server import HttpServer, bind
from windlass.store.memory.keys import MemoryKeys
from windlass.wire.codec import encode_json

BODY_BYTES = 64 * 1024
KINDS = ("echo", "download", "simulate")


class WallClock:
    """The real clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class DictEngine(DictQueues):
    """`EngineApi` over a dict."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tasks: dict[int, Task] = {}
        self.payloads: dict[int, bytes] = {}
        self.results: dict[int, bytes] = {}
        self.files_of: dict[int, list[FileRow]] = {}
        self.problems: list[str] = []
        self.breakage: Exception | None = None
        self.waiters = 0
        self.pages = 0
        self.changed = asyncio.Condition()
        self.submissions: list[Submission] = []
        self.orders: list[BulkOrder] = []

    async def submit(self, submission: Submission, *, repeat: Repeat | None = None) -> Submitted:
        if self.breakage is not None:
            raise self.breakage
        if submission.kind not in KINDS:
            near = get_close_matches(submission.kind, KINDS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise InputError(f"there is no kind '{submission.kind}'{hint}", code="unknown_kind", pointer="/kind")
        self.submissions.append(submission)
        payload = encode_json(submission.payload)
        for task in self.tasks.values():
            taken = (task.kind, task.key, task.origin)
            if submission.key is not None and taken == (submission.kind, submission.key, submission.origin):
                if self.payloads[task.number] != payload:
                    raise KeyConflict("the key belongs to a task with other content", task=task)
                return Submitted(task, is_new=False)
        now = WallClock().now()
        task = Task(
            number=max(self.tasks, default=0) + 1,
            id=TaskId(str(uuid7())),
            kind=submission.kind,
            queue=submission.queue or "default",
            state=State.QUEUED,
            created_at=now,
            run_at=submission.run_at or now + timedelta(seconds=submission.delay_s or 0),
            priority=submission.priority,
            key=submission.key,
            name=submission.name,
            description=submission.description,
            tags=dict(submission.tags),
            timeout_s=submission.timeout_s,
            max_attempts=submission.max_attempts or 5,
            origin=submission.origin,
            origin_number=None if submission.origin is None else 1 + self._count_of(submission.origin),
        )
        self.tasks[task.number] = task
        self.payloads[task.number] = payload
        return Submitted(task, is_new=True)

    def _count_of(self, origin: str) -> int:
        return sum(task.origin == origin for task in self.tasks.values())

    async def find_of_origin(self, origin: str, number: int) -> Task:
        for task in self.tasks.values():
            if (task.origin, task.origin_number) == (origin, number):
                return task
        raise NotFoundError(f"there is no task {number} of {origin}")

    async def hide(self, ref: TaskRef) -> Task:
        task = await self.change(ref, is_hidden=True)
        return task if task.state.has_ended else await self.cancel(ref)

    async def change(self, ref: TaskRef, **fields: Any) -> Task:
        task = await self.get(ref)
        async with self.changed:
            task = msgspec.structs.replace(task, version=task.version + 1, **fields)
            self.tasks[task.number] = task
            self.changed.notify_all()
        return task

    async def get(self, ref: TaskRef) -> Task:
        if self.breakage is not None:
            raise self.breakage
        for task in self.tasks.values():
            if ref in (task.id, task.number):
                return task
        raise NotFoundError(f"there is no task {ref}")

    async def payload(self, task: Task) -> bytes:
        return self.payloads[task.number]

    async def result(self, task: Task) -> bytes | None:
        return self.results.get(task.number)

    async def files(self, task: Task) -> Sequence[FileRow]:
        return self.files_of.get(task.number, [])

    async def attempts(self, task: Task) -> Sequence[Attempt]:
        if task.started_at is None:
            return []
        return [Attempt(attempt=task.attempt, started_at=task.started_at, ended_at=task.finished_at)]

    def file_path(self, task: Task, file: FileRow) -> str:
        return str(self.directory / task.id / file.name)

    async def page(self, query: TaskQuery) -> Page:
        rows = sorted(self.tasks.values(), key=lambda task: task.number, reverse=query.order is Order.NEWEST)
        if query.after is not None:
            rows = [task for task in rows if (task.number < query.after) == (query.order is Order.NEWEST)]
            rows = [task for task in rows if task.number != query.after]
        wanted = {name: getattr(query, name) for name in ("state", "kind", "queue", "key", "origin", "is_hidden")}
        for name, value in wanted.items():
            rows = [task for task in rows if value is None or getattr(task, name) == value]
        if query.tag is not None:
            rows = [task for task in rows if task.tags.get(query.tag[0]) == query.tag[1]]
        self.pages += 1
        after = rows[query.limit - 1].number if len(rows) > query.limit else None
        return Page(tasks=rows[: query.limit], after=after)

    async def wait_for_change(self, ref: TaskRef, *, version: int | None, timeout_s: float) -> Task:
        seen = (await self.get(ref)).version if version is None else version
        return await self._wait(ref, lambda task: task.version > seen or task.state.has_ended, timeout_s)

    async def wait_for_end(self, ref: TaskRef, *, timeout_s: float) -> Task:
        return await self._wait(ref, lambda task: task.state.has_ended, timeout_s)

    async def _wait(self, ref: TaskRef, is_done: Callable[[Task], bool], timeout_s: float) -> Task:
        task = await self.get(ref)
        async with self.changed:
            self.waiters += 1
            self.changed.notify_all()
            try:
                async with asyncio.timeout(timeout_s):
                    await self.changed.wait_for(lambda: is_done(self.tasks[task.number]))
            except TimeoutError:
                pass
            finally:
                self.waiters -= 1
                self.changed.notify_all()
        return self.tasks[task.number]

    async def until_waiters(self, count: int) -> None:
        """Wait until so many wait."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.waiters == count)

    async def cancel(self, ref: TaskRef, *, reason: str | None = None, grace_s: float | None = None) -> Task:
        task = await self.get(ref)
        now = WallClock().now()
        if task.state is State.QUEUED:
            return await self.change(
                ref, state=State.CANCELLED, reason=Reason.CANCELLED, finished_at=now, cancel_reason=reason
            )
        if task.state is State.RUNNING and task.cancel_requested_at is None:
            return await self.change(ref, cancel_requested_at=now, cancel_reason=reason)
        if task.state in (State.SUCCEEDED, State.FAILED):
            raise ConflictError(f"the task has {task.state}", task=task)
        return task

    async def retry(self, ref: TaskRef) -> Task:
        task = await self.get(ref)
        if not task.state.has_ended:
            raise ConflictError("the task has not ended", task=task)
        return await self.change(ref, state=State.QUEUED, reason=None, finished_at=None, error=None)

    async def hold(self, ref: TaskRef) -> Task:
        task = await self.get(ref)
        if task.state is not State.QUEUED:
            raise ConflictError("the task is not queued", task=task)
        return await self.change(ref, held=True)

    async def release(self, ref: TaskRef) -> Task:
        task = await self.get(ref)
        if not task.held:
            raise ConflictError("the task is not held", task=task)
        return await self.change(ref, held=False)

    async def submit_batch(self, submissions: Sequence[Submission], *, repeat: Repeat | None = None) -> SubmittedBatch:
        tasks = [(await self.submit(submission)).task for submission in submissions]
        return SubmittedBatch([Placed(task.id, task.number, task.state) for task in tasks])

    async def edit(self, ref: TaskRef, changes: Changes) -> Task:
        set_fields = {name: value for name, value in msgspec.structs.asdict(changes).items() if value is not UNSET}
        if (delay_s := set_fields.pop("delay_s", None)) is not None:
            set_fields["run_at"] = WallClock().now() + timedelta(seconds=delay_s)
        return await self.change(ref, **set_fields)

    async def delete(self, ref: TaskRef) -> None:
        task = await self.get(ref)
        if not task.state.has_ended:
            raise ConflictError("the task has not ended", task=task)
        del self.tasks[task.number]

    async def bulk(self, order: BulkOrder) -> BulkOutcome:
        self.orders.append(order)
        matched = sum(task.state in order.action.states for task in self.tasks.values())
        return BulkOutcome(matched=matched, changed=0, unchanged=0, refused=0, after=matched or None)

    async def stats(self) -> Stats:
        rates = Rates(window_s=60.0, submitted=1.5, started=0.0, succeeded=0.0, failed=0.0, cancelled=0.0)
        counts = [Count(task.queue, task.kind, task.state, 1, 10) for task in self.tasks.values()]
        store = StoreStatus(
            kind="dict", place="/secret", schema=1, library="x", size_bytes=None, log_bytes=None, has_room=True
        )
        return Stats(version="1", uptime_s=2.0, counts=counts, rates=[rates], store=store)

    def waiting(self, task: Task) -> Waiting | None:
        return waiting_for(task, now=WallClock().now(), is_kind_live=True)

    async def kinds(self) -> Sequence[KindStatus]:
        schema = b'{"type":"object"}'
        kind = Kind(name="echo", app="windlass", version="1", schema=schema, isolation=Isolation.SHARED)
        return [KindStatus(kind=kind, is_live=True)]

    def health(self) -> Health:
        return Health(is_ready=not self.problems, problems=self.problems)


class Answer(NamedTuple):
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Front:
    """The server, in a thread with a loop of its own, and the client's end of it."""

    def __init__(
        self,
        directory: Path,
        *,
        hosts: Sequence[str] = ("front.test",),
        auth_off: bool = False,
        app: Mapping[str, Any] | None = None,
        **server: Any,
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.engine = DictEngine(directory)
        self.directory = directory
        self.keys = MemoryKeys()
        self.access = KeyRing(self.keys, WallClock(), is_off=auth_off)
        self.run(self.access.load())
        self.app = build_app(
            self.engine, self.access, clock=WallClock(), body_bytes=BODY_BYTES, hosts=hosts, **(app or {})
        )
        self.server = HttpServer(self.app, **server)
        listener = bind("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        self._serving = asyncio.run_coroutine_threadsafe(self.server.serve(listener), self._loop)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run `work` where the server runs."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def stop(self, grace_s: float = 2.0) -> None:
        """Stop the server."""
        self.run(self.server.stop(grace_s))
        self._serving.result(10)

    def close(self) -> None:
        """Stop the server and its loop."""
        self.stop()
        self.run(self.access.close())
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **extra: str
    ) -> Answer:
        """Send one request; data as JSON, bytes as they are. `extra` headers: underscores for hyphens."""
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = msgspec.json.encode(body)
            sent.setdefault("Content-Type", "application/json")
        sent |= {name.replace("_", "-"): value for name, value in extra.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answered, response.read())
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        """Send bytes, and read until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as connection:
            connection.sendall(sent)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        return received

    def make_key(self, *scopes: str, name: str = "test") -> str:
        """Make a key, and give its text."""
        return str(self.run(self.access.create_key(name, [AccessScope(scope) for scope in scopes])).text)

    def kept_keys(self) -> dict[str, AccessKey]:
        """Read the keys that are kept, by id."""
        return {key.id: key for key in self.run(self.keys.all())}

    def submit(self, **fields: Any) -> Any:
        """Submit a task of the kind `echo`, and give its view."""
        answer = self.ask("POST", "/v1/tasks", {"kind": "echo", "payload": {}, **fields})
        assert answer.status in (200, 202), answer
        return answer.json

    def take(self, origin: str, id: str) -> Task:  # noqa: A002
        """Put in a queued task that came through a dialect, with an id of the test's."""
        given = {"files": ["http://example.org/a.iso"]} if origin == "downloads" else {"echo": {"task": "count"}}
        kind = "download" if origin == "downloads" else "simulate"
        submission = Submission(kind=kind, payload=given, origin=origin, queue=origin, name="report")
        task = self.run(self.engine.submit(submission)).task
        return self.change(task.number, id=TaskId(id))

    def change(self, number: int, **fields: Any) -> Task:
        """Move a task on, as a worker would."""
        return self.run(self.engine.change(number, **fields))

    def succeed(self, number: int, result: Any) -> Task:
        """End a task with a result."""
        self.engine.results[number] = encode_json(result)
        return self.change(number, state=State.SUCCEEDED, finished_at=WallClock().now())

    def leave_file(self, number: int, name: str, content: bytes, *, state: str = "completed") -> None:
        """Give a task a file."""
        task = self.engine.tasks[number]
        directory = self.directory / task.id
        directory.mkdir(exist_ok=True)
        (directory / name).write_bytes(content)
        rows = self.engine.files_of.setdefault(number, [])
        rows.append(FileRow(index=len(rows), name=name, state=state, size_bytes=len(content)))
