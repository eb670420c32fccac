"""What the dialects promise beyond one run of the server, and for kinds of one's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dialect_servers import ENDLESS, QUICK, ask_of
from live import LiveServer, running, until
from stores import DURABLE, fresh_store


@pytest.fixture(params=DURABLE)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    with fresh_store(request.param) as database:
        yield database


def ask(server: LiveServer, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    answer = ask_of(server, method, path, {}, None if body is None else json.dumps(body).encode())
    return answer.status, json.loads(answer.body)


def check(server: LiveServer, task_id: str) -> dict[str, Any]:
    status, task = ask(server, "GET", f"/task/check-result?task_id={task_id}")
    assert status == 200, task
    return task


@pytest.mark.timeout(90)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_task_of_check_result_that_a_restart_has_cut_off_has_failed_and_never_runs_again(
    tmp_path: Path, database: str, end: str
):
    settings = {**ENDLESS, "WINDLASS_DIALECTS__WORKMATE__CONCURRENCY": "4", "WINDLASS_STOP_S": "2"}
    with running(tmp_path, database=database, **settings) as server:
        task_id = ask(server, "POST", "/task/create", {"task": "once"})[1]["task_id"]
        other_id = ask(server, "POST", "/task")[1]["id"]
        server.wait({"id": task_id}, "running")
        server.wait({"id": other_id}, "running")
        getattr(server, end)()
        server.start()
        until(lambda: check(server, task_id)["Status"] == "failed", "it has failed", log=server.log)
        assert check(server, task_id)["Result"]
        again = server.wait({"id": other_id}, "running")  # of another dialect: it goes on by itself
        assert (again["attempt"], again["charged"]) == (2, 1)
        assert server.get({"id": task_id})["attempt"] == 1


@pytest.mark.timeout(60)
def test_a_message_is_known_again_after_a_restart_with_other_settings(tmp_path: Path, database: str):
    message = {"id": "one", "payload": "hello", "max_retries": 2}
    with running(tmp_path, database=database, **QUICK) as server:
        assert ask(server, "POST", "/enqueue", message)[0] == 202
        server.stop()
        server.settings["WINDLASS_DIALECTS__ENQUEUE__DURATION_S"] = "1,2"
        server.settings["WINDLASS_DIALECTS__ENQUEUE__RETRY_CAP_S"] = "3"
        server.start()
        assert ask(server, "POST", "/enqueue", message)[0] == 202
        assert ask(server, "POST", "/enqueue", {**message, "payload": "other"})[0] == 409
        assert len(ask(server, "GET", "/v1/tasks?key=one")[1]["tasks"]) == 1


OWN = """
from typing import Annotated
import msgspec
import windlass

app = windlass.App()


@app.task()
async def count(task: Annotated[str, msgspec.Meta(max_length=8)]) -> int:
    return len(task)


@app.task()
async def deliver(id: str, payload: str) -> str:
    return f"{id}={payload}"


@app.task()
async def shelve(files: list[str]) -> str:
    return files[0]


@app.task()
async def nothing() -> None:
    return None
"""


@pytest.mark.timeout(60)
def test_a_dialect_may_run_a_kind_of_ones_own_and_gives_it_what_it_was_given(tmp_path: Path):
    (tmp_path / "own_tasks.py").write_text(OWN)
    kinds = {"check_result": "count", "enqueue": "deliver", "downloads": "shelve", "workmate": "nothing"}
    settings = {f"WINDLASS_DIALECTS__{name.upper()}__KIND": kind for name, kind in kinds.items()}
    with running(tmp_path, "own_tasks:app", **settings) as server:
        counted = ask(server, "POST", "/task/create", {"task": "12345"})[1]["task_id"]
        server.wait({"id": counted})
        assert (check(server, counted)["Task"], check(server, counted)["Result"]) == ("12345", "5")

        status, refused = ask(server, "POST", "/task/create", {"task": "123456789"})
        assert status == 400
        assert "payload/task" in refused["error"]

        assert ask(server, "POST", "/enqueue", {"id": "a", "payload": "x"})[0] == 202
        (delivered,) = ask(server, "GET", "/v1/tasks?key=a")[1]["tasks"]
        assert server.wait(delivered)["result"] == "a=x"
        assert ask(server, "POST", "/enqueue", {"id": "a", "payload": "x"})[0] == 202
        assert ask(server, "POST", "/enqueue", {"id": "a", "payload": "y"})[0] == 409

        shelved = ask(server, "POST", "/tasks", {"urls": ["http://h/a", "http://h/b"]})[1]["task_id"]
        assert server.wait({"id": shelved})["result"] == "http://h/a"
        status, shown = ask(server, "GET", f"/tasks/{shelved}")
        assert (shown["status"], shown["completed"], shown["total"]) == ("completed", 2, 2)

        done = ask(server, "POST", "/task")[1]["id"]
        assert server.wait({"id": done})["payload"] == {}


@pytest.mark.timeout(60)
def test_a_dialect_of_an_unknown_kind_says_so_and_takes_nothing(tmp_path: Path):
    with running(tmp_path, WINDLASS_DIALECTS__WORKMATE__KIND="simulat") as server:
        status, refused = ask(server, "POST", "/task")
        assert status == 400
        assert "did you mean 'simulate'?" in refused["error"]
        assert ask(server, "GET", "/task") == (200, [])


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("variable", "value"), [("QUEUE_SIZE", "0"), ("WORKERS", "many"), ("APP_MODE", "production")])
def test_a_variable_that_cannot_be_used_stops_the_start_by_its_name(tmp_path: Path, variable: str, value: str):
    ended = subprocess.run(
        [sys.executable, "-m", "windlass", "serve", "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert variable in ended.stderr
    assert not (tmp_path / "data").exists()
