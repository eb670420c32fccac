"""The last word of an attempt whose worker dies, breaks the protocol, or both: it comes, once, and after all others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from link_room import Placed, workers_of
from live import is_alive

from windlass.contracts.link import Gone
from windlass.core.outcome import Succeeded
from windlass.core.stop import StopReason
from windlass.wire.frames import Accepted, Ended, Report

pytestmark = pytest.mark.anyio

HANDLERS = """
def wire(ctx):
    "The worker's end of the link, which a handler has no business with."
    return ctx._host._send.__self__

class DiesAfterSending:
    "Stands in for the link's socket: the process ends the moment its next frame is sent."
    def __init__(self, real, how):
        self.real, self.how = real, how
    def __getattr__(self, name):
        return getattr(self.real, name)
    def sendall(self, data):
        self.real.sendall(data)
        self.how()

def dying(ctx, how):
    link = wire(ctx)
    link.socket = DiesAfterSending(link.socket, how)

@app.task()
def ends_and_exits(size: int, *, ctx) -> str:
    dying(ctx, lambda: os._exit(0))
    return "x" * size

@app.task()
async def ends_and_exits_shared(size: int, *, ctx) -> str:
    dying(ctx, lambda: os.kill(0, signal.SIGKILL))
    return "x" * size

@app.task()
def ends_and_leaves_a_child(size: int, *, ctx) -> str:
    "The child, forked, holds the link open."
    if os.fork() == 0:
        time.sleep(600)
    dying(ctx, lambda: os._exit(0))
    return "x" * size

@app.task()
async def quick() -> str:
    return "quick"

@app.task()
async def blocks_until(path: str) -> None:
    while not os.path.exists(path):
        time.sleep(0.005)

@app.task()
async def dies_in_its_first_step() -> None:
    os._exit(3)

@app.task()
def exits(code: int) -> None:
    os._exit(code)

@app.task()
def aborts() -> None:
    os.abort()

@app.task()
def exits_in_a_thread() -> None:
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()

@app.task()
def writes(raw: str, times: int = 1, *, ctx) -> None:
    os.set_blocking(wire(ctx).socket.fileno(), True)
    for _ in range(times):
        wire(ctx).socket.sendall(bytes.fromhex(raw))
    time.sleep(600)

@app.task()
async def writes_shared(raw: str, *, ctx) -> None:
    wire(ctx).socket.sendall(bytes.fromhex(raw))
    await asyncio.sleep(600)

@app.task()
def closes(*, ctx) -> None:
    import socket
    wire(ctx).socket.shutdown(socket.SHUT_WR)
    time.sleep(600)

@app.task()
def closes_and_stands_still(*, ctx) -> None:
    import socket
    wire(ctx).socket.shutdown(socket.SHUT_WR)
    os.kill(os.getpid(), signal.SIGSTOP)

@app.task()
def fills_and_exits(size: int, *, ctx) -> str:
    "All of the result is in the link, and nobody reads yet, when the process is gone."
    import socket
    so_sndbufforce = 32
    try:
        wire(ctx).socket.setsockopt(socket.SOL_SOCKET, so_sndbufforce, 8 << 20)
    except PermissionError:  # then it waits for a reader, as it would otherwise
        pass
    ctx.progress(os.getpid())
    dying(ctx, lambda: os._exit(0))
    return "x" * size

@app.task()
async def wait(*, ctx) -> None:
    ctx.progress(1)
    await asyncio.sleep(600)

@app.task()
async def fine() -> str:
    return "fine"
"""


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run on both loops: in which order the end of a process and that of its stream come is the loop's affair."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """Collect what the loop was told that nobody has handled."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    yield told
    asyncio.get_running_loop().set_exception_handler(None)


async def is_silent(placed: Placed) -> bool:
    """Whether nothing more comes after the last word."""
    try:
        async with asyncio.timeout(0.05):
            await placed.said.get()
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize(
    ("kind", "repeats"), [("ends_and_exits", 30), ("ends_and_exits_shared", 10), ("ends_and_leaves_a_child", 5)]
)
async def test_a_result_sent_right_before_the_worker_died_is_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, repeats: int
):
    size = 700_000  # more than a socket holds: the end of it is still under way when the process is gone
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        for _ in range(repeats):
            placed = await room.place(kind, {"size": size})
            ended = await placed.until(Ended)
            assert ended.outcome == Succeeded(b'"' + b"x" * size + b'"')
            assert isinstance(await placed.hear(), Gone)
            placed.seat.leave()
        assert await is_silent(placed)


