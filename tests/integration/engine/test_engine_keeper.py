"""The beat of a server: kept from a thread, and ended rather than kept for a loop that stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from engine_room import CLOCK, until

from windlass.core.ids import ServerId
from windlass.core.stop import StopTimes
from windlass.engine.keeper import EXIT_WEDGED, Keeper
from windlass.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable

pytestmark = pytest.mark.anyio


class Beats:
    """A registry that counts beats, and answers as it is told."""

    def __init__(self) -> None:
        self.servers: list[ServerId] = []
        self.threads: set[int] = set()
        self.answer: bool | Exception = True

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        assert now.tzinfo is not None
        self.servers.append(server)
        self.threads.add(threading.get_ident())
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


Keep = Callable[..., Keeper]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat often."""
    monkeypatch.setattr("windlass.engine.keeper.BEAT_S", 0.01)
    monkeypatch.setattr("windlass.engine.keeper._LOOK_EVERY_S", 0.005)


@pytest.fixture
def beats() -> Beats:
    return Beats()


@pytest.fixture
async def lost(beats: Beats) -> AsyncIterator[list[int]]:
    """Start a keeper; give the threads in which it told of a loss."""
    told: list[int] = []
    keeper = Keeper(
        beats,  # type: ignore[arg-type]  # a keeper does nothing but beat
        ServerId("this"),
        clock=CLOCK,
        times=StopTimes(),
        on_failure=lambda _: told.append(threading.get_ident()),
    )
    keeper.start()
    yield told
    async with asyncio.timeout(10):
        await keeper.stop()
        await keeper.stop()
    count = len(beats.servers)
    await asyncio.sleep(0.05)
    assert len(beats.servers) == count


async def some(beats: Beats, more: int = 3) -> None:
    """Wait for more beats."""
    enough = len(beats.servers) + more
    async with asyncio.timeout(10):
        while len(beats.servers) < enough:
            await asyncio.sleep(0.002)


async def test_it_beats_in_a_thread_of_its_own(beats: Beats, lost: list[int]):
    await some(beats, 5)
    assert set(beats.servers) == {"this"}
    assert threading.get_ident() not in beats.threads
    assert not lost


async def test_it_beats_while_the_loop_is_blocked(beats: Beats, lost: list[int]):
    await some(beats)
    before = len(beats.servers)
    time.sleep(0.2)  # noqa: ASYNC251 blocking is the point
    assert len(beats.servers) > before + 3
    assert not lost


async def test_a_lease_that_is_somebody_elses_is_told_in_the_engines_loop(beats: Beats, lost: list[int]):
    await some(beats)
    beats.answer = False
    await until(lambda: lost)
    assert set(lost) == {threading.get_ident()}


@pytest.mark.parametrize("error", [StoreUnavailable("locked"), StoreFull("no space")], ids=lambda error: error.code)
async def test_a_beat_that_the_store_cannot_take_is_no_loss(beats: Beats, lost: list[int], error: StoreError):
    beats.answer = error
    await some(beats, 5)
    beats.answer = True
    await some(beats, 5)
    assert not lost


@pytest.mark.parametrize("error", [StoreCorrupt("a page"), StoreError("?")], ids=lambda error: error.code)
async def test_a_store_that_cannot_be_trusted_any_more_is_told(beats: Beats, lost: list[int], error: StoreError):
    beats.answer = error
    await until(lambda: lost)
    assert set(lost) == {threading.get_ident()}


async def test_a_keeper_that_breaks_is_a_loss_and_no_silence(beats: Beats, lost: list[int]):
    beats.answer = ZeroDivisionError()
    await until(lambda: lost)
    assert len(lost) == 1


async def test_a_stop_before_the_start_is_no_error(beats: Beats):
    keeper = Keeper(beats, ServerId("this"), clock=CLOCK, times=StopTimes(), on_failure=lambda _: None)  # type: ignore[arg-type]
    await keeper.stop()
    assert not beats.servers


# ── a loop that stands still, and a process that does ──────────────

SERVER = """
import asyncio, sys, time
from windlass.core.ids import ServerId
from windlass.core.stop import StopTimes
from windlass.engine import keeper
from windlass.engine.clock import SystemClock
from windlass.telemetry.log import configure

configure(level="info", style="json")
keeper.BEAT_S, keeper._LOOK_EVERY_S, keeper._FROZEN_S = 0.01, 0.01, 0.1
TIMES = StopTimes(ttl_s=1.2, fence_margin_s=0.1)  # wedged after 0.6 s

class Beats:
    async def beat(self, server, *, now):
        return True

async def main():
    kept = keeper.Keeper(Beats(), ServerId("s"), clock=SystemClock(), times=TIMES, on_failure=lambda _: None)
    kept.start()
    await asyncio.sleep(0.05)
    print("ready", flush=True)
    {then}
    await kept.stop()
    print("done", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def server() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Give what starts a process that keeps, and then does what a test says."""
    started: list[Any] = []

    def begin(then: str) -> subprocess.Popen[str]:
        program = textwrap.dedent(SERVER).format(then=then)
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


Begin = Callable[[str], "subprocess.Popen[str]"]


def test_a_server_whose_loop_stands_still_ends_and_says_why(server: Begin):
    process = server("time.sleep(60)")
    _, told = process.communicate(timeout=10)
    assert process.returncode == EXIT_WEDGED
    assert "the engine's loop stands still" in told


def test_a_loop_that_is_only_slow_is_left_alone(server: Begin):
    process = server("[time.sleep(0.02) or await asyncio.sleep(0) for _ in range(50)]")
    told, _ = process.communicate(timeout=10)
    assert (process.returncode, told) == (0, "done\n")


def test_a_process_that_was_frozen_as_a_whole_is_not_called_wedged(server: Begin):
    process = server("await asyncio.sleep(2.5)")
    for _ in range(2):
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(0.9)
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.05)
    told, _ = process.communicate(timeout=10)
    assert (process.returncode, told) == (0, "done\n")
