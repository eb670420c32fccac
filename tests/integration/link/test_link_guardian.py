"""The guardian beside a server: kills what the server's workers have started once the server is gone, not before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import children, command_of, is_alive, until

from windlass.link.guardian import Guardian


@pytest.fixture
def groups() -> Iterator[list[int]]:
    """Give three process groups that want to live; they are ended afterwards."""
    processes = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(3)]
    yield [process.pid for process in processes]
    for process in processes:
        process.kill()
        process.wait()


def guardian_pids() -> list[int]:
    return [pid for pid in children(os.getpid()) if "guardian_main" in command_of(pid)]


@pytest.fixture
def guardian() -> Iterator[Guardian]:
    guardian = Guardian()
    yield guardian
    guardian.dismiss()


def test_the_groups_it_watches_are_killed_when_the_server_is_done_with_it_and_only_those(
    guardian: Guardian, groups: list[int]
):
    first, second, never_named = groups
    guardian.watch(first)
    guardian.watch(second)
    guardian.unwatch(second)
    guardian.dismiss()
    until(lambda: not is_alive(first), "the watched group is gone")
    assert is_alive(second)
    assert is_alive(never_named)
    guardian.dismiss()


def test_it_kills_nobody_while_its_server_lives_whatever_it_is_sent(guardian: Guardian, groups: list[int]):
    guardian.watch(groups[0])
    [pid] = until(guardian_pids, "the guardian is there")
    until(lambda: "guardian_main.py" in command_of(pid), "the guardian runs its program")
    until(lambda: is_ignoring(pid, signal.SIGTERM), "the guardian ignores what a terminal sends")
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, signum)
    time.sleep(0.1)
    assert is_alive(pid)
    assert is_alive(groups[0])


def is_ignoring(pid: int, signum: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigIgn:"))
    return bool(mask & 1 << (signum - 1))


def test_a_group_that_is_gone_already_keeps_no_other_from_being_killed(guardian: Guardian, groups: list[int]):
    gone = subprocess.Popen(["true"], start_new_session=True)
    gone.wait()
    guardian.watch(gone.pid)
    guardian.watch(groups[0])
    guardian.unwatch(99_999_999)
    guardian.dismiss()
    until(lambda: not is_alive(groups[0]), "the watched group is gone")


def test_a_guardian_that_has_died_costs_its_service_and_no_error(guardian: Guardian, groups: list[int]):
    [pid] = until(guardian_pids, "the guardian is there")
    os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(pid), "the guardian is gone")
    for group in groups:
        guardian.watch(group)
        guardian.unwatch(group)
    guardian.dismiss()
    assert all(is_alive(group) for group in groups)


SERVER = """
import os, signal, subprocess, sys, time
from windlass.link.guardian import Guardian
guardian = Guardian()
group = subprocess.Popen(["sleep", "600"], start_new_session=True).pid
guardian.watch(group)
print(group, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_server_ends_what_its_workers_have_started(signum: signal.Signals):
    server = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SERVER)], stdout=subprocess.PIPE, text=True)
    with server, contextlib.ExitStack() as stack:
        assert server.stdout is not None
        group = int(server.stdout.readline())
        stack.callback(lambda: is_alive(group) and os.kill(group, signal.SIGKILL))
        assert is_alive(group)
        server.send_signal(signum)
        server.wait()
        until(lambda: not is_alive(group), "the group is gone", timeout_s=5)
