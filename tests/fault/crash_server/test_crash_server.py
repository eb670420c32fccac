"""A whole server that is killed at exact calls: of its store, and of the loop that answers clients and workers."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import urllib3
from clean import assert_clean
from killing import APP, WORK, Client, all_tasks, at_home, let_all_end, read_handlers, reconcile
from live import LiveServer, children, until
from rotation import share
from syscalls import KILLED, STRACE, TRACE_CHANGING, Spot, need_strace, spots_in

ANSWERING = ("write", "writev", "sendto", "sendmsg")
"""The calls by which the loop speaks to clients and workers."""
STRIDE = 8
"""Which calls the long proof kills a server at: one in so many. Between two of them little else happens."""
SHARES = 48
"""In how many runs of the tests all of these have had their turn."""


class TracedServer(LiveServer):
    """A server under strace: all its threads and children, or its loop alone."""

    def __init__(self, directory: Path, options: Sequence[str], *, all_threads: bool) -> None:
        super().__init__(directory.resolve(), "tasks:app", WINDLASS_LOG_LEVEL="warning")
        self.calls = self.directory / "calls"
        self.prefix = [part for part in STRACE if all_threads or part != "-f"]
        self.prefix += ["-o", str(self.calls), *options]
        (self.directory / "tasks.py").write_text(APP)

    @property
    def pid(self) -> int:
        """The server's own, whoever watches it."""
        (server,) = children(super().pid) if self.prefix else [super().pid]
        return server

    def is_gone(self) -> bool:
        """Whether it has ended, and all it has started."""
        assert self.process is not None
        return self.process.poll() is not None and not at_home(self.directory)

    def end(self) -> None:
        """Leave nobody behind, whatever has failed."""
        assert self.process is not None
        for pid in at_home(self.directory):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def unwatched(self) -> TracedServer:
        """Start from now on without strace."""
        self.prefix = []
        self.pool.clear()
        return self


class Visit:
    """What a client asks of a server, one request after the other, until all is done or nobody answers any more."""

    def __init__(self, server: TracedServer) -> None:
        self._server = server
        self._client = Client(server)

    def pay(self) -> None:
        """Start the server, do it all, and stop the server, unless it is gone before."""
        server = self._server.start(wait=False)
        try:
            self._ask_for_all()
            until(server.is_gone, "the server is gone", log=server.log)
        finally:
            server.end()

    def _ask_for_all(self) -> None:
        server = self._server
        try:
            until(lambda: server.is_gone() or _is_ready(server), "the server is ready", log=server.log)
            for kind, payload in WORK:
                self._ask_for(kind, payload)
            os.kill(server.pid, signal.SIGTERM)
        except (urllib3.exceptions.HTTPError, AssertionError, ValueError):
            until(server.is_gone, "the server is gone, since nobody answers", log=server.log)

    def check(self) -> None:
        """Start the server again, send again what nobody has answered, and hold what is there against the ledgers."""
        server, client = self._server.unwatched(), self._client
        try:
            server.start()
            for sent in client.sent:
                if sent.outcome == "unknown":
                    client.submit(sent)
                    assert sent.id is not None, f"not taken on the second time: {sent}"
            let_all_end(server)
            assert not client.problems
            reconcile(client.sent, all_tasks(server), read_handlers(server.directory))
            assert server.stop() == 0
        finally:
            server.end()
        assert_clean(server.directory / "data")

    def _ask_for(self, kind: str, payload: dict[str, Any]) -> None:
        done = self._client.new(f"{kind}-done", kind, payload)
        dropped = self._client.new(f"{kind}-dropped", kind, payload)
        if dropped.id is not None:
            self._client.cancel(dropped)
        if done.id is not None:
            self._server.wait({"id": done.id})


def _is_ready(server: TracedServer) -> bool:
    try:
        return server.request("GET", "/readyz")[0] == 200
    except urllib3.exceptions.HTTPError:
        return False


# ── where servers are killed ───────────────────────────────────────

Kill = Callable[[Path], list[str]]
"""Gives the options that kill a server in a directory at one call."""


def store_calls(server: TracedServer) -> list[Kill]:
    """Read from the trace of a server each call by which it changed its store."""
    data = server.directory / "data"
    spots = [spot for spot in spots_in(server.calls, under=[data]) if Path(spot.path).parent == data]
    return [partial(_at_spot, spot) for spot in spots]


def _at_spot(spot: Spot, directory: Path) -> list[str]:
    return KILLED.at(Spot(str(directory / "data" / Path(spot.path).name), spot.call, spot.nth))


def loop_calls(server: TracedServer) -> list[Kill]:
    """Read from the trace of a server's loop each call by which it spoke to a client or a worker."""
    lines = server.calls.read_text(errors="replace").splitlines()
    counted = Counter(line.partition("(")[0] for line in lines)
    return [partial(_at_call, call, nth) for call in ANSWERING for nth in range(1, counted[call] + 1)]


def _at_call(call: str, nth: int, _directory: Path) -> list[str]:
    return ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={nth}"]


class Way(NamedTuple):
    """One way through the calls of a server."""

    options: Sequence[str]
    all_threads: bool
    calls: Callable[[TracedServer], list[Kill]]


STORE = Way(TRACE_CHANGING, True, store_calls)
LOOP = Way(("-e", f"trace={','.join(ANSWERING)}"), False, loop_calls)


def kills_of(way: Way, home: Path) -> list[Kill]:
    """Let a server live unharmed, and say where others are to be killed."""
    need_strace()
    home.mkdir()
    server = TracedServer(home, way.options, all_threads=way.all_threads)
    visit = Visit(server)
    visit.pay()
    kills = way.calls(server)
    visit.check()
    return kills[::STRIDE]


def try_each(kills: Sequence[Kill], way: Way, home: Path) -> None:
    """Have a server killed at each of these calls, and see what is left of it."""
    met = 0
    for number, kill in enumerate(kills):
        directory = home.resolve() / str(number)
        directory.mkdir()
        server = TracedServer(directory, kill(directory), all_threads=way.all_threads)
        visit = Visit(server)
        visit.pay()
        met += "killed by SIGKILL" in server.calls.read_text(errors="replace")
        visit.check()
        shutil.rmtree(directory)
    print(f"{met} of {len(kills)} servers have come to the call they were to be killed at")
    assert met >= len(kills) // 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", [STORE, LOOP], ids=["store", "loop"])
def test_a_share_of_the_calls_of_a_server_loses_nothing(tmp_path: Path, way: Way) -> None:
    kills = share(kills_of(way, tmp_path / "whole"), of=SHARES)
    try_each(kills, way, tmp_path)


@pytest.mark.prove
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("way", [STORE, LOOP], ids=["store", "loop"])
def test_every_stride_of_the_calls_of_a_server_loses_nothing(tmp_path: Path, way: Way) -> None:
    try_each(kills_of(way, tmp_path / "whole"), way, tmp_path)
