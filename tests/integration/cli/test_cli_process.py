"""The installed command as a process: terminals, pipes, signals, and what a start costs."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from command_runs import WINDLASS
from v1_server import V1Server, later

from windlass.core.state import State
from windlass.core.task import FileRow, Progress

Spawn = Callable[..., "subprocess.Popen[str]"]
OnTerminal = Callable[..., tuple[int, str]]


def plain(text: str) -> str:
    """Take the colours and cursor moves away."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_on_a_terminal_a_list_is_a_table_with_whole_ids(on_terminal: OnTerminal, server: V1Server) -> None:
    server.add(name="Nov [red]", state=State.RUNNING, progress=Progress(done=1, total=4))
    code, said = on_terminal("list")
    heading, row = plain(said).strip().splitlines()
    assert code == 0
    assert heading.split() == ["NUMBER", "STATE", "KIND", "NAME", "PROGRESS", "CREATED", "ID"]
    for part in ("1", "running", "build_report", "Nov [red]", "25%", "just now", server.tasks[1].id):
        assert part in row
    assert "\x1b[" in said


def test_on_a_terminal_a_cut_list_says_that_there_is_more(on_terminal: OnTerminal, server: V1Server) -> None:
    for _ in range(3):
        server.add()
    assert "There are more: --all, or --limit above 2." in on_terminal("list", "--limit", "2")[1]
    assert "There are more" not in on_terminal("list", "--limit", "3")[1]


def test_on_a_terminal_times_are_told_as_people_tell_them(on_terminal: OnTerminal, server: V1Server) -> None:
    server.add()
    said = plain(on_terminal("show", "1")[1])
    assert re.search(r"created +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \((just now|\d s ago)\)", said)


def test_on_a_terminal_waiting_shows_a_bar_with_amount_and_rate(on_terminal: OnTerminal, server: V1Server) -> None:
    task = server.add(state=State.RUNNING)
    server.change(
        1, started_at=task.created_at, progress=Progress(done=500_000, total=2_000_000, unit="bytes", at=_after(task))
    )
    end = later(0, lambda: (server.wait_for_request("wait="), server.change(1, state=State.SUCCEEDED)))
    code, said = on_terminal("wait", "1")
    end.join()
    assert code == 0
    assert "1 build_report" in plain(said)
    assert "500.0 kB/2.0 MB 250.0 kB/s" in plain(said)
    assert "task 1 succeeded" in plain(said)


def _after(task: Any) -> Any:
    from datetime import timedelta

    return task.created_at + timedelta(seconds=2)


def test_on_a_terminal_get_shows_a_bar_per_file(on_terminal: OnTerminal, server: V1Server) -> None:
    def end() -> None:
        server.wait_for_request("wait=")
        server.files[1] = [
            FileRow(index=0, name="a.iso", state="running", received_bytes=1_000_000, size_bytes=4_000_000),
            FileRow(index=1, name="b.iso", state="running", received_bytes=2_000_000, size_bytes=4_000_000),
        ]
        server.change(1, state=State.RUNNING)
        server.wait_for_request("GET /v1/tasks/.*/files", count=2)
        done = FileRow(index=0, name="a.iso", state="completed", received_bytes=4_000_000, size_bytes=4_000_000)
        gone = FileRow(index=1, name="b.iso", state="failed", error="HTTP 404 from x")
        server.files[1] = [done, gone]
        server.change(1, state=State.SUCCEEDED, result={"files": [{"name": "a.iso", "path": "/srv/a.iso"}]})

    ending = later(0, end)
    code, said = on_terminal("get", "http://x/a", "http://x/b")
    ending.join()
    assert code == 3
    assert "2.0/4.0 MB" in plain(said)
    assert re.search(r"a\.iso .* 4\.0/4\.0 MB .*completed", plain(said))
    assert re.search(r"b\.iso .* 0/0 bytes .*HTTP 404 from x", plain(said))
    assert "/srv/a.iso" in plain(said)


def test_into_a_pipe_nothing_is_coloured_and_no_bar_is_drawn(spawn: Spawn, server: V1Server) -> None:
    server.add(state=State.RUNNING)
    end = later(0, lambda: (server.wait_for_request("wait="), server.change(1, state=State.SUCCEEDED)))
    process = spawn("wait", "1", "--json")
    out, err = process.communicate(timeout=15)
    end.join()
    assert process.returncode == 0
    assert out.count("\n") == 1
    assert err == ""


def test_ctrl_c_while_waiting_is_130_and_says_that_the_task_goes_on(spawn: Spawn, server: V1Server) -> None:
    server.add(state=State.RUNNING)
    process = spawn("wait", "1")
    server.wait_for_request("wait=")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert out == ""
    assert err == "windlass: stopped waiting; task 1 goes on. Look: windlass wait 1. Cancel: windlass cancel 1\n"
    assert server.count("cancel") == 0


def test_ctrl_c_after_a_submit_still_leaves_the_id(spawn: Spawn, server: V1Server) -> None:
    process = spawn("submit", "build_report", "--wait")
    server.wait_for_request("wait=")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert (process.returncode, out) == (130, server.tasks[1].id + "\n")
    assert "task 1 goes on" in err


def test_ctrl_c_at_any_other_time_is_130_without_a_word(spawn: Spawn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = spawn("list", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=15)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_who_has_had_enough_is_no_failure(spawn: Spawn, server: V1Server) -> None:
    for _ in range(2_000):
        server.add()
    process = spawn("list", "--all", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=15)
    assert (process.returncode, err) == (0, "")


def test_python_m_windlass_is_the_same_command() -> None:
    said = [
        subprocess.run([*command, "--version"], capture_output=True, check=True, timeout=15).stdout
        for command in ([WINDLASS], [sys.executable, "-m", "windlass"])
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        ("import windlass.client, windlass.client.errors", {"urllib3"}),
        (
            "import windlass.cli.main as m; m.make_app()",
            {"urllib3", "rich", "uvicorn", "windlass.cli.serve", "msgspec"},
        ),
        ("import windlass.cli.main as m; m.main(['--help'])", {"urllib3", "rich.progress", "windlass.cli.serve"}),
        ("import windlass.cli.tasks", {"rich", "uvicorn", "windlass.assembly"}),
    ],
)
def test_a_start_loads_only_what_it_needs(code: str, unwanted: set[str]) -> None:
    script = f"import sys\n{code}\nfound = {sorted(unwanted)!r}\nsys.exit(' '.join(set(found) & set(sys.modules)) or 0)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=15)
    assert ended.stderr.strip() == ""
    assert ended.returncode == 0
