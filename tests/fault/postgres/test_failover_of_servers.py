"""Two servers on a primary and its synchronous standby: the primary is lost under load, and the standby takes over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clean import assert_clean
from cluster import DATABASE, Cluster, servers_at
from killing import HANDLERS, Load, all_tasks, let_all_end, reconcile, summary
from live import LiveServer, until
from postgres_server import PostgresServer
from rotation import todays_turn
from standby import Pair, primary_and_standby

RESUMED_S = 5.0
"""Within this of the promotion every server starts tasks again."""
SETTINGS = {"WINDLASS_POSTGRES__STATEMENT_S": "2"}
HANGS_S = 3.0
"""How long a primary that hangs is waited for before the standby is promoted: until what was sent to it is given up."""
FAILOVERS = 5
FLOW = 20
"""How much is submitted before and after what befalls the primary."""
UNDER_WAY = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'windlass %' AND state <> 'idle'"
STORED = "SELECT (SELECT count(*) FROM windlass.specs), (SELECT max(seq) FROM windlass.events)"


class Failover:
    """Servers that share a primary and its standby, and the load on them."""

    def __init__(self, pair: Pair, servers: list[LiveServer], load: Load) -> None:
        self.pair = pair
        self.servers = servers
        self.load = load
        self.resumed_after_s: list[float] = []

    def promote(self) -> None:
        """Have the standby take over, and every server start tasks from it."""
        self.pair.promote()
        promoted_at = time.monotonic()
        self.until_starting()
        self.resumed_after_s.append(time.monotonic() - promoted_at)
        assert self.resumed_after_s[-1] <= RESUMED_S

    def until_starting(self) -> None:
        """Wait until every server has started one more task."""
        since = time.monotonic()
        for server in self.servers:
            until(lambda server=server: _last_start(server) > since, "tasks are started", log=server.log)

    def kill(self) -> None:
        """Lose the primary as by a power cut, and fail over."""
        self._flow()
        self.pair.primary.stop("immediate")
        self.promote()
        self._flow()

    def hang(self) -> None:
        """Have the primary stand still, fail over, and have it go on as if it were one."""
        self._flow()
        with self.pair.primary.frozen():
            time.sleep(HANGS_S)
            self.promote()
        self._flow()

    def _flow(self) -> None:
        """Let the load go on for a while, at every server."""
        enough = self.load.count + FLOW
        until(lambda: self.load.count >= enough, "the load goes on")
        self.until_starting()

    def reckon(self, primary: PostgresServer) -> None:
        """Have everything end, and hold it against what the clients and the handlers say."""
        first = self.servers[0]
        sent = self.load.end()
        for server in self.servers:
            until(server.is_ready, "the server is ready", log=server.log)
        let_all_end(first)
        handlers = Cluster(primary, self.servers, []).handlers()
        reconcile(sent, all_tasks(first), handlers)
        assert_clean(first.directory / "data", database=primary.url(DATABASE))
        resumed = ", ".join(f"{seconds:.2f}" for seconds in self.resumed_after_s)
        print(f"{summary(sent)}; tasks started again {resumed} s after the promotion")


@contextlib.contextmanager
def failing_over(directory: Path, **settings: str) -> Iterator[Failover]:
    """Start a pair, two servers that know both, and the load."""
    with primary_and_standby() as pair:
        pair.primary.ask(f"CREATE DATABASE {DATABASE}")
        with servers_at([pair.url(DATABASE)] * 2, directory, **SETTINGS, **settings) as servers:
            load = Load(servers[0], todays_turn(), *servers[1:])
            try:
                yield Failover(pair, servers, load)
            finally:
                load.end()


def _last_start(server: LiveServer) -> float:
    """Give when a handler of a server began last, on the machine's monotonic clock."""
    ledger = server.directory / HANDLERS
    lines = ledger.read_text().splitlines() if ledger.exists() else []
    return max((float(line.split()[-1]) for line in lines if line.startswith("begin ")), default=0.0)


def _assert_refused(old: PostgresServer, new: PostgresServer, server: LiveServer) -> None:
    """See that the old primary is given nothing, though it would take it and nobody else is there."""
    until(lambda: old.ask(UNDER_WAY) == "0", "the old primary has done what it was told before")
    before = old.ask(STORED, DATABASE)
    new.stop("fast")
    status, problem = server.request("POST", "/v1/tasks", {"kind": "quick", "payload": {}})
    assert (status, problem["stored"]) == (503, "no")
    until(lambda: server.request("GET", "/readyz")[0] == 503, "the server is not ready")
    assert old.ask(STORED, DATABASE) == before
    new.start()
    until(server.is_ready, "the server is ready again", log=server.log)
    assert server.wait(server.submit("quick"))["state"] == "succeeded"


@pytest.mark.timeout(90)
def test_servers_go_on_at_the_standby_when_the_primary_dies_and_refuse_it_when_it_is_back(tmp_path: Path) -> None:
    with failing_over(tmp_path) as failover:
        old, new = failover.pair.primary, failover.pair.standby
        failover.kill()
        failover.reckon(new)
        old.configure(synchronous_standby_names="")
        old.start()
        _assert_refused(old, new, failover.servers[0])


@pytest.mark.timeout(90)
def test_servers_go_on_at_the_standby_when_the_primary_hangs_and_refuse_it_when_it_thaws(tmp_path: Path) -> None:
    with failing_over(tmp_path) as failover:
        old, new = failover.pair.primary, failover.pair.standby
        failover.hang()
        failover.reckon(new)
        old.ask("ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()")
        _assert_refused(old, new, failover.servers[0])


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_nothing_is_lost_by_failovers_back_and_forth(tmp_path: Path) -> None:
    with failing_over(tmp_path) as failover:
        for turn in range(FAILOVERS):
            (failover.kill if turn % 2 == 0 else failover.hang)()
            failover.pair.rejoin()
        failover.reckon(failover.pair.primary)
