"""What a bench starts is bounded in time, and ends with the bench, by the kernel's hand."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

from bench_runs import ROOT

BOUNDED = [sys.executable, "-S", str(ROOT / "bench" / "bounded.py")]


def test_a_program_ends_when_its_time_is_up() -> None:
    began_at = time.monotonic()
    process = subprocess.Popen([*BOUNDED, "1", "sleep", "10"])
    assert process.wait(15) == -signal.SIGALRM
    assert time.monotonic() - began_at >= 1


def test_a_program_keeps_the_pid_it_was_started_under() -> None:
    ran = subprocess.Popen([*BOUNDED, "15", "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True)
    assert ran.communicate(timeout=15)[0] == f"{ran.pid}\n"


def test_a_program_ends_with_its_parent() -> None:
    child = f"import subprocess; p = subprocess.Popen({[*BOUNDED, '15', 'sh', '-c', 'echo up; exec sleep 60']!r})"
    reader, writer = os.pipe()
    parent = subprocess.Popen([sys.executable, "-c", f"{child}; p.wait()"], stdout=writer, start_new_session=True)
    os.close(writer)
    with os.fdopen(reader) as words:
        assert words.readline() == "up\n"
        parent.kill()
        parent.wait()
        assert select.select([words], [], [], 10)[0], "the program still runs"
        assert words.read() == ""  # the end of the stream: nobody holds its other end any more
