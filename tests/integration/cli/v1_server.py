"""A small server that speaks the v1 contract over real sockets, with tasks that a test moves by hand.

Runs nothing; it is the other end of the line for the client and the commands.
"""

from __future__ import annotations

import re
import socket
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from windlass.core.history import Attempt
from windlass.core.ids import TaskId
from windlass.core.kind import Isolation, Kind
from windlass.core.state import EventName, State, next_state
from windlass.core.task import FileRow, Task
from windlass.core.waiting import waiting_for
from windlass.errors import IllegalTransition
from windlass.wire.v1 import AttemptList, FileList, HealthView, KindList, SubmitRequest, TaskList, view_kind, view_task

Answer = tuple[int, Mapping[str, str], bytes]

KIND = Kind(
    name="build_report",
    app="tests",
    version="1",
    schema=b'{"type":"object"}',
    isolation=Isolation.SHARED,
    summary="Builds a report.",
)
DOWNLOAD = msgspec.structs.replace(KIND, name="download", summary="Downloads files.")


class V1Server:
    """The server's tasks, what it was asked, and answers a test has laid out instead of its own."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.payloads: dict[int, bytes] = {}
        self.results: dict[int, bytes] = {}
        self.files: dict[int, list[FileRow]] = {}
        self.attempts: dict[int, list[Attempt]] = {}
        self.contents: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, bytes]] = []
        self.scripted: dict[tuple[str, str], list[Answer]] = {}
        self.asked = threading.Condition()
        self.closing = False
        self._changed = threading.Condition()
        handler = type("Handler", (_Handler,), {"v1": self})
        self._http = _Listener(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """Stop answering and free the port; long polls under way are answered first."""
        self.closing = True
        with self._changed:
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def add(self, *, kind: str = "build_report", payload: Any = None, **fields: Any) -> Task:
        """Store a task; `fields` are those of `Task`."""
        now = datetime.now(UTC)
        with self._changed:
            number = len(self.tasks) + 1
            known = {"queue": "default", "state": State.QUEUED, "created_at": now, "run_at": now}
            task = Task(number=number, id=TaskId(str(uuid.uuid4())), kind=kind, **{**known, **fields})
            self.tasks[number] = task
            self.payloads[number] = msgspec.json.encode(payload or {})
            self._changed.notify_all()
        return task

    def change(self, number: int, *, result: Any = None, **fields: Any) -> Task:
        """Change a task, and wake who waits for that."""
        with self._changed:
            before = self.tasks[number]
            task = msgspec.structs.replace(before, version=before.version + 1, **fields)
            self.tasks[number] = task
            if result is not None:
                self.results[number] = msgspec.json.encode(result)
            self._changed.notify_all()
        return task

    def script(self, method: str, path: str, *answers: Answer) -> None:
        """Give these answers, one after the other, to the next requests for `path`."""
        self.scripted[method, path] = list(answers)

    def wait_for_request(self, pattern: str, *, count: int = 1) -> None:
        """Wait until `count` requests whose method and path match `pattern` have come."""
        with self.asked:
            assert self.asked.wait_for(lambda: self.count(pattern) >= count, timeout=15), self.requests

    def count(self, pattern: str) -> int:
        """Count such requests."""
        return sum(bool(re.search(pattern, f"{method} {path}")) for method, path, _ in self.requests)

    def find(self, ref: str) -> Task | None:
        """Find a task by number or id."""
        return next((task for task in self.tasks.values() if ref in (str(task.number), task.id)), None)

    def view(self, task: Task, *, single: bool = True) -> Any:
        """Show a task as the API does."""
        now = datetime.now(UTC)
        waiting = waiting_for(task, now=now, is_kind_live=True)
        if not single:
            return view_task(task, now=now, waiting=waiting)
        payload, result = self.payloads[task.number], self.results.get(task.number)
        return view_task(task, now=now, waiting=waiting, payload=payload, result=result)

    def wait_for_change(self, task: Task, wait_s: float) -> Task:
        """Hold until the task changes, has ended, or time is up."""
        if not task.state.has_ended:
            with self._changed:
                self._changed.wait_for(
                    lambda: self.closing or self.tasks[task.number].version != task.version, timeout=wait_s
                )
        return self.tasks[task.number]


def problem(status: int, code: str, detail: str, *errors: tuple[str, str, str], **headers: str) -> Answer:
    """Make a refusal as the contract words it."""
    document: dict[str, Any] = {"type": f"/problems/{code}", "title": code, "status": status, "code": code}
    document |= {"detail": detail, "request_id": "r-1"}
    if errors:
        document["errors"] = [{"pointer": at, "code": why, "detail": text} for at, why, text in errors]
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/problem+json", **named}, msgspec.json.encode(document)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Let clients leave in the midst without a word; anything else would fail the test by its answer."""


