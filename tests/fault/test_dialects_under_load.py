"""All five dialects at once on one server, under load, through graceful stops and kills: nothing acknowledged is lost,
everything ends by the words of its dialect, and nothing that runs once at most runs twice.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path

import pytest
from clean import assert_clean
from dialect_asking import DialectClient
from dialect_clients import CheckResultClient, DownloadsClient, EnqueueClient, TasktrackClient, WorkmateClient
from dialect_reckoning import reckon
from download_server import FileServer
from killing import at_home, let_all_end
from live import PATIENCE_S, LiveServer, until

from windlass.core.query import TaskQuery
from windlass.core.state import State
from windlass.core.task import Task
from windlass.engine.clock import SystemIds
from windlass.store.open import take_snapshot

SECONDS = float(os.environ.get("DIALECTS_SECONDS", "600"))
"""How long the long proof keeps its servers under load, half of it with work that fails."""
LONG_LIFE_S, SHORT_LIFE_S = 8.0, 2.0
"""How long a server is under load before it is ended."""
STIR = 5
"""Answers that each client must have got before a server is ended."""
CLIENTS = 2
"""Of each dialect."""
NONE: frozenset[str] = frozenset()
SOME, ALL = frozenset({"tasktrack", "enqueue"}), frozenset({"workmate", "tasktrack", "enqueue"})
"""Dialects whose work fails at times. That of `check_result` never does: what has failed there was cut off."""
FAILURE_RATE = "0.3"
SETTINGS = {
    "WINDLASS_DIALECTS__WORKMATE__DURATION_S": "0.05,0.3",
    "WINDLASS_DIALECTS__TASKTRACK__DURATION_S": "0.05,0.3",
    "WINDLASS_DIALECTS__CHECK_RESULT__DURATION_S": "0.2,3",
    "WINDLASS_DIALECTS__ENQUEUE__DURATION_S": "0.1,0.3",
    "WINDLASS_STOP_S": "2",
    "WINDLASS_LOG_LEVEL": "warning",
    "WORKERS": "2",
    "QUEUE_SIZE": "8",
}
"""Work that is soon done, but for `check_result`, of which something always runs that outlasts a stop."""


class Load:
    """Clients of all dialects that take one step after the other, each on a thread of its own."""

    def __init__(self, clients: Iterable[DialectClient]) -> None:
        self._stop = threading.Event()
        self._faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in clients]
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raise what the first client has found wrong."""
        if self._faults:
            raise self._faults[0]

    def end(self) -> None:
        """Have no more steps taken. Idempotent."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: DialectClient) -> None:
        try:
            while not self._stop.wait(client.pause_s):
                client.step()
        except BaseException as fault:  # noqa: BLE001 raised again by `check`
            self._faults.append(fault)


class Trial:
    """A server that is ended again and again while clients of all dialects speak to it.

    `cut` has the tasks of `check_result` that ran when it was ended.
    """

    def __init__(self, directory: Path, shelf: FileServer, *, failing: frozenset[str], seed: int) -> None:
        chances = {name: FAILURE_RATE if name in failing else "0" for name in ALL}
        rates = {f"WINDLASS_DIALECTS__{name.upper()}__FAILURE_RATE": rate for name, rate in chances.items()}
        self._failing = failing
        self.server = server = LiveServer(directory.resolve(), **SETTINGS, **rates)
        self.clients: list[DialectClient] = []
        for number in range(seed * CLIENTS, (seed + 1) * CLIENTS):
            self.clients.append(DownloadsClient(server, number, shelf))
            plain = (WorkmateClient, CheckResultClient, TasktrackClient, EnqueueClient)
            self.clients.extend(client(server, number) for client in plain)
        self.cut: set[str] = set()

    def run(self, ends: Sequence[str], *, life_s: float) -> None:
        """End the server so often under load, let all work end, and reckon."""
        server = self.server.start()
        load = Load(self.clients)
        try:
            for end in ends:
                self._let_live(load, life_s)
                if end == "kill":
                    self._kill()
                else:
                    self._stop()
                server.start()
            self._let_live(load, life_s)
        finally:
            load.end()
        load.check()
        let_all_end(server)
        reckon(server, self.clients, cut=self.cut, ends=len(ends), failing=self._failing)
        assert self.cut, "no task of check_result was cut off"
        assert sum(c.answers[503] for c in self.clients if c.dialect == "enqueue"), "its queue was never full"
        self._stop()
        assert_clean(server.directory / "data")

    def _let_live(self, load: Load, life_s: float) -> None:
        before = [client.answered for client in self.clients]
        end_at = time.monotonic() + life_s

        def has_lived() -> bool:
            load.check()
            stirred = (now.answered - then >= STIR for now, then in zip(self.clients, before, strict=True))
            return time.monotonic() >= end_at and all(stirred)

        until(has_lived, "all clients have been answered", timeout_s=life_s + PATIENCE_S, log=self.server.log)
        until(self._is_at_work, "a task of check_result runs", log=self.server.log)

    def _is_at_work(self) -> bool:
        status, page = self.server.request("GET", "/v1/tasks?queue=check_result&state=running")
        return status == 200 and bool(page["tasks"])

    def _kill(self) -> None:
        self.server.kill()
        until(lambda: not at_home(self.server.directory), "no process is left")
        self.cut |= {task.id for task in self._stored(State.RUNNING) if task.queue == "check_result"}

    def _stop(self) -> None:
        asked_at = datetime.now(UTC)
        assert self.server.stop() == 0, self.server.tail()
        assert at_home(self.server.directory) == []
        assert self._stored(State.RUNNING) == []
        failed = [task for task in self._stored(State.FAILED) if task.queue == "check_result"]
        self.cut |= {task.id for task in failed if task.finished_at is not None and task.finished_at >= asked_at}

    def _stored(self, state: State) -> list[Task]:
        """Read all tasks in a state from the store that the server has left."""
        return asyncio.run(_read(self.server.directory / "data", state))


async def _read(data: Path, state: State) -> list[Task]:
    tasks: list[Task] = []
    snapshot = await take_snapshot("sqlite", data=data, ids=SystemIds())
    try:
        page = await snapshot.tasks.page(TaskQuery(state=state, limit=500))
        tasks += page.tasks
        while page.after is not None:
            page = await snapshot.tasks.page(TaskQuery(state=state, limit=500, after=page.after))
            tasks += page.tasks
    finally:
        await snapshot.close()
    return tasks


def go_through(directory: Path, ends: Sequence[str], *, life_s: float, failing: frozenset[str], seed: int) -> None:
    """Put a new server through `ends`, and say how it went."""
    with FileServer() as shelf:
        trial = Trial(directory, shelf, failing=failing, seed=seed)
        try:
            trial.run(ends, life_s=life_s)
        finally:
            if trial.server.process is not None and trial.server.process.poll() is None:
                trial.server.kill()
    told: Counter[str] = Counter()
    for client in trial.clients:
        told.update(f"{client.dialect} {sent.outcome}" for sent in client.sent)
    counts = ", ".join(f"{what}: {count}" for what, count in sorted(told.items()))
    print(f"\n{len(ends)} ends, {len(trial.cut)} tasks of check_result cut off; {counts}", flush=True)


@pytest.mark.timeout(180)
def test_five_dialects_at_once_lose_nothing_through_a_kill_and_a_stop(tmp_path: Path):
    go_through(tmp_path, ("kill", "stop"), life_s=SHORT_LIFE_S, failing=SOME, seed=1)


@pytest.mark.prove
@pytest.mark.timeout(2 * SECONDS + 600)
@pytest.mark.parametrize("failing", [NONE, ALL], ids=["work that succeeds", "work that fails at times"])
def test_five_dialects_at_once_lose_nothing_for_minutes(tmp_path: Path, failing: frozenset[str]):
    ends = tuple(islice(cycle(("kill", "stop")), max(2, int(SECONDS / 2 / LONG_LIFE_S))))
    go_through(tmp_path, ends, life_s=LONG_LIFE_S, failing=failing, seed=2)
