"""The fence around a server whose lease others may take over: put up in time, from a thread that nothing blocks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from engine_room import CLOCK, until

from windlass.core.ids import ServerId
from windlass.core.stop import StopTimes
from windlass.engine.keeper import Fencing, Keeper
from windlass.errors import StoreUnavailable

pytestmark = pytest.mark.anyio

TIMES = StopTimes(ttl_s=1.5, fence_margin_s=0.3)  # told after 0.75 s, killed after 1.2 s, beats every 0.25 s


class Beats:
    """A registry that answers beats as it is told, or not at all."""

    def __init__(self) -> None:
        self.servers: list[ServerId] = []
        self.answer: bool | Exception | None = True

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        del now
        self.servers.append(server)
        if self.answer is None:
            await asyncio.sleep(3600)
        if isinstance(self.answer, Exception):
            raise self.answer
        return bool(self.answer)


class Watch:
    """What a keeper tells and does, each with when and in which thread."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float, int]] = []
        self.since: list[float] = []
        self.failures: list[BaseException] = []

    def note(self, what: str) -> None:
        self.told.append((what, time.monotonic(), threading.get_ident()))

    def fenced(self, since: float) -> None:
        self.since.append(since)
        self.note("fenced")

    @property
    def names(self) -> list[str]:
        return [what for what, _, _ in self.told]

    def at(self, what: str) -> float:
        return next(at for name, at, _ in self.told if name == what)

    def threads(self, what: str) -> set[int]:
        return {thread for name, _, thread in self.told if name == what}


class Room:
    """A keeper under watch."""

    def __init__(self) -> None:
        self.beats, self.watch = Beats(), Watch()
        watch = self.watch
        self.keeper = Keeper(
            self.beats,  # type: ignore[arg-type]  # a keeper does nothing but beat
            ServerId("first"),
            clock=CLOCK,
            times=TIMES,
            on_failure=watch.failures.append,
            fencing=Fencing(
                watch.fenced, lambda: watch.note("renewed"), lambda: watch.note("lost"), lambda: watch.note("killed")
            ),
        )


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    room = Room()
    room.keeper.start()
    yield room
    async with asyncio.timeout(10):
        await room.keeper.stop()
    assert not room.watch.failures


async def heard(room: Room, what: str) -> None:
    await until(lambda: what in room.watch.names)


@pytest.mark.parametrize("answer", [StoreUnavailable("gone"), None], ids=["refused", "not answered"])
async def test_without_a_renewal_all_is_told_at_half_the_lease_and_killed_before_its_end(
    room: Room, answer: Exception | None
) -> None:
    await until(lambda: len(room.beats.servers) >= 2)
    room.beats.answer = answer
    await heard(room, "killed")
    [since] = room.watch.since
    assert room.watch.names == ["fenced", "killed"]
    assert TIMES.ttl_s / 2 <= room.watch.at("fenced") - since < TIMES.ttl_s * 2 / 3
    assert TIMES.ttl_s - TIMES.fence_margin_s <= room.watch.at("killed") - since < TIMES.ttl_s
    assert room.watch.threads("fenced") == {threading.get_ident()}
    assert threading.get_ident() not in room.watch.threads("killed")


async def test_a_beat_that_gets_through_again_lifts_the_fence_and_nothing_is_killed(room: Room) -> None:
    room.beats.answer = StoreUnavailable("gone")
    await heard(room, "fenced")
    room.beats.answer = True
    await heard(room, "renewed")
    await until(lambda: len(room.beats.servers) > 12)
    assert room.watch.names == ["fenced", "renewed"]


async def test_workers_are_killed_in_time_while_the_loop_stands_still(room: Room) -> None:
    await until(lambda: len(room.beats.servers) >= 2)
    room.beats.answer = StoreUnavailable("gone")
    began_at = time.monotonic()
    while "killed" not in room.watch.names:  # the loop turns just often enough not to count as wedged
        time.sleep(0.5)  # noqa: ASYNC251 blocking is the point
        await asyncio.sleep(0)
        assert time.monotonic() - began_at < 5
    assert room.watch.at("killed") - room.watch.since[0] < TIMES.ttl_s


async def test_a_lease_that_has_ended_is_told_once_and_all_killed_at_once_and_the_next_one_is_kept(room: Room) -> None:
    room.beats.answer = False
    await until(lambda: {"lost", "killed"} <= set(room.watch.names))
    count = len(room.beats.servers)
    assert sorted(room.watch.names) == ["killed", "lost"]
    assert threading.get_ident() not in room.watch.threads("killed")
    room.beats.answer = True
    room.keeper.keep(ServerId("second"), renewed_at=time.monotonic())
    await until(lambda: len(room.beats.servers) > count + 8)
    assert set(room.beats.servers[count + 1 :]) == {"second"}
    assert sorted(room.watch.names) == ["killed", "lost"]


async def test_a_lease_that_was_taken_up_too_late_is_fenced_at_once(room: Room) -> None:
    room.beats.answer = None
    room.keeper.keep(ServerId("second"), renewed_at=time.monotonic() - TIMES.ttl_s)
    await heard(room, "fenced")
    assert sorted(room.watch.names) == ["fenced", "killed"]
    assert room.watch.at("killed") - room.watch.since[0] < TIMES.ttl_s + 0.5
