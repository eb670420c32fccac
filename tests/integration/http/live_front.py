"""A whole server as a process of its own, on a store that a test names, and the client's end of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from live import LiveServer, running, until
from stores import fresh_store

LATER = "1h"
"""A delay that no test outlasts: the task stays queued."""


class Answer(NamedTuple):
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def faults(self) -> list[tuple[str, str]]:
        return [(fault["pointer"], fault["code"]) for fault in self.json["errors"]]


class Live:
    """What a test asks of a server."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send one request; data as JSON, bytes as they are. Headers: underscores for hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = msgspec.json.encode(body)
            sent = {"Content-Type": "application/json", **sent}
        answer = self.server.pool.request(method, self.server.url + path, body=body, headers=sent)
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)

    def submit(self, **fields: Any) -> Any:
        """Submit a task that stays queued, or what `fields` say instead."""
        answer = self.ask("POST", "/v1/tasks", {"kind": "simulate", "delay": LATER, **fields})
        assert answer.status in (200, 202), answer
        return answer.json

    def submit_many(self, count: int, **fields: Any) -> list[Any]:
        """Submit tasks that stay queued, in one batch."""
        items = [{"kind": "simulate", "delay": LATER, **fields}] * count
        answer = self.ask("POST", "/v1/tasks/batch", {"tasks": items})
        assert answer.status == 202, answer
        return answer.json["tasks"]

    def end(self, **fields: Any) -> Any:
        """Submit a task and see it end."""
        task = self.submit(**{"delay": 0, "payload": {"duration_s": 0}, **fields})
        return until(lambda: self._ended(task["id"]), "the task has ended", log=self.server.log)

    def _ended(self, ref: str) -> Any:
        task = self.ask("GET", f"/v1/tasks/{ref}?wait=5").json
        return task if task["finished_at"] is not None else None

    def run(self, **fields: Any) -> Any:
        """Submit a task and see it run, for longer than any test."""
        task = self.submit(**{"delay": 0, "payload": {"duration_s": 600}, **fields})
        path = f"/v1/tasks/{task['id']}"
        until(lambda: self.ask("GET", path).json["state"] == "running", "the task runs", log=self.server.log)
        return self.ask("GET", path).json

    def list(self, query: str) -> list[Any]:
        """Read all pages of a list."""
        tasks: list[Any] = []
        path: str | None = f"/v1/tasks?{query}"
        while path is not None:
            answer = self.ask("GET", path)
            assert answer.status == 200, answer
            tasks += answer.json["tasks"]
            link = answer.headers.get("link")
            path = None if link is None else link.removeprefix("<").removesuffix('>; rel="next"')
            assert (path is None) == (answer.json["next_cursor"] is None)
        return tasks

    def numbers(self, query: str) -> Sequence[int]:
        return [task["number"] for task in self.list(query)]


@contextmanager
def live_on(store: str, directory: Path) -> Iterator[Live]:
    """Run a server on a new store."""
    with (
        fresh_store(store) as database,
        running(directory, database=database, WINDLASS_LOG_LEVEL="warning") as server,
    ):
        yield Live(server)
