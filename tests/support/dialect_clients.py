"""Clients of the five dialects, each as the service before windlass had them.

Know nothing but the contract: no word of it is taken from the code under test.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from dialect_asking import NAME, SILENCE, DialectClient, Sent, check_list
from dialect_shapes import (
    CheckResultCreated,
    CheckResultView,
    DownloadsAccepted,
    DownloadsView,
    EnqueueAccepted,
    Problem,
    TasksOfKey,
    TasktrackChanged,
    TasktrackCreated,
    TasktrackItem,
    TasktrackView,
    WorkmateCreated,
    WorkmateItem,
    WorkmateNoResult,
    WorkmateResult,
    WorkmateStatus,
)
from download_server import FileServer, serve
from download_server import status as only
from live import LiveServer

BURST: Final = 20
"""Messages that a client of `enqueue` sends in one go: more than its queue takes."""
UNKNOWN_ID: Final = "0192e4a0-0000-7000-8000-000000000001"


class WorkmateClient(DialectClient):
    """Starts work, watches it, asks for its result, stops it."""

    dialect = "workmate"
    last_words = ("completed", "failed by io bound")

    @property
    def steps(self) -> Mapping[Callable[[], None], int]:
        return {self.add: 10, self.look: 10, self.drop: 2, self.list: 1, self.err: 1}

    def add(self) -> None:
        sent = self.new()
        answer = self.submit(sent, "/task", taken={201: WorkmateCreated})
        if answer.status == 201:
            sent.ref = str(answer.said.id)

    def word_of(self, sent: Sent) -> str | None:
        now = self.ask("GET", f"/task/{sent.ref}/status", due={200: WorkmateStatus})
        if now.status != 200:
            return None
        due = {200: WorkmateResult, 202: WorkmateNoResult}
        if now.said.status in self.last_words:
            del due[202 if now.said.status == "completed" else 200]
        self.ask("GET", f"/task/{sent.ref}/result", due=due)
        return now.said.status

    def drop(self) -> None:
        if sent := self.known():
            self.delete(sent, f"/task/{sent.ref}", again=f"/task/{sent.ref}/status")

    def list(self) -> None:
        answer = self.ask("GET", "/task", due={200: list[WorkmateItem]})
        if answer.status == 200:
            check_list(self.sent, [str(item.id) for item in answer.said])
            assert answer.said == sorted(answer.said, key=lambda item: item.created_at)
            assert all((item.result is None) == (item.status != "completed") for item in answer.said)

    def err(self) -> None:
        self.stray("GET", "/task/17/status", 400, "invalid id")
        self.stray("DELETE", f"/task/{UNKNOWN_ID}", 404, "task not found")


class CheckResultClient(DialectClient):
    """Has work begun, and asks for its result."""

    dialect = "check_result"
    last_words = ("completed", "failed")

    @property
    def steps(self) -> Mapping[Callable[[], None], int]:
        return {self.add: 10, self.look: 10, self.err: 1}

    def add(self) -> None:
        sent = self.new(task=NAME)
        answer = self.submit(sent, "/task/create", taken={201: CheckResultCreated})
        if answer.status == 201:
            sent.ref = str(answer.said.task_id)

    def word_of(self, sent: Sent) -> str | None:
        now = self.ask("GET", f"/task/check-result?task_id={sent.ref}", due={200: CheckResultView})
        if now.status != 200:
            return None
        assert (now.said.Task, str(now.said.Task_identification)) == (sent.name, sent.ref)
        assert (now.said.Result == "") == (now.said.Status == "in progress"), now.said
        return now.said.Status

    def err(self) -> None:
        self.stray("POST", "/task/create", 400, "Invalid task data", {"task": ""})
        self.stray("GET", f"/task/check-result?task_id={UNKNOWN_ID}", 404, "Task not found")


class TasktrackClient(DialectClient):
    """Keeps a list of named tasks, under either of the two roots."""

    dialect = "tasktrack"
    last_words = ("done", "failed")

    @property
    def steps(self) -> Mapping[Callable[[], None], int]:
        return {self.add: 10, self.look: 10, self.edit: 3, self.drop: 2, self.list: 1, self.err: 1}

    @property
    def root(self) -> str:
        return self.dice.choice(("/api/task", "/api/task/task"))

    def add(self) -> None:
        last = max((sent.ref for sent in self.sent if sent.ref is not None), default=0)
        sent = self.new(name=NAME, description="as it was")
        sent.descriptions = {"as it was"}
        answer = self.submit(sent, self.root, taken={201: TasktrackCreated})
        if answer.status == 201:
            sent.ref = answer.said.task_id
            assert sent.ref > last, f"{sent} came after {last}"

    def word_of(self, sent: Sent) -> str | None:
        now = self.ask("GET", f"{self.root}/{sent.ref}", due={200: TasktrackView})
        if now.status != 200:
            return None
        assert (now.said.id, now.said.name) == (sent.ref, sent.name)
        assert now.said.description in sent.descriptions, f"{now.said}: {sent}"
        return now.said.status

    def edit(self) -> None:
        if sent := self.known():
            changed = f"changed {self.dice.random()}"
            body = {"description": changed}
            answer = self.ask("PATCH", f"{self.root}/{sent.ref}", body, due={200: TasktrackChanged})
            if answer.status == 200:
                assert answer.said.task_id == sent.ref
                sent.descriptions = {changed}
            elif answer.status == SILENCE:
                sent.descriptions = {changed, *sent.descriptions}

    def drop(self) -> None:
        if sent := self.known():
            self.delete(sent, f"{self.root}/{sent.ref}", again=f"{self.root}/{sent.ref}")

    def list(self) -> None:
        answer = self.ask("GET", self.root, due={200: list[TasktrackItem]})
        if answer.status == 200:
            ids = [item.id for item in answer.said]
            check_list(self.sent, ids)
            assert ids == sorted(ids)

    def err(self) -> None:
        self.stray("POST", self.root, 400, body={"name": ""})
        self.stray("GET", f"{self.root}/0", 400)
        self.stray("GET", f"{self.root}/999999999", 404)


class EnqueueClient(DialectClient):
    """Queues messages in bursts that the queue has no room for, and sends some of them again."""

    dialect = "enqueue"
    last_words = ("succeeded", "failed")

    @property
    def steps(self) -> Mapping[Callable[[], None], int]:
        return {self.burst: 1, self.add: 5, self.look: 5, self.again: 10, self.other: 1, self.err: 1}

    def add(self) -> None:
        self.send(self.new(id=NAME, payload="hello", max_retries=self.dice.randint(0, 3)))

    def send(self, sent: Sent) -> None:
        answer = self.submit(sent, "/enqueue", taken={202: EnqueueAccepted})
        if answer.status == 202:
            sent.ref = sent.name
        elif answer.status == 503 and sent.outcome == "not":
            found = self._tasks(sent)
            assert not found, f"refused {sent}, but there is {found}"

    def burst(self) -> None:
        for _ in range(BURST):
            self.add()

    def again(self) -> None:
        """Send a message once more, whatever was said of it: this time it is taken, or was before."""
        if self.sent:
            self.send(self.dice.choice(self.sent[-40:]))

    def word_of(self, sent: Sent) -> str | None:
        found = self._tasks(sent)
        if found is None:
            return None
        assert len(found) == 1, f"{sent}, but there is {found}"
        return found[0]["state"]

    def other(self) -> None:
        """Send another message under an id that is taken."""
        if sent := self.known():
            self.stray("POST", "/enqueue", 409, body={**sent.body, "payload": "goodbye"})

    def err(self) -> None:
        self.ask("GET", "/healthz", due={200: b"OK"})
        self.stray("POST", "/enqueue", 400, body={"payload": "hello"})

    def _tasks(self, sent: Sent) -> list[dict[str, Any]] | None:
        answer = self.ask("GET", f"/v1/tasks?key={sent.name}", due={200: TasksOfKey, 503: Problem})
        return answer.said.tasks if answer.status == 200 else None


class DownloadsClient(DialectClient):
    """Has files fetched from a shelf, of which some are slow to come and some are not there.

    The urls of a task are its own; `contents` has what lies behind each, None where nothing does.
    """

    dialect = "downloads"
    last_words = ("completed", "completed_with_errors", "error")

    def __init__(self, server: LiveServer, seed: int, shelf: FileServer) -> None:
        super().__init__(server, seed)
        self.contents: dict[str, bytes | None] = {}
        self._shelf = shelf

    @property
    def steps(self) -> Mapping[Callable[[], None], int]:
        return {self.add: 5, self.look: 10, self.err: 1}

    def add(self) -> None:
        sent = self.new()
        urls = [self._put(f"/{sent.name}/{number}/file.bin") for number in range(self.dice.randint(1, 3))]
        sent.body = {"urls": ["", *(f" {url} " for url in urls), "  "]}
        answer = self.submit(sent, "/tasks", taken={202: DownloadsAccepted})
        if answer.status == 202:
            sent.ref = str(answer.said.task_id)

    def word_of(self, sent: Sent) -> str | None:
        now = self.ask("GET", f"/tasks/{sent.ref}", due={200: DownloadsView})
        if now.status != 200:
            return None
        said: DownloadsView = now.said
        states = [file.status for file in said.files]
        assert [file.url for file in said.files] == urls_of(sent), said
        assert (said.completed, said.total) == (states.count("completed"), len(states)), said
        assert all((file.status == "error") == bool(file.error) for file in said.files), said
        if said.status in self.last_words:
            assert states == self.states_of(sent), said
            assert said.status == whole_of(states), said
        return said.status

    def states_of(self, sent: Sent) -> list[str]:
        """Say how each of its files has to end."""
        return ["error" if self.contents[url] is None else "completed" for url in urls_of(sent)]

    def fetched(self, sent: Sent) -> Counter[str]:
        """Count the requests for each of its files that have come to the shelf."""
        return Counter(seen.path for seen in self._shelf.requests if seen.path.startswith(f"/{sent.name}/"))

    def err(self) -> None:
        self.stray("POST", "/tasks", 400, body={"urls": [" "]})
        self.stray("GET", f"/tasks/{UNKNOWN_ID}", 404)

    def _put(self, path: str) -> str:
        """Put something behind a path, or nothing; give its url."""
        roll = self.dice.random()
        content = None if roll < 0.2 else self.dice.randbytes(30_000)
        answer = only(404) if content is None else serve(content, gate=Slow() if roll < 0.6 else None)
        url = self._shelf.on(path, answer)
        self.contents[url] = content
        return url


class Slow(threading.Event):
    """A gate that opens by itself soon: long enough for a server to be ended in between."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.4)


def urls_of(sent: Sent) -> list[str]:
    """Give what is left of the urls when they are trimmed."""
    return [url.strip() for url in sent.body["urls"] if url.strip()]


def whole_of(states: list[str]) -> str:
    """Say how a task has ended whose files have ended so."""
    failed = states.count("error")
    return "error" if failed == len(states) else "completed_with_errors" if failed else "completed"
