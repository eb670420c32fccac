"""Several real servers on one PostgreSQL of their own, each with its own way to it, and what befalls them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from killing import APP, Begun, at_home, read_handlers
from live import LiveServer, is_alive, until
from postgres_server import PostgresServer
from proxy import Proxy, proxy_to

TTL_S = 3.0
SETTINGS = {
    "WINDLASS_LEASE__TTL_S": str(TTL_S),
    "WINDLASS_LEASE__MARGIN_S": "0.5",
    "WINDLASS_LOG_LEVEL": "warning",
    "WINDLASS_POSTGRES__CONNECT_S": "1",
}
DATABASE = "cluster"


class Cluster:
    """`servers` on `postgres`; the way of each leads through the proxy at the same place in `ways`."""

    def __init__(self, postgres: PostgresServer, servers: list[LiveServer], ways: list[Proxy]) -> None:
        self.postgres = postgres
        self.servers = servers
        self.ways = ways
        self.done: list[str] = []
        """What has befallen them, to be told when it has led to a failure."""

    def befall(self, dice: random.Random) -> None:
        """Have something befall somebody, and be over."""
        what: list[tuple[Callable[[random.Random], None], int]] = [
            (self._kill, 4),
            (self._kill_worker, 2),
            (self._freeze, 1),
            (self._cut, 3),
            (self._silence, 1),
            (self._restart_postgres, 2),
        ]
        (act,) = dice.choices([act for act, _ in what], [weight for _, weight in what])
        act(dice)

    def handlers(self) -> dict[str, dict[int, Begun]]:
        """Read the ledgers of the handlers of all servers as one."""
        merged: dict[str, dict[int, Begun]] = {}
        for server in self.servers:
            for task, attempts in read_handlers(server.directory).items():
                known = merged.setdefault(task, {})
                assert known.keys().isdisjoint(attempts), f"an attempt of {task} has begun at two servers"
                known.update(attempts)
        return merged

    def revive(self) -> None:
        """Start what has ended of itself, as a supervisor does."""
        for server in self.servers:
            if server.process is None or server.process.poll() is not None:
                server.start(wait=False)
        for server in self.servers:
            until(server.is_ready, "the server is ready", log=server.log)

    def tell(self) -> str:
        """Say what has befallen them."""
        return " → ".join(self.done)

    def _kill(self, dice: random.Random) -> None:
        server = dice.choice(self.servers)
        self.done.append(f"kill {self.servers.index(server)}")
        server.kill()
        until(lambda: not at_home(server.directory), "no process is left", timeout_s=2.0)
        time.sleep(dice.choice([0.0, 0.0, TTL_S + 1.0]))
        server.start(wait=False)

    def _kill_worker(self, dice: random.Random) -> None:
        workers = [worker for server in self.servers for worker in server.workers()]
        if workers:
            self.done.append("kill a worker")
            victim = dice.choice(workers)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            until(lambda: not is_alive(victim), "the worker is gone")

    def _freeze(self, dice: random.Random) -> None:
        server = dice.choice(self.servers)
        self.done.append(f"freeze {self.servers.index(server)}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGSTOP)
            time.sleep(TTL_S + 1.5)
            os.kill(server.pid, signal.SIGCONT)

    def _cut(self, dice: random.Random) -> None:
        self.done.append("cut")
        way = dice.choice(self.ways)
        way.cut()
        if dice.random() < 0.5:
            way.refuse()
            time.sleep(dice.uniform(0.0, 2.0))
            way.accept()

    def _silence(self, dice: random.Random) -> None:
        self.done.append("silence")
        way = dice.choice(self.ways)
        way.blackhole()
        time.sleep(dice.uniform(0.5, TTL_S + 1.5))
        if dice.random() < 0.5:
            way.cut()
        way.pass_on()

    def _restart_postgres(self, dice: random.Random) -> None:
        mode = dice.choice(["fast", "immediate"])
        self.done.append(f"restart PostgreSQL {mode}")
        self.postgres.stop(mode)
        time.sleep(dice.choice([0.0, 1.0]))
        self.postgres.start()


@contextlib.contextmanager
def cluster_on(postgres: PostgresServer, directory: Path, *, size: int, **settings: str) -> Iterator[Cluster]:
    """Start so many servers, each with a data directory of its own, and end them."""
    postgres.ask(f"CREATE DATABASE {DATABASE}")
    with contextlib.ExitStack() as ends:
        ways = [ends.enter_context(proxy_to(postgres.port)) for _ in range(size)]
        urls = [postgres.url(DATABASE, port=way.port) for way in ways]
        yield Cluster(postgres, ends.enter_context(servers_at(urls, directory, **settings)), ways)


@contextlib.contextmanager
def servers_at(urls: Sequence[str], directory: Path, **settings: str) -> Iterator[list[LiveServer]]:
    """Start a server for each url, with a data directory of its own, and end them."""
    with contextlib.ExitStack() as ends:
        servers: list[LiveServer] = []
        for place, url in enumerate(urls):
            home = (directory / f"server{place}").resolve()
            home.mkdir()
            (home / "tasks.py").write_text(APP)
            servers.append(LiveServer(home, "tasks:app", database=url, **{**SETTINGS, **settings}))
            ends.callback(_end, servers[-1])
        for server in servers:
            server.start(wait=False)
        for server in servers:
            until(server.is_ready, "the server is ready", log=server.log)
        yield servers


def _end(server: LiveServer) -> None:
    if server.process is not None and server.process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGCONT)
        server.process.kill()
        server.process.wait()
    server.pool.clear()
