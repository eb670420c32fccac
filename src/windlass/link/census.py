"""Which process is which: identity beyond a pid, the members of a process group, and seeing a group gone.

Reads /proc; ends nobody but groups it has identified.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from windlass.contracts.registry import WorkerRow
from windlass.core.ids import ServerId
from windlass.errors import WorkerError

_PROC = Path("/proc")
_GONE_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.005


def boot_id() -> str:
    """Name this boot of the machine; empty where the system has no name for it."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def identify(pid: int, server: ServerId) -> WorkerRow:
    """Describe the process `pid` so that it can be told from a later one with the same pid."""
    stat = _stat(pid)
    return WorkerRow(server=server, pid=pid, started=0 if stat is None else stat[2], boot=boot_id())


def kill_group(group: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Send `signum` to every process of the group; nothing when there is none left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signum)


def wait_until_gone(group: int) -> None:
    """Wait until no living process of the group is left; zombies count as gone. Blocks; run it in a thread.

    Raises:
        WorkerError: one is still there after 10 s (it hangs in the kernel, or belongs to somebody else).
    """
    give_up_at = time.monotonic() + _GONE_WITHIN_S
    while (left := group_members(group)) and time.monotonic() < give_up_at:
        time.sleep(_LOOK_EVERY_S)
    if left:
        raise WorkerError(f"the processes {left} of group {group} do not go away after SIGKILL", code="worker_stuck")


def clear(workers: Sequence[WorkerRow]) -> None:
    """SIGKILL the groups of worker processes that a server before us has recorded, and see each gone. Blocks.

    Raises:
        WorkerError: one does not go away.
    """
    boot = boot_id()
    groups = [worker.pid for worker in workers if worker.boot == boot and _is_still_its_group(worker)]
    for group in groups:
        kill_group(group)
    for group in groups:
        wait_until_gone(group)


def _is_still_its_group(worker: WorkerRow) -> bool:
    """Whether a group called `worker.pid` is the worker's: its leader still is, or has gone and nobody has its pid."""
    stat = _stat(worker.pid)
    return stat is None or stat[2] == worker.started


def group_members(group: int) -> list[int]:
    """Name the living processes of a group; zombies do not count."""
    return [pid for pid, (state, pgrp, _) in _processes() if pgrp == group and state not in "ZX"]


def _processes() -> Iterator[tuple[int, tuple[str, int, int]]]:
    for entry in os.listdir(_PROC):  # noqa: PTH208 a Path per process is slow
        if entry.isdigit() and (stat := _stat(int(entry))) is not None:
            yield int(entry), stat


def _stat(pid: int) -> tuple[str, int, int] | None:
    """Read (state, process group, start time in clock ticks since boot); None when there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("latin-1")  # a process may call itself anything
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return fields[0], int(fields[2]), int(fields[19])
