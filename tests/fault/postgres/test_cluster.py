"""Three servers that share their work, whatever befalls them: nothing lost, nothing twice, nothing stuck."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from clean import assert_clean
from cluster import DATABASE, Cluster, cluster_on
from killing import Load, all_tasks, let_all_end, reconcile, summary
from live import until
from pg_messages import Message
from postgres_server import PostgresServer, postgres_of_its_own
from proxy import Act, pass_all
from rotation import todays_turn

LONG = {"WINDLASS_LEASE__TTL_S": "25", "WINDLASS_LEASE__MARGIN_S": "5"}
"""A lease that outlasts the mishap."""
TASKS = int(os.environ.get("TASKS", "20000"))
"""How many tasks the long proof sends through."""


def _let_befall(cluster: Cluster, *, seed: int, times: int = 0, tasks: int = 0) -> str:
    """Have things befall the servers under load, so often or until so much was sent, and hold them to account."""
    dice, first = random.Random(seed), cluster.servers[0]
    load = Load(first, seed, *cluster.servers[1:])
    try:
        while len(cluster.done) < times or load.count < tasks:
            time.sleep(dice.uniform(0.0, 1.0))
            cluster.befall(dice)
    finally:
        sent = load.end()
    cluster.revive()
    let_all_end(first)
    reconcile(sent, all_tasks(first), cluster.handlers(), may_overlap=True)
    for server in cluster.servers:
        assert server.stop() == 0, server.tail()
    assert_clean(first.directory / "data", database=cluster.postgres.url(DATABASE))
    return f"{summary(sent)}; {len(cluster.done)} mishaps"


@pytest.mark.timeout(180)
def test_three_servers_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    with postgres_of_its_own() as postgres, cluster_on(postgres, tmp_path, size=3) as cluster:
        try:
            print(_let_befall(cluster, seed=todays_turn(), times=6))
        finally:
            print(cluster.tell())


@pytest.mark.prove
@pytest.mark.timeout(7_200)
def test_three_servers_lose_nothing_of_twenty_thousand_tasks(tmp_path: Path) -> None:
    with postgres_of_its_own() as postgres, cluster_on(postgres, tmp_path, size=3) as cluster:
        try:
            print(_let_befall(cluster, seed=todays_turn(), tasks=TASKS))
        finally:
            print(cluster.tell())


class OneTurn:
    """A script that swallows the answer to one turn's COMMIT, once armed, and lets nothing through from then on."""

    def __init__(self) -> None:
        self.is_armed = self.is_met = False
        self._is_turn = False

    def __call__(self, _: int, message: Message) -> Act:
        if self.is_met:
            return Act.CUT
        self._is_turn |= self.is_armed and message.says("windlass.turns")
        self.is_met = self._is_turn and message.raw.endswith(b"COMMIT\0")  # not where the turn begins READ COMMITTED
        return Act.SWALLOW if self.is_met else Act.PASS


@pytest.mark.timeout(120)
def test_a_claim_whose_answer_never_came_keeps_nothing_from_running(tmp_path: Path) -> None:
    """The task was started in the database under a lease that lives on, and its server has never heard of it."""
    with postgres_of_its_own() as postgres, cluster_on(postgres, tmp_path, size=1, **LONG) as cluster:
        (server,), (way,) = cluster.servers, cluster.ways
        for _ in range(5):  # the turn that is cut may be another one
            task = server.submit("quick", delay="2s")
            due_at = time.monotonic() + 1.9
            script = OneTurn()
            way.script = script
            time.sleep(max(0.0, due_at - time.monotonic()))
            script.is_armed = True
            until(lambda script=script: script.is_met, "a turn is cut")
            time.sleep(4.0)  # longer than a store asks what has become of its commit
            is_started = _attempts(postgres, task["id"]) == "1"
            way.script = pass_all
            until(server.is_ready, "the server is ready again", log=server.log)
            assert server.wait(task)["state"] == "succeeded", server.tail()
            if is_started:
                return
        pytest.fail("no claim was cut")


def _attempts(postgres: PostgresServer, ref: str) -> str:
    sql = f"""SELECT attempt FROM windlass.specs JOIN (SELECT number, attempt FROM windlass.tasks
    UNION ALL SELECT number, attempt FROM windlass.ended) AS known USING (number) WHERE id = '{ref}'"""
    return postgres.ask(sql, DATABASE)


@pytest.mark.timeout(60)
def test_a_silent_database_is_answered_with_503_in_time_and_attempts_are_fenced(tmp_path: Path) -> None:
    with postgres_of_its_own() as postgres, cluster_on(postgres, tmp_path, size=2) as cluster:
        server, other = cluster.servers
        until(lambda: server.is_ready() and other.is_ready(), "both are ready")
        running = server.submit("steady", {"steps": 3000})
        server.wait(running, "running")
        cluster.ways[0].blackhole()
        cluster.ways[1].blackhole()
        began_at = time.monotonic()
        status, problem = server.request("POST", "/v1/tasks", {"kind": "quick", "payload": {}})
        assert (status, problem["stored"]) in ((503, "no"), (503, "unknown")), problem
        assert time.monotonic() - began_at < 20.0
        until(lambda: not _ticks(cluster), "the handlers stand still", timeout_s=10.0)
        for way in cluster.ways:
            way.cut()
            way.pass_on()
        ended = server.request("POST", f"/v1/tasks/{running['id']}/cancel", {})
        assert ended[0] in (200, 202, 503)


def _ticks(cluster: Cluster) -> bool:
    """Whether any handler goes on writing into its ledger."""
    sizes = [(server.directory / "handlers.ledger").stat().st_size for server in cluster.servers]
    time.sleep(0.3)
    return sizes != [(server.directory / "handlers.ledger").stat().st_size for server in cluster.servers]
