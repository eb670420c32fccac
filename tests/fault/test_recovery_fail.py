"""A task that must run at most once: a server that ends while it runs leaves it failed, and never runs it again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from clean import assert_clean
from live import LiveServer, running, until

APP = """
import asyncio
from pathlib import Path
import windlass

app = windlass.App(version="1")

@app.task(recovery="fail", timeout="10m")
async def pay(name: str) -> None:
    with Path("paid").open("a") as ledger:
        ledger.write(f"{name}\\n")
    await asyncio.sleep(600)
"""


def kill(server: LiveServer) -> None:
    server.kill()


def stop(server: LiveServer) -> None:
    assert server.stop(signal.SIGTERM) == 0


def paid(directory: Path) -> list[str]:
    ledger = directory / "paid"
    return ledger.read_text().splitlines() if ledger.exists() else []


@pytest.mark.timeout(90)
@pytest.mark.parametrize("end", [kill, stop])
@pytest.mark.parametrize("kind", ["pay", "simulate"])
def test_a_task_that_may_run_but_once_is_failed_when_its_server_ends_and_never_runs_again(
    tmp_path: Path, end: Callable[[LiveServer], None], kind: str
) -> None:
    (tmp_path / "pay_tasks.py").write_text(APP)
    payload = {"name": "first"} if kind == "pay" else {"duration_s": 600}
    with running(tmp_path, "pay_tasks:app", WINDLASS_STOP_S="4") as server:
        task = server.submit(kind, payload, recovery="fail", max_attempts=5)
        server.wait(task, "running")
        if kind == "pay":
            until(lambda: paid(tmp_path), "the handler has begun", log=server.log)
        end(server)
        server.start()
        failed = server.wait(task, "failed")
        assert (failed["reason"], failed["attempt"], failed["charged"]) == ("interrupted", 1, 1)
        # What comes later runs: had the first been queued again, it would have gone before.
        later = server.submit("pay", {"name": "later"})
        until(lambda: "later" in paid(tmp_path), "a later task has begun", log=server.log)
        assert paid(tmp_path) == (["first", "later"] if kind == "pay" else ["later"])
        assert server.get(task) == failed
        server.request("POST", f"/v1/tasks/{later['id']}/cancel", {"grace_s": 0})
    assert_clean(tmp_path / "data")
