"""Handlers that spin, block, exit and crash: stopped when asked, and a harm to nobody else."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from handlers_zoo import ZOO
from live import LiveServer, is_alive, running, until

GRACE_S = 1.0
KILL_AFTER_S = 5.0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["sleep", "spin", "swallow"])
def test_a_stubborn_handler_is_cancelled_within_its_grace_and_no_process_is_left(tmp_path: Path, kind: str):
    (tmp_path / "tasks.py").write_text(ZOO)
    with running(tmp_path, "tasks:app") as server:
        task = server.submit(kind)
        # A task that runs may be no more than claimed: only its handler says that it is at it.
        until(lambda: server.get(task)["progress"] is not None, "the handler is at it")
        before = server.workers()
        asked_at = time.monotonic()
        status, answer = server.cancel(task, grace_s=GRACE_S)
        assert (status, answer["state"]) == (202, "running")
        ended = server.wait(task)
        took_s = time.monotonic() - asked_at
        assert (ended["state"], ended["cancel_outcome"]) == ("cancelled", "stopped")
        assert took_s <= GRACE_S + KILL_AFTER_S + 1.0
        print(f"{kind}: cancelled after {took_s:.2f} s")
        if kind != "sleep":  # its worker was not to be had otherwise; that of `sleep` lives on for others
            assert sum(not is_alive(pid) for pid in before) == 1
        assert server.wait(server.submit("hello", {"name": "x"}))["state"] == "succeeded"


def live_beside(server: LiveServer, *, submits: int) -> list[float]:
    """Submit while bad handlers are at it; give how long each submit took, in seconds."""
    bad = [server.submit(kind) for kind in ("spin", "spin", "block", "exits", "segfaults", "exits", "segfaults")]
    server.wait(bad[0], "running")
    server.wait(bad[2], "running")
    took: list[float] = []
    good: list[dict[str, object]] = []
    for n in range(submits):
        began_at = time.monotonic()
        good.append(server.submit("hello", {"name": str(n)}))
        took.append(time.monotonic() - began_at)
    for task in good:
        ended = server.wait(task, timeout_s=90)
        assert ended["state"] == "succeeded", ended
    for task in bad[:3]:
        server.cancel(task, grace_s=0.1)
    for task in bad[:3]:
        assert server.wait(task)["state"] == "cancelled"
    for task in bad[3:]:
        until(lambda of=task: server.get(of)["reason"] in ("lost", "poison"), "a crash is noticed")
    return sorted(took)


@pytest.mark.timeout(120)
def test_others_succeed_while_handlers_spin_block_exit_and_crash(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    settings = {"WINDLASS_WORKERS__SUSPECT_S": "1", "WINDLASS_WORKERS__BLOCKED_KILL_S": "3"}
    with running(tmp_path, "tasks:app", **settings) as server:
        live_beside(server, submits=30)


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_submits_stay_quick_while_handlers_spin_block_exit_and_crash(tmp_path: Path):
    (tmp_path / "tasks.py").write_text(ZOO)
    with running(tmp_path, "tasks:app") as server:
        took = live_beside(server, submits=2_000)
        p99 = took[int(len(took) * 0.99)]
        print(
            f"submit p50 {statistics.median(took) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, worst {took[-1] * 1000:.1f}"
        )
        assert p99 <= 0.25
