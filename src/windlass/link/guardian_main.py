"""A small process beside the server that outlives it by a moment, to kill what its workers have started.

The kernel ends workers with their server, but not what handlers have spawned. This file is run by path, with nothing
but the standard library: it must start fast and stay small.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Read `+group` and `-group` lines until the server's end of the pipe closes, then kill the groups left."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
