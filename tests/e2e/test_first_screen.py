"""The README's first screen, as somebody who meets windlass for the first time would type it."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from live import LiveServer, running

README = Path(__file__).parents[2] / "README.md"
WINDLASS = Path(sys.executable).with_name("windlass")


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[str]:
    """Serve real files with the file server that everybody has, `python -m http.server`'s."""
    directory = tmp_path / "shelf"
    directory.mkdir()
    (directory / "big.bin").write_bytes(os.urandom(20_000_000))
    (directory / "small.bin").write_bytes(os.urandom(500_000))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=directory)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def windlass(server: LiveServer, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [WINDLASS, *words],
        env={**os.environ, "WINDLASS_URL": server.url},
        cwd=server.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(90)
def test_run_download_list_cancel_restart(tmp_path: Path, shelf: str):
    with running(tmp_path) as server:
        got = windlass(server, "get", f"{shelf}/big.bin", f"{shelf}/small.bin")
        assert got.returncode == 0, got.stderr
        for name, line in zip(("big.bin", "small.bin"), got.stdout.splitlines(), strict=True):
            assert Path(line).read_bytes() == (tmp_path / "shelf" / name).read_bytes()

        submitted = windlass(server, "submit", "simulate", "duration_s=120")
        assert submitted.returncode == 0, submitted.stderr
        server.wait({"id": submitted.stdout.strip()}, "running")
        listed = [json.loads(line) for line in windlass(server, "list", "--json").stdout.splitlines()]
        assert [(task["number"], task["kind"], task["state"]) for task in listed] == [
            (2, "simulate", "running"),
            (1, "download", "succeeded"),
        ]
        shown = windlass(server, "show", "1")
        assert "succeeded" in shown.stdout
        assert "big.bin" in shown.stdout

        server.kill()
        assert windlass(server, "list").returncode == 8
        server.start()
        again = server.wait({"id": submitted.stdout.strip()}, "running")
        assert (again["attempt"], again["charged"]) == (2, 1)
        assert windlass(server, "cancel", "2").returncode == 0
        assert windlass(server, "wait", "2").returncode == 7
        assert windlass(server, "show", "77").returncode == 5


@pytest.mark.timeout(60)
def test_the_handler_of_the_readme_runs_as_it_stands(tmp_path: Path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    first, second, client = blocks
    part = second.replace("...\n", "pass\n").replace("range(done, 12)", "range(done, 3)")
    (tmp_path / "tasks.py").write_text(first + part)
    with running(tmp_path, "tasks:app") as server:
        ended = windlass(server, "submit", "build_report", "customer_id=7", "month=2026-11", "--wait", "--json")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout)["result"] == {"customer": 7, "rows": 31_000}
        refused = windlass(server, "submit", "build_report", "customer=7")
        assert refused.returncode == 2
        assert "did you mean 'customer_id'?" in refused.stderr

        task = server.wait(server.submit("build_all", {"month": "2026-11"}))
        assert (task["state"], task["queue"], task["result"]) == ("succeeded", "reports", {"parts": 12})
        status, report = server.request("GET", f"/v1/tasks/{task['id']}/files/report.csv")
        assert (status, report.decode()) == (200, "…")

        ran = subprocess.run(
            [sys.executable, "-c", client.replace("http://127.0.0.1:8080", server.url)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ran.stdout.strip() == "{'customer': 7, 'rows': 31000}", ran.stderr


@pytest.mark.timeout(60)
def test_every_curl_line_of_the_readme_answers(tmp_path: Path):
    with running(tmp_path) as server:
        lines = README.read_text().replace("\\\n", " ")
        commands = re.findall(r"^curl .*$", lines, re.MULTILINE)
        assert len(commands) >= 2
        for command in commands:
            ran = subprocess.run(
                ["bash", "-c", command.replace("localhost:8080", f"127.0.0.1:{server.port}")],
                capture_output=True,
                text=True,
                timeout=40,
                check=False,
            )
            answer = json.loads(ran.stdout)
            assert "status" not in answer, answer
        assert server.request("GET", "/v1/tasks?key=order-17")[1]["tasks"][0]["state"] == "succeeded"


@pytest.mark.timeout(60)
def test_a_second_ctrl_c_cuts_the_drain_short(tmp_path: Path):
    with running(tmp_path) as server:
        task = server.submit("simulate", {"duration_s": 300})
        server.wait(task, "running")
        assert server.process is not None
        server.process.send_signal(2)
        time.sleep(1.1)  # the same signal within a second counts once
        server.process.send_signal(2)
        began_at = time.monotonic()
        assert server.process.wait(20) == 0
        assert time.monotonic() - began_at < 15
        server.start()
        assert server.wait(task, "running")["charged"] == 1


@pytest.mark.timeout(60)
def test_a_server_answers_to_the_names_it_is_given_and_to_no_other(tmp_path: Path):
    with running(tmp_path, WINDLASS_HOSTS="tasks.example.org,windlass") as server:
        for host, status in (("tasks.example.org", 200), ("windlass:8080", 200), ("evil.example.org", 421)):
            assert server.request("GET", "/v1/tasks", Host=host)[0] == status
        assert "WINDLASS_HOSTS" in server.request("GET", "/v1/tasks", Host="x.example")[1]["detail"]
