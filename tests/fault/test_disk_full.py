"""A disk that is full, really: what has begun still ends, nothing acknowledged is lost, and it mends itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from live import LiveServer, until
from small_disk import running_on, small_disk

APP = """
import asyncio, pathlib
import windlass

app = windlass.App(version="1")

@app.task(timeout="10m")
async def gated(*, ctx: windlass.AsyncContext) -> str:
    ctx.progress(0)
    while not pathlib.Path("gate").exists():
        await asyncio.sleep(0.05)
    await ctx.save("x" * 1_000)
    return "x" * 10_000

@app.task()
async def note(text: str) -> int:
    return len(text)
"""
PADDING = {"text": "x" * 200_000}


def refusal(server: LiveServer) -> dict[str, Any] | None:
    """Submit; give the problem when it was refused."""
    status, answer = server.request("POST", "/v1/tasks", {"kind": "note", "payload": PADDING})
    return None if status == 202 else {"status": status, **answer}


def readiness(server: LiveServer) -> tuple[int, str]:
    status, answer = server.request("GET", "/readyz")
    return status, str(answer)


@pytest.mark.timeout(120)
def test_attempts_end_on_a_full_disk_submits_wait_and_all_goes_on_when_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(APP)
    with small_disk(tmp_path / "data", mebibytes=64) as disk, running_on(disk, tmp_path, "tasks:app") as server:
        held = [server.submit("gated") for _ in range(21)]
        for task in held:
            server.wait(task, "running")
        disk.fill()
        problem = until(lambda: refusal(server), "a submit is refused")
        assert (problem["status"], problem["code"], problem["stored"]) == (507, "storage_full", "no")
        status, why = readiness(server)
        assert status == 503
        assert "the disk is full" in why

        assert server.cancel(held[0])[0] == 202
        assert server.wait(held[0])["state"] == "cancelled"
        (tmp_path / "gate").touch()
        ended = [server.wait(task) for task in held[1:]]
        assert {(task["state"], task["attempt"], len(task["result"])) for task in ended} == {("succeeded", 1, 10_000)}
        assert refusal(server) is not None
        disk.check()

        disk.free()
        until(lambda: refusal(server) is None, "submits are taken again")
        until(lambda: readiness(server)[0] == 200, "the server is ready again")
        late = server.submit("note", {"text": "late"})
        assert server.wait(late)["result"] == 4
        assert server.process is not None
        assert server.process.poll() is None
        disk.check()
        assert (disk.path / "windlass.reserve").stat().st_blocks > 0
        assert server.stop() == 0
        disk.check()


@pytest.mark.timeout(120)
def test_an_end_that_does_not_even_fit_into_the_reserve_is_stored_once_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(APP)
    with small_disk(tmp_path / "data", mebibytes=64) as disk, running_on(disk, tmp_path, "tasks:app") as server:
        held = [server.submit("gated") for _ in range(5)]
        for task in held:
            server.wait(task, "running")
        disk.fill()
        until(lambda: refusal(server), "a submit is refused")
        disk.fill()  # somebody else takes what the reserve has given up
        (tmp_path / "gate").touch()
        until(lambda: "attempt.settle_delayed" in server.log.read_text(), "an end could not be stored")
        assert {server.get(task)["state"] for task in held} <= {"running", "succeeded"}
        disk.free()
        ended = [server.wait(task) for task in held]
        assert {(task["state"], task["attempt"]) for task in ended} == {("succeeded", 1)}
        until(lambda: refusal(server) is None, "submits are taken again")
        disk.check()
