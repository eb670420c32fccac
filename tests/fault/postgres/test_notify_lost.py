"""A listener whose connection falls silent: hints are lost, and work starts as soon as a server looks by itself."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cluster import Cluster, cluster_on
from live import LiveServer, until
from pg_messages import Message
from postgres_server import postgres_of_its_own
from proxy import Act

LOOKS_WITHIN_S = 7.5
"""A server with free slots looks for work at least so often."""
HINTED_S = 2.0
"""Long enough for work that somebody tells of to start, even on a busy machine."""


class Listeners:
    """A script that marks the connections of those who listen."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _: int, message: Message) -> Act:
        if not message.says("LISTEN"):
            return Act.PASS
        self.count += 1
        return Act.MARK


def _start_s(front: LiveServer) -> float:
    """Submit a task at the server that runs none, and give after how long it runs at another."""
    began_at = time.monotonic()
    task = front.submit("quick")
    until(lambda: front.get(task)["attempt"] == 1, "the task is started", timeout_s=20.0)
    took_s = time.monotonic() - began_at
    assert front.wait(task)["state"] == "succeeded"
    return took_s


def _have_one_take_and_one_run(cluster: Cluster) -> tuple[LiveServer, LiveServer]:
    front, back = cluster.servers
    assert front.stop() == 0
    front.settings["WINDLASS_WITH_WORKERS"] = "false"
    front.start()
    return front, back


@pytest.mark.timeout(120)
def test_work_is_found_by_looking_when_the_listener_hears_nothing_and_by_hints_when_it_hears_again(
    tmp_path: Path,
) -> None:
    with postgres_of_its_own() as postgres, cluster_on(postgres, tmp_path, size=2) as cluster:
        front, back = _have_one_take_and_one_run(cluster)
        way = cluster.ways[1]
        way.script = listeners = Listeners()
        way.cut()
        until(lambda: listeners.count, "the server listens anew", log=back.log)
        until(back.is_ready, "the server is ready", log=back.log)
        hinted = min(_start_s(front) for _ in range(3))
        assert hinted < HINTED_S
        way.blackhole(marked=True)
        unheard = [_start_s(front) for _ in range(2)]
        assert max(unheard) < LOOKS_WITHIN_S + HINTED_S
        assert back.is_ready()
        way.pass_on()
        until(lambda: _start_s(front) < HINTED_S, "hints are heard again")
        print(f"started after {hinted:.2f} s by a hint, {', '.join(f'{took_s:.2f}' for took_s in unheard)} s without")
