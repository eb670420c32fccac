"""A server that is told to stop while its database says nothing: it is gone in time all the same."""

from __future__ import annotations

import time
from pathlib import Path

from live import LiveServer, free_port, running, until
from postgres import database, database_name, shared_postgres
from proxy import proxy_to

STOP_S = 4.0
BUSY_S = 3.0
"""What a busy machine may take besides, for the end of the process alone."""


def test_a_drain_takes_no_longer_than_it_may_while_the_database_is_silent(tmp_path: Path) -> None:
    server = shared_postgres()
    with database("silent") as url, proxy_to(server.port) as proxy:
        behind = server.url(database_name(url), port=proxy.port)
        with running(tmp_path, database=behind, WINDLASS_STOP_S=str(STOP_S)) as live:
            live.wait(live.submit("simulate", {"duration_s": 600.0}), "running")
            workers = live.workers()
            proxy.blackhole()
            began_at = time.monotonic()
            assert live.stop() == 0, live.tail()
            assert time.monotonic() - began_at < STOP_S + 2.0 + BUSY_S
            assert workers
            assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_server_that_waits_for_its_database_stops_at_the_first_signal(tmp_path: Path) -> None:
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    live = LiveServer(tmp_path, database=nobody).start(wait=False)
    until(lambda: "store.awaited" in live.tail(), "the server waits")
    began_at = time.monotonic()
    assert live.stop() == 0, live.tail()
    assert time.monotonic() - began_at < BUSY_S
    assert "Traceback" not in live.tail()
