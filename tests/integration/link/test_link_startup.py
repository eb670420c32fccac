"""Apps that come up late, badly or not at all, and the end of everything that was started."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest
from link_room import APP, SHARED, SOLO, Diary, our_workers, workers_of
from live import command_of, is_alive

from windlass.config.schema import Settings
from windlass.contracts.link import Gone, Word
from windlass.core.ids import Token
from windlass.core.kind import BUILTIN_APP
from windlass.engine.clock import SystemIds
from windlass.link.workers import LocalWorkers
from windlass.wire.frames import Accepted, Ended, Report

pytestmark = pytest.mark.anyio

BOTH = """
@app.task()
async def shared() -> None:
    await asyncio.sleep(600)

@app.task()
def solo() -> None:
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after workers often, and try again soon."""
    monkeypatch.setattr("windlass.link.workers._LOOK_EVERY_S", 0.02)
    monkeypatch.setattr("windlass.link.pool._FIRST_DELAY_S", 0.05)


UNFIT = {
    "import a_module_nobody_has": "No module named 'a_module_nobody_has'",
    "def broken(:": "SyntaxError: invalid syntax",
    "import sys; sys.exit('no licence')": "SystemExit: no licence",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise windlass.errors.ConfigError('  ')": "?",
    "1 / 0": "ZeroDivisionError: division by zero",
    "del app": "the module link_tasks has no 'app'; write app = windlass.App()",
    "app = 5": "link_tasks:app is a int, not a windlass.App",
    "pass": "link_tasks:app has no handlers yet; decorate a function with @app.task()",
    "app.task()(lambda *args: None)": "cannot name a kind",
    "app = windlass.App(version=2)\n@app.task()\ndef f(): ...": "version",
    "os._exit(3)": "exit 3",
    "os.kill(os.getpid(), signal.SIGSEGV)": "SIGSEGV",
}


@pytest.mark.parametrize(("code", "reason"), UNFIT.items(), ids=[code.splitlines()[0] for code in UNFIT])
async def test_an_app_that_cannot_be_used_is_reported_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
):
    async with workers_of(tmp_path, monkeypatch, f"import windlass.errors\n{code}", wait=False) as room:
        problems = await room.until(
            lambda: [each for each in room.workers.problems() if "cannot be used" in each and reason in each]
        )
        assert problems[0].startswith(f"the app {APP} cannot be used: ")
        assert not room.workers.slots().keys() & {SHARED, SOLO}
        await room.until(lambda: room.workers.pools().get("simulate"))  # the built-in kinds do not wait for it
        assert [app for app, _ in room.hellos] == [BUILTIN_APP]


async def test_an_app_that_cannot_be_imported_is_tried_again_with_a_growing_delay_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.link.pool._FIRST_DELAY_S", 0.1)
    monkeypatch.setattr("windlass.link.pool._LAST_DELAY_S", 0.8)
    async with workers_of(tmp_path, monkeypatch, "raise RuntimeError('not yet')", wait=False) as room:

        def tries() -> list[float]:
            return [at for at, _ in room.registry.recorded][1:]  # without the first, of the built-in kinds

        await room.until(lambda: len(tries()) >= 6)
        gaps = [later - earlier for earlier, later in pairwise(tries())]
        for gap, least in zip(gaps, [0.1, 0.2, 0.4, 0.8, 0.8], strict=False):
            assert gap >= least
        (tmp_path / "link_tasks.py").write_text("import windlass\napp = windlass.App()\n@app.task()\ndef f(): ...\n")
        await room.until(lambda: not room.workers.problems())
        assert APP in dict(room.hellos)
        placed = await room.place("f")
        assert isinstance(await placed.last_word(), Ended)


async def test_a_worker_that_never_says_hello_is_ended_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, "time.sleep(600)", wait=False, hello_s=0.3) as room:
        [silent] = await room.until(lambda: [pid for pid in our_workers() if APP in command_of(pid)])
        assert f"the app {APP} has not said hello yet" in room.workers.problems()
        await room.until(lambda: any("no hello within 0.3 s" in each for each in room.workers.problems()))
        await room.until(lambda: not is_alive(silent))
        await room.until(lambda: [pid for pid in our_workers() if APP in command_of(pid)])


async def test_workers_that_fall_right_after_their_hello_are_not_replaced_in_a_rush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.link.pool._FIRST_DELAY_S", 600.0)
    handlers = BOTH + "threading.Timer(0.3, os._exit, [1]).start()\n"
    async with workers_of(tmp_path, monkeypatch, handlers) as room:
        before = len(room.registry.recorded)
        await room.until(lambda: SHARED not in room.workers.slots())
        await asyncio.sleep(0.3)
        assert len(room.registry.recorded) <= before + 1


# ── the end ────────────────────────────────────────────────────────


async def test_a_stop_leaves_no_process_whatever_the_workers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    handlers = BOTH + (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "@app.task()\n"
        "def family(*, ctx):\n"
        "    child = subprocess.Popen(['sleep', '600'])\n"
        "    ctx.progress(child.pid)\n"
        "    child.wait()\n"
    )
    async with workers_of(tmp_path, monkeypatch, handlers) as room:
        family = await room.place("family")
        child = int((await family.until(Report)).progress.done)
        for kind in ("shared", "solo"):
            await (await room.place(kind)).until(Accepted)
        pids = [row.pid for _, row in room.registry.recorded]
        await room.workers.stop()
        assert not [pid for pid in (child, *pids) if is_alive(pid)]
        assert not room.workers.slots()
        assert not await room.registry.workers("")
        await room.workers.stop()
    assert not our_workers()


@pytest.mark.parametrize("turns", range(6))
async def test_a_stop_right_behind_the_start_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
):
    async with workers_of(tmp_path, monkeypatch, BOTH, wait=False) as room:
        for _ in range(turns):
            await asyncio.sleep(0)
        await room.workers.stop()
        assert not our_workers()
        assert not await room.registry.workers("")
        assert turns or not room.registry.recorded  # those only wished for were never started
    assert not our_workers()


async def test_a_stop_does_not_wait_for_workers_that_were_to_come_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.link.pool._FIRST_DELAY_S", 600.0)
    async with workers_of(tmp_path, monkeypatch, BOTH) as room:
        await room.until(lambda: SOLO in room.workers.slots())
        for pid in our_workers():
            os.kill(pid, signal.SIGKILL)
        await room.until(lambda: not room.workers.slots())
        began_at = time.monotonic()
        await room.workers.stop()
        assert time.monotonic() - began_at < 5


async def test_a_slot_taken_while_the_stop_begins_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, BOTH) as room:
        await room.until(lambda: SOLO in room.workers.slots())
        started = len(room.registry.recorded)
        stopping = asyncio.create_task(room.workers.stop())
        await asyncio.sleep(0)
        said: asyncio.Queue[Word] = asyncio.Queue()
        room.workers.take(f"{BUILTIN_APP}/solo", Token("late"), said.put_nowait)
        await stopping
        async with asyncio.timeout(5):
            assert isinstance(await said.get(), Gone)
        assert len(room.registry.recorded) == started
    assert not our_workers()


async def test_a_server_without_workers_spawns_none_and_lacks_none():
    workers = LocalWorkers(Settings(with_workers=False), registry=Diary(), server=SystemIds().server_id())
    before = our_workers()
    await workers.start(on_room=lambda: None, on_kinds=lambda _app, _kinds: None)
    assert not workers.problems()
    assert not workers.slots()
    assert not workers.pools()
    workers.kill_all()
    assert our_workers() == before
    await workers.stop()
