"""A program under strace: every call by which it changes what outlives it, and a fault at any one of them.

Judges nothing: what must hold afterwards is for the test to say.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

CHANGING = (
    *("openat", "mkdir", "mkdirat", "write", "pwrite64", "writev", "pwritev", "fallocate", "ftruncate"),
    *("fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
)
"""The calls that change a disk. Of `openat`, those that may make a file."""

STRACE = ("strace", "-f", "-y", "-qq")
"""Follow every thread and child, and say which file a descriptor is of. Calls are counted for each thread by itself."""

TRACE_CHANGING = ("-e", f"trace={','.join(CHANGING)}")

HANG_S = 30.0
"""A limit on hanging, not a measure of speed."""

_CALL = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<rest>.*)")
_DESCRIPTOR = re.compile(r"(?:^|, )(?:AT_FDCWD|\d+)<(?P<path>/[^>]*)>")
_TEXT = re.compile(r'"(?P<path>[^"]*)"')


class Spot(msgspec.Struct, frozen=True, order=True):
    """One call of a program: the `nth` of its name that a thread makes on `path`."""

    path: str
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call} #{self.nth} on {Path(self.path).name}"


def need_strace() -> None:
    """Skip the test where there is no strace, or it may not trace; a machine that tests every change must have it."""
    found = shutil.which("strace")
    if found and subprocess.run([found, "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0:
        return
    why = "strace is not installed" if found is None else "strace may not trace here"
    if os.environ.get("CI"):
        pytest.fail(f"{why}: no crash can be put at an exact call")
    pytest.skip(why)


def spots_of(command: Sequence[str], *, under: Sequence[Path], log: Path) -> list[Spot]:
    """Run `command` to its end and name each call by which it changed something at or below one of `under`."""
    outcome = _strace(TRACE_CHANGING, command, log=log)
    assert outcome.returncode == 0, outcome.stderr
    return spots_in(log, under=under)


def spots_in(log: Path, *, under: Sequence[Path]) -> list[Spot]:
    """Read from the log of a trace each call that changed something at or below one of `under`."""
    roots = [str(path) for path in under]
    counted: Counter[tuple[str, str, str]] = Counter()
    found: dict[Spot, None] = {}
    for line in log.read_text(errors="replace").splitlines():
        match = _CALL.match(line)
        if match is None or (path := _path_of(match["rest"])) is None:
            continue
        if not any(path == root or path.startswith(root + "/") for root in roots):
            continue
        counted[match["thread"], path, match["call"]] += 1
        has_failed = " = -1 E" in line
        if not has_failed and (match["call"] != "openat" or "O_CREAT" in match["rest"]):
            found[Spot(path, match["call"], counted[match["thread"], path, match["call"]])] = None
    return list(found)


class Fault(msgspec.Struct, frozen=True):
    """What befalls a call: `SIGKILL` instead of it, or an errno as its answer; `lasts`: and as that of all later."""

    what: str
    lasts: bool = False

    def at(self, spot: Spot) -> list[str]:
        """Give the options that bring it about."""
        how = "signal=SIGKILL" if self.what == "SIGKILL" else f"error={self.what}"
        when = f"{spot.nth}+" if self.lasts else f"{spot.nth}"
        return ["-P", spot.path, "-e", f"trace={spot.call}", "-e", f"inject={spot.call}:{how}:when={when}"]


KILLED = Fault("SIGKILL")


def run_into(fault: Fault, spot: Spot, command: Sequence[str], *, log: Path) -> subprocess.CompletedProcess[str]:
    """Run `command` into a fault, and see that it has met it."""
    outcome = _strace(fault.at(spot), command, log=log)
    told = log.read_text(errors="replace")
    met = "killed by SIGKILL" if fault.what == "SIGKILL" else "(INJECTED)"
    assert met in told, f"{spot} was never made: the program does not do the same each time\n{told}\n{outcome.stderr}"
    return outcome


def _path_of(rest: str) -> str | None:
    """Give what `-P` knows a call by: the file it has open, else the path it names."""
    descriptor = _DESCRIPTOR.search(rest)
    if descriptor is not None and not rest.startswith("AT_FDCWD"):
        return descriptor["path"]
    text = _TEXT.search(rest)
    return None if text is None else text["path"]


def _strace(options: Sequence[str], command: Sequence[str], *, log: Path) -> subprocess.CompletedProcess[str]:
    traced = [*STRACE, "-o", str(log), *options, *command]
    return subprocess.run(traced, capture_output=True, text=True, check=False, timeout=HANG_S)
