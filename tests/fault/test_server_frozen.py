"""A server that stands still for a while, or whose log nobody reads: its healthy work goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from handlers_zoo import ZOO
from live import LiveServer, running, until


@pytest.mark.timeout(60)
def test_a_frozen_server_that_thaws_kills_no_worker_and_interrupts_nobody(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    settings = {"WINDLASS_WORKERS__SUSPECT_S": "0.5", "WINDLASS_WORKERS__BLOCKED_KILL_S": "2"}
    with running(tmp_path, "tasks:app", **settings) as server:
        tasks = [server.submit("sleep", {"seconds": 6.0}) for _ in range(3)]
        short = server.submit("sleep", {"seconds": 2.0}, timeout=3.0, grace=0)
        for task in (*tasks, short):
            server.wait(task, "running")
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(5)
        os.kill(server.pid, signal.SIGCONT)
        for task in (*tasks, short):
            ended = server.wait(task)
            assert (ended["state"], ended["attempt"]) == ("succeeded", 1), server.tail()
        assert not [line for line in server.lines() if line["event"] == "worker.killed"]


@pytest.mark.timeout(60)
def test_a_stderr_that_nobody_reads_stops_nothing(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    server = LiveServer(tmp_path, "tasks:app")
    command = [sys.executable, "-m", "windlass", "serve", "tasks:app", "--port", str(server.port), "--data", "data"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        server.process = process
        try:
            until(server.is_ready, "the server is ready")
            for n in range(400):  # some 60 KiB of lines fill a pipe; this is three times that
                server.submit("hello", {"name": str(n)})
            last = server.wait(server.submit("hello", {"name": "last"}))
            assert last["state"] == "succeeded"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            assert process.stderr is not None
            process.stderr.close()


@pytest.mark.timeout(60)
def test_ctrl_c_pressed_again_and_again_cuts_a_drain_short(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    with running(tmp_path, "tasks:app") as server:
        task = server.submit("swallow")
        server.wait(task, "running")
        began_at = time.monotonic()
        assert server.process is not None
        while server.process.poll() is None:
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.6)
            assert time.monotonic() - began_at < 20, "the drain was not cut short"
        assert server.process.returncode == 0
        assert [line for line in server.lines() if line["event"] == "server.hurrying"]


@pytest.mark.timeout(60)
def test_a_terminal_that_closes_drains_the_server(tmp_path: Path):
    with running(tmp_path) as server:
        assert server.stop(signal.SIGHUP) == 0
