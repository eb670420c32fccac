"""A database whose disk is full, really: told as that, survived, and gone on from as soon as there is room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clean import assert_clean
from live import LiveServer, running, until
from small_postgres import postgres_on_a_small_disk

APP = """
import asyncio, pathlib
import windlass

app = windlass.App(version="1")

@app.task(timeout="10m")
async def gated(*, ctx: windlass.AsyncContext) -> str:
    ctx.progress(0)
    while not pathlib.Path("gate").exists():
        await asyncio.sleep(0.05)
    return "x" * 10_000

@app.task()
async def note(text: str) -> int:
    return len(text)
"""
NAME = "small"


def _refusal(server: LiveServer) -> dict[str, Any] | None:
    """Submit something large; give the problem when it was refused."""
    text = "".join(map(chr, range(0x4E00, 0x9000))) * 3  # which does not become small by being compressed
    status, answer = server.request("POST", "/v1/tasks", {"kind": "note", "payload": {"text": text}})
    return None if status == 202 else {"status": status, **answer}


@pytest.mark.timeout(120)
def test_a_full_disk_of_the_database_is_told_and_all_goes_on_when_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(APP)
    with postgres_on_a_small_disk(mebibytes=128) as (postgres, disk):
        postgres.ask(f"CREATE DATABASE {NAME}")
        url = postgres.url(NAME)
        with running(tmp_path, "tasks:app", database=url) as server:
            held = [server.submit("gated") for _ in range(5)]
            for task in held:
                server.wait(task, "running")
            disk.fill()
            problem = until(lambda: _refusal(server), "a submit is refused")
            assert (problem["status"], problem["code"], problem["stored"]) == (507, "storage_full", "no")
            assert {server.get(task)["state"] for task in held} == {"running"}
            (tmp_path / "gate").touch()
            until(lambda: _ended_or_delayed(server, held), "each attempt has ended, or its end waits for room")
            assert _refusal(server) is not None
            until(lambda: _readiness(server) == (503, True), "the server says that it lacks room")

            disk.free()
            ended = [server.wait(task) for task in held]
            assert {(task["state"], task["attempt"], len(task["result"])) for task in ended} == {
                ("succeeded", 1, 10_000)
            }
            until(lambda: _refusal(server) is None, "submits are taken again")
            until(server.is_ready, "the server is ready", log=server.log)
            assert server.wait(server.submit("note", {"text": "late"}))["result"] == 4
            assert server.stop() == 0
            assert_clean(tmp_path / "data", database=url)


def _readiness(server: LiveServer) -> tuple[int, bool]:
    """Give the answer's status, and whether it names the full disk."""
    status, answer = server.request("GET", "/readyz")
    return status, "No space left" in str(answer)


def _ended_or_delayed(server: LiveServer, held: list[dict[str, Any]]) -> bool:
    delayed = {line["task_id"] for line in server.lines() if line["event"] == "attempt.settle_delayed"}
    return all(task["id"] in delayed or server.get(task)["state"] == "succeeded" for task in held)
