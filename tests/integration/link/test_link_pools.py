"""Workers as pools of slots: what a hello announces, who gets a slot, and what a worker has about it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from link_room import APP, SHARED, SOLO, Placed, Room, workers_of

from windlass.core.ids import Token
from windlass.core.kind import BUILTIN_APP, Isolation
from windlass.core.outcome import Errored, Succeeded
from windlass.core.stop import StopReason
from windlass.errors import WorkerError
from windlass.wire.codec import decode_json
from windlass.wire.frames import Accepted, Ended, Report

pytestmark = pytest.mark.anyio

HANDLERS = """
@app.task()
async def greet(name: str, times: int = 1) -> str:
    "Greet somebody."
    return f"hello {name} " * times

@app.task()
async def wait() -> None:
    await asyncio.sleep(600)

@app.task(queue="slow", timeout="1h", max_attempts=2)
def wait_alone(*, ctx) -> None:
    while not ctx.stopping:
        time.sleep(0.005)
"""
ALONE = """
@app.task()
def wait(*, ctx) -> str:
    while not ctx.stopping:
        time.sleep(0.005)
    return "waited"
"""


async def test_a_hello_announces_every_kind_with_its_schema_and_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        announced = {app: {kind.name: kind for kind in kinds} for app, kinds in room.hellos}
        assert set(announced) == {APP, BUILTIN_APP}
        assert len(room.hellos) == 2
        kinds = announced[APP]
        assert set(kinds) == {"greet", "wait", "wait_alone"}
        greet, alone = kinds["greet"], kinds["wait_alone"]
        assert (greet.app, greet.version, greet.summary, greet.isolation) == (
            APP,
            "7",
            "Greet somebody.",
            Isolation.SHARED,
        )
        assert (alone.isolation, alone.queue, alone.timeout_s, alone.max_attempts) == (Isolation.SOLO, "slow", 3600, 2)
        fields = decode_json(greet.schema)["$defs"]["greet"]
        assert fields["properties"] == {"name": {"type": "string"}, "times": {"type": "integer", "default": 1}}
        assert fields["required"] == ["name"]
        assert "ctx" not in decode_json(alone.schema)["$defs"]["wait_alone"]["properties"]
        pools = room.workers.pools()
        assert (pools["greet"], pools["wait_alone"]) == ((SHARED, SOLO), (SOLO, SOLO))
        assert pools["simulate"][0] == f"{BUILTIN_APP}/shared"


async def test_a_shared_worker_takes_attempts_up_to_its_capacity_and_not_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS, shared_slots=3) as room:
        assert room.workers.slots()[SHARED] == 3
        placed: list[Placed] = []
        for left in (2, 1, 0):
            placed.append(await room.place("wait"))
            assert room.workers.slots().get(SHARED, 0) == left
        assert len({each.pid for each in placed}) == 1
        with pytest.raises(WorkerError, match="no slot is free in the shared workers") as refused:
            room.workers.take(SHARED, Token("one too many"), pytest.fail)
        assert refused.value.code == "no_slot"
        rooms = room.rooms
        placed[1].seat.tell(StopReason.CANCEL)
        await placed[1].last_word()
        assert room.workers.slots()[SHARED] == 1
        assert room.rooms > rooms
        placed[1].seat.leave()
        assert room.workers.slots()[SHARED] == 1
        greeted = await room.place("greet", {"name": "ada"})
        assert await greeted.last_word() == Ended(greeted.token, Succeeded(b'"hello ada "'))


async def test_words_of_one_attempt_do_not_reach_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        placed = [await room.place("greet", {"name": str(n)}) for n in range(50)]
        for n, each in enumerate(placed):
            assert await each.last_word() == Ended(each.token, Succeeded(b'"hello %d "' % n))
            assert each.words[:-1] == [Accepted(each.token)]


async def grow(room: Room, size: int) -> list[Placed]:
    """Fill a solo pool to its limit."""
    placed: list[Placed] = []
    for _ in range(size):
        placed.append(await room.place("wait"))
        await placed[-1].until(Accepted)
        assert room.workers.slots().get(SOLO, 0) <= 1
    return placed


async def test_a_solo_pool_grows_up_to_its_limit_with_one_worker_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, ALONE, solo=3) as room:
        assert SHARED not in room.workers.slots()
        placed = await grow(room, 3)
        assert len({each.pid for each in placed}) == 3
        assert SOLO not in room.workers.slots()
        with pytest.raises(WorkerError):
            room.workers.take(SOLO, Token("one too many"), pytest.fail)
        for each in placed[:2]:
            each.seat.tell(StopReason.CANCEL)
            assert await each.last_word() == Ended(each.token, Succeeded(b'"waited"'))
        assert room.workers.slots()[SOLO] == 2
        again = await room.place("wait")
        assert again.pid in {each.pid for each in placed[:2]}
        assert room.workers.slots()[SOLO] == 1
        assert len(room.registry.recorded) == 4  # with that of the built-in kinds: none was spawned twice


async def test_a_solo_pool_of_one_worker_serves_one_attempt_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, ALONE, solo=1) as room:
        [placed] = await grow(room, 1)
        assert SOLO not in room.workers.slots()
        placed.seat.tell(StopReason.CANCEL)
        await placed.last_word()
        assert room.workers.slots()[SOLO] == 1


async def test_a_slot_may_be_taken_in_a_worker_that_is_still_coming_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with workers_of(tmp_path, monkeypatch, HANDLERS, solo=4) as room:
        assert BUILTIN_APP + "/solo" in room.workers.slots()  # nobody is there: taking it spawns the worker
        placed = await room.place("simulate", {"duration_s": 0}, pool=BUILTIN_APP + "/solo")
        assert isinstance(await placed.last_word(), Ended)


async def test_plain_handlers_in_a_shared_worker_all_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    handlers = """
    together = threading.Barrier(40)

    @app.task(isolation="shared")
    def meet() -> None:
        together.wait(10)
    """
    async with workers_of(tmp_path, monkeypatch, handlers, shared_slots=40) as room:
        placed = [await room.place("meet") for _ in range(40)]
        for each in placed:
            assert await each.last_word() == Ended(each.token, Succeeded(b"null"))


async def test_a_kind_that_the_app_has_no_handler_for_ends_at_once_and_may_run_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with workers_of(tmp_path, monkeypatch, HANDLERS) as room:
        for pool in (SHARED, SOLO):
            placed = await room.place("simulate", pool=pool)
            word = await placed.last_word()
            assert isinstance(word, Ended)
            assert word.outcome.error.code == "handler_unavailable"  # type: ignore[union-attr]
            assert word.outcome.retryable  # type: ignore[union-attr]
        assert isinstance(await (await room.place("greet", {"name": "x"})).last_word(), Ended)


RAISING = """
class Unreadable(Exception):
    def __str__(self):
        raise SystemExit

