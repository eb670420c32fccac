"""A PostgreSQL that cannot outlive the tests that asked for it: starts it, passes signals on, and ends it with them.

A program of its own, with one thread, called `postgres_keeper.py OWNER UID REMOVE COMMAND...`: it ends as soon as the
process OWNER does, and then removes the directory REMOVE (unless that is empty). UID: whom to run COMMAND as.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""What PostgreSQL ends by: waiting for its clients, without them, and at once."""
_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 20.0
_libc = ctypes.CDLL(None)


def unprivileged(uid: int) -> dict[str, Any]:
    """Give what makes a child process run as `uid`; nothing where that is who we are."""
    return {} if uid == os.geteuid() else {"user": uid, "group": uid, "extra_groups": []}


def _die_with_the_keeper() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT))


def keep(owner: int, uid: int, remove: str, command: list[str]) -> int:
    """Run `command` until it ends or its owner does; give its exit code."""
    try:
        watched = os.pidfd_open(owner)
    except ProcessLookupError:
        return 1
    for signum in PASSED_ON:
        signal.signal(signum, signal.SIG_IGN)  # until there is somebody to pass it on to
    child = subprocess.Popen(
        command,
        preexec_fn=_die_with_the_keeper,  # noqa: PLW1509  one thread, and the uid is changed before: it would forget
        restore_signals=True,
        start_new_session=True,
        **unprivileged(uid),
    )
    for signum in PASSED_ON:
        signal.signal(signum, lambda received, _: child.send_signal(received))
    ended = os.pidfd_open(child.pid)
    while not (ready := select.select([watched, ended], [], [])[0]):
        pass
    if ended not in ready:
        child.send_signal(signal.SIGQUIT)
    try:
        code = child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        code = child.wait()
    if watched in ready and remove:
        shutil.rmtree(remove, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(keep(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
