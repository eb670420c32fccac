"""Runs a program that ends with its parent, and at the latest after so many seconds: `bounded.py SECONDS PROGRAM ...`.

Run by path, with the standard library alone; the program takes this process over, so its pid stays the same.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Set both bounds in the kernel, which keeps them whatever the program does, and become the program."""
    seconds, *command = sys.argv[1:]
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # RACE: it may have gone before the kernel was asked
        sys.exit(1)
    signal.alarm(int(seconds))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