def raise_it(what):
    raise eval(what)

@app.task()
async def shared(what: str) -> None:
    raise_it(what)

@app.task(isolation="shared")
def beside(what: str) -> None:
    raise_it(what)

@app.task()
def solo(what: str) -> None:
    raise_it(what)

@app.task(isolation="solo")
async def solo_async(what: str) -> None:
    raise_it(what)
"""
RAISED = [
    "SystemExit(1)",
    "KeyboardInterrupt()",
    "GeneratorExit()",
    "BaseException('x')",
    "StopIteration()",
    "BaseExceptionGroup('many', [ValueError(1), KeyboardInterrupt()])",
    "MemoryError()",
    "RecursionError()",
    "Unreadable()",
    "asyncio.CancelledError()",
    "ValueError('x' * 10_000_000)",
]


@pytest.mark.parametrize("kind", ["shared", "beside", "solo", "solo_async"])
async def test_a_worker_outlives_whatever_its_handlers_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    async with workers_of(tmp_path, monkeypatch, RAISING, solo=1) as room:
        pids: set[int] = set()
        for what in RAISED:
            placed = await room.place(kind, {"what": what})
            word = await placed.last_word()
            assert isinstance(word, Ended), what
            assert isinstance(word.outcome, Errored)
            assert not word.stopped
            pids.add(placed.pid)
        assert len(pids) == 1


SURROUNDINGS = """
@app.task()
def look(*, ctx) -> dict:
    def links(directory):
        found = []
        for fd in os.listdir(directory):
            try:
                found.append(os.readlink(f"{directory}/{fd}"))
            except OSError:
                pass
        return found
    listing = "import os; print(*[os.readlink('/proc/self/fd/' + f) for f in os.listdir('/proc/self/fd')[:-1]])"
    child = subprocess.run([sys.executable, "-c", listing], close_fds=False, capture_output=True, text=True)
    return {
        "environ": dict(os.environ),
        "stdin": os.readlink("/proc/self/fd/0"),
        "read": sys.stdin.read(),
        "links": links("/proc/self/fd"),
        "of_child": child.stdout.split(),
        "group": os.getpgrp() == os.getpid() == os.getsid(0),
        "directory": os.getcwd(),
        "nice": os.nice(0),
    }
"""


async def test_a_worker_has_nothing_of_its_server_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WINDLASS_LOG_LEVEL", "debug")
    monkeypatch.setenv("WINDLASS_SECRET", "x")
    monkeypatch.setenv("MY_OWN", "kept")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        inode = os.fstat(listener.fileno()).st_ino
        async with workers_of(tmp_path, monkeypatch, SURROUNDINGS, nice=3) as room:
            word = await (await room.place("look")).last_word()
    assert isinstance(word, Ended)
    assert isinstance(word.outcome, Succeeded)
    seen = decode_json(word.outcome.result)
    assert not [name for name in seen["environ"] if name.startswith("WINDLASS_")]
    assert seen["environ"]["MY_OWN"] == "kept"
    assert (seen["stdin"], seen["read"]) == ("/dev/null", "")
    assert f"socket:[{inode}]" not in seen["links"]
    assert not [link for link in seen["of_child"] if link.startswith("socket:")]
    assert seen["group"]
    assert seen["directory"] == str(tmp_path)
    assert seen["nice"] == os.nice(0) + 3


async def test_progress_of_a_blocking_handler_arrives_while_it_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    handlers = """
    @app.task()
    def count(*, ctx) -> None:
        for n in range(200_000):
            ctx.progress(n)
        while not ctx.stopping:
            time.sleep(0.005)
    """
    async with workers_of(tmp_path, monkeypatch, handlers) as room:
        placed = await room.place("count")
        async with asyncio.timeout(15):
            while (await placed.until(Report)).progress.done < 199_999:
                pass
        assert len(placed.words) < 40  # coalesced: the flood itself would be 200,000
        placed.seat.tell(StopReason.CANCEL)
        assert isinstance(await placed.last_word(), Ended)
