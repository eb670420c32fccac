"""What an engine does when something beside the handlers goes wrong: stores, workers, callers, versions of an app."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from handlers_zoo import ZOO
from inner import Inner, engine_in
from live import command_of, is_alive
from stores import DURABLE, fresh_store

from windlass.contracts.store import Store
from windlass.contracts.tasks import Submit, Turn, Wanted, Write
from windlass.core.state import Reason, State
from windlass.core.waiting import Waiting
from windlass.errors import InputError, NotReadyError, StoreError, StoreFull

pytestmark = pytest.mark.anyio

Open = Callable[..., contextlib.AbstractAsyncContextManager[Inner]]


class Between:
    """A real store whose turns pass through `turn`; everything else is the store's own."""

    def __init__(self, store: Store, turn: Callable[..., Any]) -> None:
        self._store = store
        self._turn = turn

    @property
    def tasks(self) -> Between:
        return self

    @property
    def events(self) -> Any:
        return self._store.events

    @property
    def registry(self) -> Any:
        return self._store.registry

    @property
    def wakes(self) -> Any:
        return self._store.wakes

    async def close(self) -> None:
        await self._store.close()

    async def turn(self, writes: list[Write], wanted: Wanted, **options: Any) -> Turn:
        return await self._turn(self._store.tasks, writes, wanted, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store.tasks, name)


def between(turn: Callable[..., Any]) -> Any:
    return lambda store: Between(store, turn)


