"""What a server that is killed again and again is held against: a ledger of its clients and one of its handlers.

Kills nobody, and trusts nothing the server says but its acknowledgements.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import urllib3
from live import LiveServer, is_alive, until

APP = """
import asyncio, os, time
import windlass

app = windlass.App(version="1")
LEDGER = os.open("handlers.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

def note(ctx, what):
    os.write(LEDGER, f"{what} {ctx.task_id} {ctx.attempt} {ctx.token} {time.monotonic()}\\n".encode())

@app.task()
async def quick(*, ctx: windlass.AsyncContext) -> int:
    note(ctx, "begin")
    note(ctx, "end")
    return ctx.attempt

@app.task()
async def steady(steps: int, *, ctx: windlass.AsyncContext) -> int:
    note(ctx, "begin")
    for _ in range(steps):
        await asyncio.sleep(0.02)
        note(ctx, "tick")
    note(ctx, "end")
    return ctx.attempt

@app.task()
def alone(steps: int, *, ctx: windlass.Context) -> int:
    note(ctx, "begin")
    for _ in range(steps):
        time.sleep(0.02)
        note(ctx, "tick")
    note(ctx, "end")
    return ctx.attempt

@app.task(max_attempts=3, retry=windlass.RetryPolicy(base_s=0.05, cap_s=0.1))
async def flaky(*, ctx: windlass.AsyncContext) -> int:
    note(ctx, "begin")
    if ctx.attempt < 3:
        note(ctx, "raise")
        raise ValueError("not yet")
    note(ctx, "end")
    return ctx.attempt

@app.task()
async def saves(steps: int, *, ctx: windlass.AsyncContext) -> int:
    note(ctx, "begin")
    done = ctx.checkpoint or 0
    note(ctx, f"from:{done}")
    for step in range(done, steps):
        await asyncio.sleep(0.02)
        await ctx.save(step + 1)
        note(ctx, f"saved:{step + 1}")
    note(ctx, "end")
    return ctx.attempt
"""
"""The app that writes the ledger of handlers, into the directory it runs in."""

HANDLERS = "handlers.ledger"
WORK: tuple[tuple[str, dict[str, Any]], ...] = (
    ("quick", {}),
    ("steady", {"steps": 5}),
    ("alone", {"steps": 5}),
    ("flaky", {}),
    ("saves", {"steps": 5}),
)
THREADS = 4
PAUSE_S = 0.04
"""Between two requests of a thread: more than the server gets done would only make its queue long."""
SENT_AGAIN, CANCELLED = 0.5, 0.05
"""Shares: of the submissions whose answer did not come, and of those that were acknowledged."""


class Sent(msgspec.Struct):
    """A submission: noted before it is sent, and what came of it."""

    key: str
    kind: str
    payload: dict[str, Any]
    id: str | None = None
    may_be_stored: bool = False
    """A request for it was sent whose answer never came."""
    asked_to_cancel: bool = False
    is_cancelled: bool = False

    @property
    def outcome(self) -> Literal["ok", "not", "unknown"]:
        """What the client knows of it."""
        if self.id is not None:
            return "ok"
        return "unknown" if self.may_be_stored else "not"


class Client:
    """One who submits and cancels, and notes what comes of it, also when nobody answers."""

    def __init__(self, server: LiveServer, *, may_be_unknown: bool = False) -> None:
        self._may_be_unknown = may_be_unknown
        self.sent: list[Sent] = []
        self.problems: list[str] = []
        """Answers that a submission must never get."""
        self._url = server.url
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(5))

    def new(self, key: str, kind: str, payload: dict[str, Any]) -> Sent:
        """Note that something is going to be sent, and send it."""
        sent = Sent(key, kind, payload)
        self.sent.append(sent)
        self.submit(sent)
        return sent

    def submit(self, sent: Sent) -> None:
        """Send it, for the first time or again."""
        try:
            answer = self._ask("/v1/tasks", {"kind": sent.kind, "payload": sent.payload, "key": sent.key})
        except urllib3.exceptions.NewConnectionError:
            return  # nobody was there to take it
        if answer is None:
            sent.may_be_stored = True
        elif answer[0] in (200, 202):
            sent.id = answer[1]["id"]
        elif answer[0] == 503 and answer[1].get("stored") == "unknown" and self._may_be_unknown:
            sent.may_be_stored = True
        elif answer[0] != 503 or answer[1].get("stored") != "no":
            self.problems.append(f"{sent}: {answer}")

    def cancel(self, sent: Sent) -> None:
        """Ask for its task to be cancelled."""
        sent.asked_to_cancel = True
        with contextlib.suppress(urllib3.exceptions.NewConnectionError):
            answer = self._ask(f"/v1/tasks/{sent.id}/cancel", {})
            sent.is_cancelled = answer is not None and answer[0] in (200, 202)

    def _ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Send a request; None when no answer came, which says nothing."""
        try:
            answer = self._pool.request("POST", self._url + path, json=body)
            return answer.status, answer.json()
        except urllib3.exceptions.NewConnectionError:
            raise
        except urllib3.exceptions.HTTPError:
            return None


class Load:
    """Clients that submit without pause, through every death of the server. A submission of which nothing is known may
    be sent again under its key, and some of what was stored is cancelled.

    `others` share the server's store: each client keeps to one of them all, and may be told that an outcome is unknown.
    """

    def __init__(self, server: LiveServer, seed: int, *others: LiveServer) -> None:
        self._stop = threading.Event()
        places = itertools.islice(itertools.cycle((server, *others)), max(THREADS, 1 + len(others)))
        self._clients = [Client(place, may_be_unknown=bool(others)) for place in places]
        self._threads = [
            threading.Thread(target=self._run, args=(client, seed * THREADS + number))
            for number, client in enumerate(self._clients)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def count(self) -> int:
        """How much was sent so far."""
        return sum(len(client.sent) for client in self._clients)

    def end(self) -> list[Sent]:
        """Send nothing more; give the ledger."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        problems = [problem for client in self._clients for problem in client.problems]
        assert not problems, problems[:3]
        return [sent for client in self._clients for sent in client.sent]

    def _run(self, client: Client, seed: int) -> None:
        dice = random.Random(seed)
        for number in itertools.count():
            if self._stop.wait(PAUSE_S):
                return
            sent = client.new(f"{seed}-{number}", *dice.choice(WORK))
            while sent.outcome == "unknown" and dice.random() < SENT_AGAIN and not self._stop.wait(PAUSE_S):
                client.submit(sent)
            if sent.id is not None and dice.random() < CANCELLED:
                client.cancel(sent)


class Begun(msgspec.Struct):
    """An attempt as its handler wrote it down. Instants are of the machine's monotonic clock."""

    token: str
    notes: list[str]
    began_at: float
    seen_at: float


def read_handlers(directory: Path) -> dict[str, dict[int, Begun]]:
    """Read the ledger of handlers: attempts by number, by task. The same attempt must not begin twice."""
    begun: dict[str, dict[int, Begun]] = {}
    for line in (directory / HANDLERS).read_text().splitlines():
        what, task, attempt, token, at = line.split()
        attempts = begun.setdefault(task, {})
        if what == "begin":
            assert int(attempt) not in attempts, f"attempt {attempt} of {task} has begun twice"
            attempts[int(attempt)] = Begun(token, [what], float(at), float(at))
        else:
            known = attempts[int(attempt)]
            assert known.token == token, f"attempt {attempt} of {task} has two tokens"
            known.notes.append(what)
            known.seen_at = float(at)
    return begun


def all_tasks(server: LiveServer) -> Iterator[dict[str, Any]]:
    """Give every task there is, each read by itself, with its result."""
    cursor = ""
    while cursor is not None:
        status, page = server.request("GET", f"/v1/tasks?limit=500{cursor and f'&cursor={cursor}'}")
        assert status == 200, page
        yield from map(server.get, page["tasks"])
        cursor = page["next_cursor"]


def reconcile(
    sent: Iterable[Sent],
    tasks: Iterable[dict[str, Any]],
    handlers: dict[str, dict[int, Begun]],
    *,
    may_overlap: bool = False,
) -> None:
    """Hold all tasks, which have ended, against both ledgers: nothing lost, nothing twice, nothing out of nowhere.

    `may_overlap`: the handler of a server that stood still could run on while another server had taken its task over.
    """
    by_key: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        by_key.setdefault(task["key"], []).append(task)
    for one in sent:
        found = by_key.pop(one.key, [])
        match one.outcome:
            case "ok":
                assert [task["id"] for task in found] == [one.id], f"acknowledged {one}, but there is {found}"
            case "not":
                assert not found, f"refused {one}, but there is {found}"
            case "unknown":
                assert len(found) <= 1, f"sent once {one}, but there is {found}"
        for task in found:
            begun = handlers.pop(task["id"], {})
            _check_task(one, task, begun)
            if not may_overlap:
                _check_order(task, begun)
    assert not by_key, f"nobody has sent {by_key}"
    assert not handlers, f"ran, but is not there: {handlers}"


def _check_task(sent: Sent, task: dict[str, Any], begun: dict[int, Begun]) -> None:
    if sent.is_cancelled:
        assert task["state"] in ("cancelled", "succeeded"), task
    elif task["state"] == "failed":
        assert task["reason"] == "poison", task
    else:
        assert task["state"] == "succeeded" or (task["state"] == "cancelled" and sent.asked_to_cancel), task
    assert all(attempt <= task["attempt"] for attempt in begun), f"ran more often than it was started: {task}"
    assert len({one.token for one in begun.values()}) == len(begun), f"a token was given twice: {begun}"
    if task["state"] == "succeeded":
        assert task["result"] == task["attempt"], f"the result of another attempt: {task}"
        assert begun[task["attempt"]].notes[-1] == "end", f"succeeded, but has not run to its end: {task}"


def _check_order(task: dict[str, Any], begun: dict[int, Begun]) -> None:
    """See that no attempt began while an earlier one still gave signs of life, and that none forgot what was saved."""
    seen_at, saved = 0.0, 0
    for attempt, one in sorted(begun.items()):
        assert one.began_at > seen_at, f"attempt {attempt} of {task['id']} began while an earlier one ran"
        seen_at = one.seen_at
        for note in one.notes:
            what, _, value = note.partition(":")
            if what == "from":
                assert int(value) >= saved, f"attempt {attempt} of {task['id']} does not know what was saved"
            elif what == "saved":
                saved = int(value)


def let_all_end(server: LiveServer) -> None:
    """Wait until every task has ended; release, as an operator does, what was interrupted ten times in a row."""

    def have_ended() -> bool:
        for task in server.request("GET", "/v1/tasks?waiting=hold&limit=500")[1]["tasks"]:
            server.request("POST", f"/v1/tasks/{task['id']}/release", {})
        # RACE: both states at one moment; a task that is retried goes from the one to the other and back.
        tasks = server.request("GET", "/v1/stats")[1]["tasks"]
        return tasks["queued"] == tasks["running"] == 0

    until(have_ended, "all tasks have ended", timeout_s=60.0, log=server.log)


def at_home(directory: Path) -> list[int]:
    """Name the living processes whose working directory this is."""
    found: list[int] = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "cwd").readlink() == directory and is_alive(int(process.name)):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def summary(sent: list[Sent]) -> str:
    """Count what was sent by what is known of it."""
    counted = Counter(one.outcome for one in sent)
    return f"{len(sent)} sent: {counted['ok']} acknowledged, {counted['not']} refused, {counted['unknown']} unanswered"
