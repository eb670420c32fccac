"""kill -9 of a real server: nothing acknowledged is lost, nothing runs on, nothing is burnt."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from clean import assert_clean
from handlers_zoo import ZOO
from killing import APP, Load, all_tasks, at_home, let_all_end, read_handlers, reconcile, summary
from live import LiveServer, is_alive, living, running, until
from rotation import todays_turn

KILLS = int(os.environ.get("KILLS", "1000"))
"""How many kills the long proof makes, in rounds of their own data directories, because each kill ends with a check of
the whole store."""
KILLS_FROM = int(os.environ.get("KILLS_FROM", "0"))
"""Where to go on with a proof that was broken off: rounds are seeded by the number of their first kill."""
ROUND = 25
READY_S = 2.0
SLACK = 3.0
"""Tests share two cores with others; the promise itself is measured by `make prove`."""


class Round:
    """A server under load that is killed, or loses workers, again and again; and what must hold after each time."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.server = LiveServer(directory.resolve(), "tasks:app", WINDLASS_LOG_LEVEL="warning")
        self.starts_s: list[float] = []
        self._dice = random.Random(seed)
        self._seed = seed
        (directory / "tasks.py").write_text(APP)

    def run(self, kills: int) -> str:
        """Kill so often, let everything end, hold it against the ledgers; say how it went."""
        server = self.server
        self._start()
        load = Load(server, self._seed)
        try:
            for _ in range(kills):
                self._kill()
        finally:
            sent = load.end()
        let_all_end(server)
        tasks = list(all_tasks(server))
        reconcile(sent, tasks, read_handlers(server.directory))
        assert server.stop() == 0
        assert_clean(server.directory / "data")
        ready_s = f"ready after {median(self.starts_s):.2f} s, {max(self.starts_s):.2f} s at most"
        return f"{summary(sent)}; {len(tasks)} tasks; {ready_s}"

    def _start(self) -> None:
        self.server.start()
        self.starts_s.append(self.server.ready_after_s)

    def _kill(self) -> None:
        """Kill the server, or one of its workers, at a moment of the dice's choice."""
        time.sleep(self._dice.uniform(0.0, 0.5))
        roll = self._dice.random()
        if roll < 0.15 and (workers := self.server.workers()):
            victim = self._dice.choice(workers)
            os.kill(victim, signal.SIGKILL)
            until(lambda: not is_alive(victim), "the worker is gone")
            return
        self._kill_server()
        if roll < 0.35:
            self.server.start(wait=False)
            time.sleep(self._dice.uniform(0.0, 0.8))
            self._kill_server()
        self._start()

    def _kill_server(self) -> None:
        self.server.kill()
        killed_at = time.monotonic()
        until(lambda: not at_home(self.server.directory), "no process is left", timeout_s=2.0)
        assert time.monotonic() - killed_at < 2.0
        if (self.server.directory / "data" / "windlass.db").exists():
            assert_clean(self.server.directory / "data")

    def close(self) -> None:
        """Leave no server behind, whatever has failed."""
        if self.server.process is not None and self.server.process.poll() is None:
            self.server.process.kill()
            self.server.process.wait()


def kill_again_and_again(directory: Path, *, seed: int, kills: int) -> Round:
    one = Round(directory, seed)
    try:
        print(f"kills {seed}-{seed + kills - 1}: {one.run(kills)}", flush=True)
    finally:
        one.close()
    return one


@pytest.mark.timeout(120)
def test_nothing_is_lost_and_nothing_done_twice_over_five_kills(tmp_path: Path):
    one = kill_again_and_again(tmp_path, seed=todays_turn(), kills=5)
    assert median(one.starts_s) <= READY_S * SLACK


@pytest.mark.prove
@pytest.mark.timeout(7_200)
def test_nothing_is_lost_and_nothing_done_twice_over_a_thousand_kills(tmp_path: Path):
    began_at = time.monotonic()
    for first in range(KILLS_FROM, KILLS, ROUND):
        directory = tmp_path / str(first)
        directory.mkdir()
        one = kill_again_and_again(directory, seed=first, kills=min(ROUND, KILLS - first))
        assert median(one.starts_s) <= READY_S
        shutil.rmtree(directory)
        print(f"  {time.monotonic() - began_at:.0f} s; to go on from here: KILLS_FROM={first + ROUND}", flush=True)


@pytest.mark.timeout(60)
def test_what_handlers_have_spawned_dies_with_the_server(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    with running(tmp_path, "tasks:app") as server:
        task = server.submit("spawns")
        spawned = until(lambda: server.get(task)["progress"], "the handler has spawned")
        groups = server.workers()
        server.kill()
        until(lambda: not is_alive(int(spawned["done"])), "the grandchild is gone", timeout_s=2.0)
        assert living(groups) == []
        server.start()
        again = until(lambda: _running_again(server, task), "the task runs again")
        assert (again["attempt"], again["charged"]) == (2, 1)


def _running_again(server: LiveServer, task: dict[str, Any]) -> dict[str, Any] | None:
    now = server.get(task)
    return now if now["state"] == "running" and now["attempt"] == 2 else None


@pytest.mark.timeout(60)
def test_an_attempt_goes_on_from_its_checkpoint_after_a_kill(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    with running(tmp_path, "tasks:app") as server:
        task = server.submit("step")
        until(lambda: server.get(task)["progress"], "the first step is saved")
        server.kill()
        (tmp_path / "data" / "files" / task["id"]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "files" / task["id"] / "go").touch()
        server.start()
        ended = server.wait(task)
        assert (ended["state"], ended["result"]) == ("succeeded", {"begun_at": 1})


def _told_of(server: LiveServer, task: dict[str, Any]) -> list[tuple[str, int]]:
    return [(line["event"], line["attempt"]) for line in server.lines() if line.get("task_id") == task["id"]]


@pytest.mark.timeout(60)
def test_a_drain_hands_running_work_back_and_the_next_start_goes_on(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    with running(tmp_path, "tasks:app", WINDLASS_STOP_S="1") as server:
        task = server.submit("sleep", {"seconds": 2.0})
        server.wait(task, "running")
        processes = server.workers()
        assert server.stop() == 0
        assert not any(is_alive(pid) for pid in processes)
        server.start()
        ended = server.wait(task)
        assert (ended["state"], ended["attempt"], ended["charged"]) == ("succeeded", 2, 1)
        story = [
            ("task.submitted", 0),
            ("task.started", 1),
            ("attempt.stopping", 1),
            ("task.interrupted", 1),
            ("task.started", 2),
            ("task.succeeded", 2),
        ]
        until(lambda: _told_of(server, task)[len(story) - 1 :], "all of it is told")  # lines come after answers
        assert _told_of(server, task) == story