@pytest.fixture(params=DURABLE)
def start(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Give what starts an engine on each store that outlives it."""
    with fresh_store(request.param) as database:
        yield partial(engine_in, tmp_path, database=database, monkeypatch=monkeypatch)


async def test_a_claim_under_way_when_the_drain_begins_is_handed_back(start: Open):
    claiming, go_on = asyncio.Event(), asyncio.Event()

    async def slow(tasks: Any, writes: Any, wanted: Wanted, **options: Any) -> Turn:
        turn = await tasks.turn(writes, wanted, **options)
        if turn.claimed:
            claiming.set()
            await go_on.wait()
        return turn

    async with start(wrap=between(slow), stop_s=0.3) as inner:
        submitting = asyncio.create_task(inner.submit("sleep"))
        await claiming.wait()
        draining = asyncio.create_task(inner.engine.drain())
        await asyncio.sleep(0)
        go_on.set()
        await draining
        task = await submitting
        now = await inner.engine.get(task.id)
        assert (now.state, now.charged) == (State.QUEUED, 0)


async def test_a_store_that_breaks_in_an_unknown_way_leaves_nobody_waiting(start: Open):
    async def broken(tasks: Any, writes: list[Write], wanted: Wanted, **options: Any) -> Turn:
        if any(isinstance(write, Submit) and write.task.key == "break" for write in writes):
            raise OverflowError("nobody thought of this")
        return await tasks.turn(writes, wanted, **options)

    async with start(wrap=between(broken)) as inner:
        running = await inner.submit("sleep")
        await inner.until(running, State.RUNNING)
        with pytest.raises(StoreError):
            await inner.submit("hello", {"name": "x"}, key="break")
        assert isinstance(await inner.engine.failed, OverflowError)
        with pytest.raises(StoreError):
            await inner.submit("hello", {"name": "x"})
        assert not inner.engine.health().is_ready


async def test_a_full_disk_refuses_submits_and_an_attempt_still_settles_when_there_is_room_again(
    start: Open, monkeypatch: pytest.MonkeyPatch
):
    full = asyncio.Event()

    async def filling(tasks: Any, writes: list[Write], wanted: Wanted, **options: Any) -> Turn:
        if full.is_set() and writes:
            raise StoreFull("no space is left")
        return await tasks.turn(writes, wanted, **options)

    monkeypatch.setattr("windlass.engine.runner._SETTLE_AGAIN_S", 0.05)
    async with start(wrap=between(filling)) as inner:
        task = await inner.submit("sleep", {"seconds": 0.2})
        await inner.until(task, State.RUNNING)
        full.set()
        with pytest.raises(StoreFull):
            await inner.submit("hello", {"name": "x"})
        await asyncio.sleep(0.4)
        assert (await inner.engine.get(task.id)).state is State.RUNNING
        full.clear()
        assert (await inner.until(task)).state is State.SUCCEEDED


async def test_a_drain_ends_even_if_the_disk_stays_full(start: Open, monkeypatch: pytest.MonkeyPatch):
    full = asyncio.Event()

    async def filling(tasks: Any, writes: list[Write], wanted: Wanted, **options: Any) -> Turn:
        if full.is_set() and writes:
            raise StoreFull("no space is left")
        return await tasks.turn(writes, wanted, **options)

    monkeypatch.setattr("windlass.engine.runner._SETTLE_AGAIN_S", 0.05)
    async with start(wrap=between(filling), stop_s=0.4) as inner:
        task = await inner.submit("step")
        await inner.until_progress(task)
        full.set()
        async with asyncio.timeout(10):
            await inner.engine.drain()
    async with start() as inner:
        assert (await inner.until(task, State.RUNNING)).attempt == 2


async def test_a_caller_of_cancel_that_leaves_does_not_take_the_cancel_with_it(start: Open):
    async with start(kill_after_s=0.2) as inner:
        task = await inner.submit("sleep", grace_s=0.2)
        await inner.until(task, State.RUNNING)
        asking = asyncio.create_task(inner.engine.cancel(task.id))
        await asyncio.sleep(0)
        asking.cancel()
        assert (await inner.until(task)).state is State.CANCELLED


async def test_a_checkpoint_begins_the_count_of_interruptions_anew(start: Open):
    for _ in range(3):
        async with start(stop_s=0.3) as inner:
            task = await inner.submit("step", {"upto": 9}, key="one")
            await inner.until(task, State.RUNNING)
            await inner.until_progress(task)
            await inner.engine.drain()
            now = await inner.engine.get(task.id)
            assert (now.state, now.interrupted) == (State.QUEUED, 1)


async def test_a_stop_without_a_drain_hands_back_without_setting_apart(start: Open):
    async with start() as inner:
        tasks = [await inner.submit("sleep") for _ in range(3)]
        for task in tasks:
            await inner.until_progress(task)
        await inner.engine.stop()
        for task in tasks:
            now = await inner.store.tasks.get(task.number)
            assert now is not None
            assert (now.state, now.reason, now.solo, now.charged) == (State.QUEUED, Reason.INTERRUPTED, False, 0)
        with pytest.raises(NotReadyError):
            await inner.submit("hello", {"name": "x"})


async def test_a_solo_worker_that_does_not_begin_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windlass.link.pool._BEGINS_WITHIN_S", 0.5)
    async with engine_in(tmp_path, monkeypatch=monkeypatch) as inner:
        warm = await inner.until(await inner.submit("flaky", max_attempts=1))
        assert warm.attempt == 1
        _shared, solo, *_spare = await zoo_workers(inner)
        os.kill(solo, signal.SIGSTOP)
        ended = await inner.until(await inner.submit("flaky", max_attempts=1))
        assert (ended.state, ended.charged) == (State.FAILED, 1)
        assert ended.attempt > 1


async def zoo_workers(inner: Inner) -> list[int]:
    """Name the workers of the zoo, oldest first."""
    rows = sorted(await inner.store.registry.workers(inner.engine._home), key=lambda row: row.started)
    return [row.pid for row in rows if "zoo" in command_of(row.pid)]


CLINGING = ZOO + textwrap.dedent("""
    import threading

    @app.task(timeout="10m")
    def clings() -> None:
        def leave(*_):
            raise SystemExit(0)
        signal.signal(signal.SIGTERM, leave)
        threading.Thread(target=time.sleep, args=(600,)).start()
        time.sleep(600)
""")


async def test_a_worker_that_does_not_leave_gives_its_place_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from windlass.config.schema import Workers

    monkeypatch.setattr("windlass.link.member.LEAVES_WITHIN_S", 0.5)
    workers = Workers(solo=1)
    async with engine_in(tmp_path, monkeypatch=monkeypatch, app=CLINGING, workers=workers) as inner:
        task = await inner.submit("clings", grace_s=0.1)
        await inner.until(task, State.RUNNING)
        await asyncio.sleep(0.3)  # let it set its signal handler: before, SIGTERM ends it plainly
        await inner.engine.cancel(task.id)
        assert (await inner.until(task)).state is State.CANCELLED
        assert (await inner.until(await inner.submit("flaky", max_attempts=1))).state is State.FAILED


async def test_a_new_version_of_an_app_is_announced_when_its_worker_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with engine_in(tmp_path, monkeypatch=monkeypatch) as inner:
        with pytest.raises(InputError):
            await inner.submit("hello", {"name": "x", "title": "dr"})
        newer = ZOO.replace("async def hello(name: str)", "async def hello(name: str, title: str = '')")
        (tmp_path / "zoo_tasks.py").write_text(newer.replace('version="1"', 'version="2"'))
        for pid in await zoo_workers(inner):
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(15):
            while True:
                try:
                    task = await inner.submit("hello", {"name": "x", "title": "dr"})
                    break
                except InputError:
                    await asyncio.sleep(0.02)
        assert (await inner.until(task)).state is State.SUCCEEDED


UNUSABLE = """
import typing, msgspec, windlass
app = windlass.App()
@app.task()
def dated(day: typing.Annotated[str, msgspec.Meta(pattern=r"(?P<y>[0-9]{4})(?P=y)")]) -> None: ...
"""
COLLIDING = """
import windlass
app = windlass.App()
@app.task()
def download(url: str) -> None: ...
"""


@pytest.mark.parametrize(
    ("app", "told"),
    [(UNUSABLE, "schema of the kind 'dated'"), (COLLIDING, "'download' is built in")],
    ids=["schema", "collision"],
)
async def test_kinds_that_cannot_be_served_are_told_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: str, told: str
):
    async with engine_in(tmp_path, monkeypatch=monkeypatch, app=app) as inner:
        async with asyncio.timeout(15):
            while told not in "\n".join(inner.engine.health().problems) or "simulate" not in inner.workers.pools():
                await asyncio.sleep(0.01)
        task = await inner.submit("simulate", {"duration_s": 0.01})
        assert (await inner.until(task)).state is State.SUCCEEDED


async def test_a_task_waits_while_no_worker_knows_its_kind(start: Open):
    async with start() as inner:
        await inner.submit("hello", {"name": "x"})
    without = ZOO.replace("async def hello(", "async def goodbye(")
    async with start(app=without) as inner:
        task = await inner.submit("hello", {"name": "y"})
        assert inner.engine.waiting(task) is Waiting.NO_WORKER
        assert (await inner.until(await inner.submit("goodbye", {"name": "z"}))).state is State.SUCCEEDED
        assert (await inner.engine.get(task.id)).state is State.QUEUED
    async with start() as inner:
        assert (await inner.until(task)).state is State.SUCCEEDED


async def test_a_stranger_with_an_unreadable_name_hides_no_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rename = "import ctypes,time; ctypes.CDLL(None).prctl(15, b'\\xff\\xfe odd'); print(1, flush=True); time.sleep(60)"
    odd = await asyncio.create_subprocess_exec("python3", "-c", rename, stdout=asyncio.subprocess.PIPE)
    assert odd.stdout is not None
    try:
        await odd.stdout.readline()
        async with engine_in(tmp_path, monkeypatch=monkeypatch) as inner:
            assert (await inner.until(await inner.submit("exits"))).reason is Reason.POISON
    finally:
        odd.kill()
        await odd.wait()
    assert not is_alive(odd.pid)
