"""The server's end of its guardian process. Kills nobody itself."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from windlass.link import guardian_main

_DISMISSED_WITHIN_S = 5.0


class Guardian:
    """Keeps a guardian process told which process groups are ours.

    Concurrency: `watch` and `unwatch` from one thread. A guardian that has died costs only its service: the next
    server still finds the groups in the registry.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 our own program
            [sys.executable, "-I", "-S", str(Path(guardian_main.__file__))],
            stdin=subprocess.PIPE,
            stdout=2,
            start_new_session=True,
            env={},
        )

    def watch(self, group: int) -> None:
        """Have the group killed when this server ends."""
        self._say(f"+{group}\n")

    def unwatch(self, group: int) -> None:
        """Forget a group that is gone."""
        self._say(f"-{group}\n")

    def dismiss(self) -> None:
        """End the guardian, which kills what it still watches, and wait for it. Blocks; idempotent."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_DISMISSED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
