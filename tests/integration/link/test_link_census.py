"""Which process is which, and seeing groups of processes gone."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import is_alive, until
from msgspec.structs import replace

from windlass.core.ids import ServerId
from windlass.errors import WorkerError
from windlass.link import census

SERVER = ServerId("a-server")
Start = Callable[..., "subprocess.Popen[str]"]

PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
{then}
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Give what starts a process in a group of its own; all are ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def begin(*command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command or ("sleep", "600"), start_new_session=True, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        census.kill_group(process.pid)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def family(start: Start, *, then: str) -> tuple[subprocess.Popen[str], int]:
    """Start a process with a child in its group, which afterwards does `then`."""
    process = start(sys.executable, "-c", PARENT.format(then=then))
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def become_zombie(process: subprocess.Popen[str]) -> None:
    """Wait until the process has ended, without taking its exit code."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_a_process_is_identified_beyond_its_pid(start: Start):
    process = start()
    row = census.identify(process.pid, SERVER)
    assert (row.server, row.pid, row.boot) == (SERVER, process.pid, census.boot_id())
    assert row == census.identify(process.pid, SERVER)
    own = census.identify(os.getpid(), SERVER)
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    assert 0 <= (row.started - own.started) / ticks_per_s < 3600
    assert len(row.boot) == 36


def test_a_process_that_does_not_exist_is_identified_as_none(start: Start):
    process = start("true")
    process.wait()
    assert census.identify(process.pid, SERVER).started == 0


def test_a_name_made_to_mislead_misleads_nobody():
    name = b") Z 1 1 1 1"
    begin, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(15, name, 0, 0, 0)  # PR_SET_NAME
        os.write(go, b".")
        signal.pause()
    try:
        os.read(begin, 1)
        assert name.decode() in Path(f"/proc/{child}/stat").read_text()
        assert census.group_members(child) == [child]
        assert census.identify(child, SERVER).started > census.identify(os.getppid(), SERVER).started > 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(begin)
        os.close(go)


def test_the_members_of_a_group_are_the_living_ones(start: Start):
    process, child = family(start, then="time.sleep(600)")
    stranger = start()
    assert sorted(census.group_members(process.pid)) == sorted([process.pid, child])
    assert census.group_members(stranger.pid) == [stranger.pid]
    process.kill()
    become_zombie(process)
    assert census.group_members(process.pid) == [child]
    os.kill(child, signal.SIGKILL)
    until(lambda: not is_alive(child), "the child is gone")
    assert census.group_members(process.pid) == []
    census.wait_until_gone(process.pid)


def test_a_group_that_does_not_go_away_is_told(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(census, "_GONE_WITHIN_S", 0.05)
    process = start()
    with pytest.raises(WorkerError, match=rf"the processes \[{process.pid}\] of group {process.pid}") as stuck:
        census.wait_until_gone(process.pid)
    assert stuck.value.code == "worker_stuck"


def test_killing_a_group_takes_all_of_it_and_a_group_that_is_gone_is_no_error(start: Start):
    process, child = family(start, then="time.sleep(600)")
    stranger = start()
    census.kill_group(process.pid)
    census.wait_until_gone(process.pid)
    assert not is_alive(child)
    process.wait()
    census.kill_group(process.pid)
    assert is_alive(stranger.pid)


def test_recorded_groups_are_cleared_and_nobody_else(start: Start):
    ours, child = family(start, then="time.sleep(600)")
    stranger, elsewhere = start(), start()
    reused = census.identify(stranger.pid, SERVER)
    rebooted = census.identify(elsewhere.pid, SERVER)
    census.clear(
        [
            census.identify(ours.pid, SERVER),
            replace(reused, started=reused.started - 1),
            replace(rebooted, boot="00000000-0000-0000-0000-000000000000"),
        ]
    )
    assert not is_alive(ours.pid)
    assert not is_alive(child)
    assert is_alive(stranger.pid)
    assert is_alive(elsewhere.pid)


def test_what_a_worker_that_is_gone_has_left_in_its_group_is_cleared(start: Start):
    process, child = family(start, then="time.sleep(0.2)")
    row = census.identify(process.pid, SERVER)
    process.wait()
    assert is_alive(child)
    census.clear([row])
    assert not is_alive(child)


def test_clearing_nothing_or_what_is_long_gone_is_no_error(start: Start):
    process = start("true")
    row = census.identify(process.pid, SERVER)
    process.wait()
    census.clear([])
    census.clear([row, row])