async def test_a_result_that_nobody_has_read_when_the_worker_was_gone_is_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    size = 1_000_000
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        for _ in range(3):
            placed = await room.place("fills_and_exits", {"size": size})
            pid = int((await placed.until(Report)).progress.done)
            give_up_at = time.monotonic() + 1.0
            while is_alive(pid) and time.monotonic() < give_up_at:
                time.sleep(0.01)  # noqa: ASYNC251 the loop must not read meanwhile
            time.sleep(0.05)  # noqa: ASYNC251
            assert (await placed.until(Ended)).outcome == Succeeded(b'"' + b"x" * size + b'"')
            assert isinstance(await placed.hear(), Gone)
            placed.seat.leave()


@pytest.mark.parametrize(
    ("kind", "payload", "ending"),
    [("exits", {"code": 0}, "exit 0"), ("exits", {"code": 3}, "exit 3"), ("aborts", {}, "SIGABRT")],
)
async def test_a_worker_that_dies_is_gone_once_with_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, payload: dict[str, Any], ending: str
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = await room.place(kind, payload)
        gone = await placed.last_word()
        assert isinstance(gone, Gone)
        assert (gone.error.exit, gone.alone, gone.discarded) == (ending, True, False)
        assert placed.words[:-1] == [Accepted(placed.token)]
        assert await is_silent(placed)


async def test_an_exit_in_a_thread_ends_that_thread_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = await room.place("exits_in_a_thread")
        assert await placed.last_word() == Ended(placed.token, Succeeded(b"null"))


def framed(body: bytes) -> str:
    return (len(body).to_bytes(4, "big") + body).hex()


GARBAGE = {
    "a header that announces 4 GiB": b"\xff\xff\xff\xff".hex(),
    "text": framed(b"GET / HTTP/1.1\r\n\r\n"),
    "an empty frame": framed(b""),
    "a frame without end inside": framed(b"\x82\xa4type\xa5Unfit\xa1x" + b"\x91" * 5_000),
    "a frame that only a server sends": framed(b"\x81\xa4type\xa6Retire"),
    "a frame of no kind": framed(b"\x81\xa4type\xa4What"),
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_handler_that_writes_garbage_to_the_link_loses_its_worker_and_the_server_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]], raw: str
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = await room.place("writes", {"raw": raw})
        gone = await placed.last_word()
        assert isinstance(gone, Gone)
        assert gone.error.exit == "SIGKILL"
        assert await is_silent(placed)
        fine = await room.place("fine")
        assert await fine.last_word() == Ended(fine.token, Succeeded(b'"fine"'))
    assert not complaints


async def test_garbage_without_end_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]]
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = await room.place("writes", {"raw": "ff" * 100_000, "times": 1_000_000})
        assert isinstance(await placed.last_word(), Gone)
    assert not complaints


async def test_garbage_in_a_shared_worker_ends_its_neighbours_too_and_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]]
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        neighbour = await room.place("wait")
        await neighbour.until(Report)
        elsewhere = await room.place("simulate", {"duration_s": 60})
        await elsewhere.until(Accepted)
        placed = await room.place("writes_shared", {"raw": "ffffffff"})
        for each in (placed, neighbour):
            gone = await each.last_word()
            assert isinstance(gone, Gone)
            assert not gone.alone
        elsewhere.seat.tell(StopReason.CANCEL)
        assert isinstance(await elsewhere.last_word(), Ended)
    assert not complaints


@pytest.mark.parametrize("raw", ["00", "0000", "00000010ff", ""], ids=["1 byte", "2 bytes", "half a frame", "nothing"])
async def test_a_stream_that_ends_in_the_middle_of_a_frame_ends_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaints: list[dict[str, Any]], raw: str
):
    handlers = (
        HANDLERS
        + f"""
@app.task()
def half(*, ctx) -> None:
    wire(ctx).socket.sendall(bytes.fromhex("{raw}"))
    os._exit(5)
"""
    )
    async with workers_of(tmp_path, monkeypatch, handlers) as room:
        gone = await (await room.place("half")).last_word()
        assert isinstance(gone, Gone)
        assert gone.error.exit == "exit 5"
    assert not complaints


@pytest.mark.parametrize("kind", ["closes", "closes_and_stands_still"])
async def test_a_worker_that_closes_its_link_and_lives_on_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        gone = await (await room.place(kind)).last_word()
        assert isinstance(gone, Gone)
        assert gone.error.exit == "SIGKILL"


async def test_an_ending_is_told_though_a_neighbour_blocks_the_loop_in_the_very_same_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    go = tmp_path / "go"
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        first, blocker = room.seated("quick"), room.seated("blocks_until", {"path": str(go)})
        assert [type(await first.hear()), type(await first.hear())] == [Accepted, Ended]
        go.touch()
        assert isinstance(await blocker.last_word(), Ended)


async def test_that_an_attempt_has_begun_is_told_before_its_first_step_can_end_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = [room.seated("quick"), room.seated("dies_in_its_first_step"), room.seated("quick")]
        for each in placed:
            assert isinstance(await each.hear(), Accepted)
        gone = await placed[1].last_word()
        assert isinstance(gone, Gone)
        assert gone.error.exit == "exit 3"
