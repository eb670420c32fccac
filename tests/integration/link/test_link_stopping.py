"""Being told, terminated and killed, in shared and in solo workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from link_room import SHARED, SOLO, Placed, Room, workers_of
from live import is_alive

from windlass.contracts.link import Gone
from windlass.core.outcome import Errored, Succeeded
from windlass.core.stop import StopReason
from windlass.wire.frames import Accepted, Ended, Report

pytestmark = pytest.mark.anyio

HANDLERS = """
@app.task()
async def wait(*, ctx) -> None:
    ctx.progress(1)
    await asyncio.sleep(600)

@app.task(isolation="solo")
async def wait_alone() -> None:
    await asyncio.sleep(600)

@app.task()
def watch(*, ctx) -> str:
    ctx.progress(1)
    while not ctx.stopping:
        time.sleep(0.002)
    return "saw it"

@app.task()
async def clean_up(*, ctx) -> str:
    ctx.progress(1)
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0.01)
        if ctx.stopping:
            return "cleaned up"

@app.task()
async def swallow(*, ctx) -> None:
    ctx.progress(0)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            ctx.progress(1)

@app.task()
async def block(seconds: float) -> None:
    time.sleep(seconds)

@app.task()
def ignore(*, ctx) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctx.progress(1)
    time.sleep(600)

@app.task()
def family(*, ctx) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    child.stdout.readline()
    ctx.progress(child.pid)
    child.wait()
"""


def is_stopped(word: object) -> bool:
    return isinstance(word, Ended) and word.stopped and isinstance(word.outcome, Errored)


async def test_a_tell_cancels_an_awaited_handler_and_is_seen_by_a_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        for kind in ("wait", "wait_alone"):
            placed = await room.place(kind)
            await placed.until(Accepted)
            placed.seat.tell(StopReason.CANCEL)
            assert is_stopped(await placed.last_word())
        for kind, result in (("watch", b'"saw it"'), ("clean_up", b'"cleaned up"')):
            placed = await room.place(kind)
            await placed.until(Report)
            placed.seat.tell(StopReason.DRAIN)
            assert await placed.last_word() == Ended(placed.token, Succeeded(result))


@pytest.mark.parametrize("kind", ["wait", "wait_alone", "watch"])
async def test_a_tell_right_behind_the_assignment_is_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS, solo=1) as room:
        for _ in range(50):
            placed = await room.place(kind)
            placed.seat.tell(StopReason.CANCEL)
            word = await placed.last_word()
            assert isinstance(word, Ended)
            assert word.stopped or word.outcome == Succeeded(b'"saw it"')


async def test_a_tell_that_is_read_together_with_its_assignment_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        blocking = await room.place("block", {"seconds": 0.2})
        await blocking.until(Accepted)
        placed = [await room.place("wait") for _ in range(5)]
        for each in placed:
            each.seat.tell(StopReason.CANCEL)
        for each in placed:
            assert is_stopped(await each.last_word())
        assert isinstance(await blocking.last_word(), Ended)


async def test_a_tell_for_an_attempt_that_has_ended_touches_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, HANDLERS, solo=1) as room:
        first = await room.place("block", {"seconds": 0}, pool=SOLO)
        assert isinstance(await first.last_word(), Ended)
        second = await room.place("block", {"seconds": 0.1}, pool=SOLO)
        assert second.pid == first.pid
        first.seat.tell(StopReason.CANCEL)
        assert await second.last_word() == Ended(second.token, Succeeded(b"null"))


async def beside(room: Room, count: int) -> tuple[Placed, list[Placed]]:
    """Place an attempt that does not let itself be stopped, and `count` others beside it."""
    stubborn = await room.place("swallow")
    await stubborn.until(Report)
    neighbours = [await room.place("wait") for _ in range(count)]
    for each in neighbours:
        await each.until(Report)
        assert each.pid == stubborn.pid
    return stubborn, neighbours


async def test_terminating_an_attempt_in_a_shared_worker_retires_it_and_tells_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS, shared_slots=10) as room:
        stubborn, neighbours = await beside(room, 3)
        stubborn.seat.tell(StopReason.CANCEL)
        stubborn.seat.terminate()
        for each in neighbours:
            assert is_stopped(await each.last_word())
        assert is_alive(stubborn.pid)
        later = await room.place("wait")
        assert later.pid != stubborn.pid
        stubborn.seat.kill()
        gone = await stubborn.last_word()
        assert isinstance(gone, Gone)
        assert (gone.alone, gone.discarded, gone.error.exit) == (True, True, "SIGKILL")
        assert room.workers.slots()[SHARED] == 9


async def test_killing_a_shared_worker_takes_every_neighbour_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        stubborn, neighbours = await beside(room, 2)
        stubborn.seat.kill()
        for each in (stubborn, *neighbours):
            gone = await each.last_word()
            assert isinstance(gone, Gone)
            assert (gone.alone, gone.discarded) == (False, True)
        assert not is_alive(stubborn.pid)
        after = await room.place("block", {"seconds": 0})
        assert isinstance(await after.last_word(), Ended)


async def test_a_retired_worker_ends_by_itself_once_it_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        first, second = await room.place("wait"), await room.place("wait")
        for each in (first, second):
            await each.until(Report)
        first.seat.terminate()
        first.seat.tell(StopReason.CANCEL)
        for each in (first, second):
            assert is_stopped(await each.last_word())
        await room.until(lambda: not is_alive(first.pid))


async def test_terminating_an_attempt_in_a_solo_worker_signals_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = await room.place("wait_alone")
        await placed.until(Accepted)
        placed.seat.terminate()
        gone = await placed.last_word()
        assert isinstance(gone, Gone)
        assert (gone.alone, gone.discarded, gone.error.exit) == (True, False, "SIGTERM")
        assert gone.error.type == "WorkerGone"


async def test_a_kill_ends_what_ignores_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = await room.place("ignore")
        await placed.until(Report)
        placed.seat.terminate()
        placed.seat.kill()
        placed.seat.kill()
        gone = await placed.last_word()
        assert isinstance(gone, Gone)
        assert gone.error.exit == "SIGKILL"


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_nothing_a_handler_has_spawned_is_alive_when_its_worker_is_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = await room.place("family")
        grandchild = int((await placed.until(Report)).progress.done)
        assert is_alive(grandchild)
        getattr(placed.seat, how)()
        assert isinstance(await placed.last_word(), Gone)
        assert not is_alive(grandchild)
        assert not is_alive(placed.pid)


async def test_all_workers_are_killed_at_once_from_any_thread_and_others_take_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        attempts = [await room.place("wait"), await room.place("wait"), await room.place("ignore")]
        for attempt in attempts:
            await attempt.until(Accepted)
        pids = {attempt.pid for attempt in attempts}
        assert len(pids) == 2
        await asyncio.to_thread(room.workers.kill_all)
        for attempt in attempts:
            gone = await attempt.last_word()
            assert isinstance(gone, Gone)
            assert gone.discarded
        assert not any(is_alive(pid) for pid in pids)
        next_one = await room.place("wait")
        await next_one.until(Accepted)
        assert next_one.pid not in pids