class _Handler(BaseHTTPRequestHandler):
    v1: V1Server
    protocol_version = "HTTP/1.1"
    # Headers and body leave as two segments; without this the second waits for the client's delayed ACK.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *args: Any) -> None:
        return

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.v1.asked:
            self.v1.requests.append((self.command, self.path, body))
            self.v1.asked.notify_all()
        place = urlsplit(self.path)
        scripted = self.v1.scripted.get((self.command, place.path))
        query = {name: values[0] for name, values in parse_qs(place.query).items()}
        status, headers, raw = scripted.pop(0) if scripted else self._route(unquote(place.path), query, body)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def _route(self, path: str, query: dict[str, str], body: bytes) -> Answer:
        if path == "/v1/tasks":
            return self._submit(body) if self.command == "POST" else self._list(query)
        if path == "/v1/kinds":
            kinds = [view_kind(KIND, is_live=True), view_kind(DOWNLOAD, is_live=False)]
            return _ok(KindList(kinds=kinds))
        if path == "/readyz":
            return _ok(HealthView(ready=True, problems=[]))
        match = re.fullmatch(r"/v1/tasks/([^/]+)(?:/(\w+))?(?:/(.+))?", path)
        task = self.v1.find(match[1]) if match else None
        if match is None or task is None:
            return problem(404, "not_found", "there is no such task")
        if match[2] is None:
            return self._get(task, query)
        if match[2] == "attempts":
            return _ok(AttemptList(attempts=self.v1.attempts.get(task.number, [])))
        if match[2] == "files":
            return self._files(task, match[3])
        return self._act(task, match[2], body)

    def _submit(self, body: bytes) -> Answer:
        request = msgspec.json.decode(body, type=SubmitRequest)
        if request.kind not in (KIND.name, DOWNLOAD.name):
            return problem(422, "unknown_kind", "no kind", ("/kind", "unknown_kind", "there is no such kind"))
        same = next((task for task in self.v1.tasks.values() if request.key and task.key == request.key), None)
        if same is not None:
            if msgspec.json.decode(self.v1.payloads[same.number]) != request.payload:
                return problem(409, "key_conflict", f"key '{request.key}' belongs to a task with other content")
            return _ok(self.v1.view(same))
        fields = {name: getattr(request, name) for name in ("key", "name", "tags", "priority")}
        task = self.v1.add(kind=request.kind, payload=request.payload, **fields, queue=request.queue or "default")
        _, headers, raw = _ok(self.v1.view(task))
        return 202, {**headers, "Location": f"/v1/tasks/{task.id}"}, raw

    def _list(self, query: dict[str, str]) -> Answer:
        limit, before = int(query.get("limit", "50")), int(query.get("cursor", "1000000"))
        rows = [task for task in reversed(self.v1.tasks.values()) if task.number < before]
        for name in ("state", "kind", "queue", "key"):
            rows = [task for task in rows if name not in query or getattr(task, name) == query[name]]
        if "tag" in query:
            name, _, value = query["tag"].partition(":")
            rows = [task for task in rows if task.tags.get(name) == value]
        page, more = rows[:limit], len(rows) > limit
        views = [self.v1.view(task, single=False) for task in page]
        return _ok(TaskList(tasks=views, next_cursor=str(page[-1].number) if more else None))

    def _get(self, task: Task, query: dict[str, str]) -> Answer:
        seen = self.headers.get("If-None-Match")
        if "wait" in query and seen in (None, f'W/"{task.version}"'):
            task = self.v1.wait_for_change(task, float(query["wait"]))
        etag = f'W/"{task.version}"'
        if seen == etag:
            return 304, {"ETag": etag}, b""
        status, headers, raw = _ok(self.v1.view(task))
        return status, {**headers, "ETag": etag}, raw

    def _files(self, task: Task, name: str | None) -> Answer:
        if name is None:
            return _ok(FileList(files=self.v1.files.get(task.number, [])))
        content = self.v1.contents.get(name)
        if content is None:
            return problem(404, "not_found", "there is no such file")
        return 200, {"Content-Type": "application/octet-stream"}, content

    def _act(self, task: Task, action: str, body: bytes) -> Answer:
        if action == "cancel" and task.state is State.RUNNING:
            asked = datetime.now(UTC)
            reason = msgspec.json.decode(body).get("reason")
            task = self.v1.change(task.number, cancel_requested_at=asked, cancel_reason=reason)
            return 202, {}, msgspec.json.encode(self.v1.view(task))
        events = {"cancel": EventName.CANCELLED, "retry": EventName.RETRIED}
        events |= {"hold": EventName.HELD, "release": EventName.RELEASED}
        try:
            state = next_state(task.state, events[action])
        except IllegalTransition:
            return problem(409, "illegal_transition", f"task {task.number} has ended: it is {task.state}")
        return _ok(self.v1.view(self.v1.change(task.number, state=state, held=action == "hold")))


def _ok(value: Any) -> Answer:
    return 200, {}, msgspec.json.encode(value)


def later(delay_s: float, act: Any) -> threading.Timer:
    """Do `act` a moment later, as a task moves while somebody waits for it."""
    timer = threading.Timer(delay_s, act)
    timer.daemon = True
    timer.start()
    return timer


def free_port() -> int:
    """Find a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
