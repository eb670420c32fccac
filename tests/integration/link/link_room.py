"""Worker processes and what tests ask of them, without an engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from live import children, command_of

from windlass.config.schema import Settings, Workers
from windlass.contracts.link import Gone, Seat, Word
from windlass.contracts.registry import WorkerRow
from windlass.core.ids import TaskId, Token
from windlass.core.kind import Kind
from windlass.engine.clock import SystemIds
from windlass.link.workers import LocalWorkers
from windlass.store.memory import MemoryRegistry
from windlass.store.tenure import Tenure
from windlass.wire.codec import encode_json
from windlass.wire.frames import Assign, Ended

PATIENCE_S = 8.0
"""A limit on hanging, not a measure of speed."""
APP = "link_tasks:app"
SHARED, SOLO = f"{APP}/shared", f"{APP}/solo"

HEAD = """
import asyncio, os, signal, struct, subprocess, sys, threading, time
import windlass
app = windlass.App(version="7")
"""


class Diary(MemoryRegistry):
    """A registry that keeps what has been written into it, and when."""

    def __init__(self) -> None:
        super().__init__(Tenure())
        self.recorded: list[tuple[float, WorkerRow]] = []

    async def record_worker(self, worker: WorkerRow) -> None:
        self.recorded.append((asyncio.get_running_loop().time(), worker))
        await super().record_worker(worker)


class Placed:
    """One attempt in a worker."""

    def __init__(self, token: Token) -> None:
        self.seat: Seat
        self.token = token
        self.words: list[Word] = []
        self.said: asyncio.Queue[Word] = asyncio.Queue()

    @property
    def pid(self) -> int:
        """The worker it is in."""
        return self.seat.member.pid  # type: ignore[attr-defined]

    async def hear(self) -> Word:
        async with asyncio.timeout(PATIENCE_S):
            word = await self.said.get()
        self.words.append(word)
        return word

    async def until(self, kind: type[Any]) -> Any:
        """Listen until a word of `kind`."""
        while not isinstance(word := await self.hear(), kind):
            assert not isinstance(word, Ended | Gone), word
        return word

    async def last_word(self) -> Ended | Gone:
        """Listen to the end and leave."""
        while not isinstance(word := await self.hear(), Ended | Gone):
            pass
        self.seat.leave()
        return word


class Room:
    """Started workers."""

    def __init__(self, workers: LocalWorkers, registry: Diary) -> None:
        self.workers = workers
        self.registry = registry
        self.hellos: list[tuple[str, Sequence[Kind]]] = []
        self.rooms = 0
        self._ids = SystemIds()

    def on_room(self) -> None:
        self.rooms += 1

    def on_kinds(self, app: str, kinds: Sequence[Kind]) -> None:
        self.hellos.append((app, kinds))

    async def start(self) -> None:
        await self.workers.start(on_room=self.on_room, on_kinds=self.on_kinds)

    async def until(self, holds: Callable[[], Any], *, timeout_s: float = PATIENCE_S) -> Any:
        """Wait until `holds()` is true and give what it gave."""
        async with asyncio.timeout(timeout_s):
            while not (value := holds()):
                await asyncio.sleep(0.005)
        return value

    async def place(self, kind: str, payload: dict[str, Any] | None = None, *, pool: str | None = None) -> Placed:
        """Take a slot for an attempt of `kind` and assign it."""
        shared, _ = self.workers.pools()[kind]
        chosen = pool or shared
        await self.until(lambda: self.workers.slots().get(chosen))
        return self.seated(kind, payload, pool=chosen)

    def seated(self, kind: str, payload: dict[str, Any] | None = None, *, pool: str | None = None) -> Placed:
        """Take a slot that is free, and assign it, without giving way to anybody."""
        chosen = pool or self.workers.pools()[kind][0]
        token = self._ids.token()
        placed = Placed(token)
        placed.seat = self.workers.take(chosen, token, placed.said.put_nowait)
        frame = Assign(
            task_id=TaskId(f"task-{token}"),
            token=token,
            attempt=1,
            kind=kind,
            payload=encode_json(payload or {}),
            directory="/nowhere/at/all",
        )
        placed.seat.assign(frame)
        return placed


@contextlib.asynccontextmanager
async def workers_of(
    directory: Path, monkeypatch: pytest.MonkeyPatch, handlers: str, *, wait: bool = True, **limits: Any
) -> AsyncIterator[Room]:
    """Start workers for an app with `handlers`, and see all of them gone at the end."""
    (directory / "link_tasks.py").write_text(HEAD + textwrap.dedent(handlers))
    monkeypatch.chdir(directory)
    registry = Diary()
    settings = Settings(apps=[APP], workers=Workers(**limits))
    workers = LocalWorkers(settings, registry=registry, server=SystemIds().server_id())
    room = Room(workers, registry)
    try:
        await room.start()
        if wait:
            await room.until(lambda: not workers.problems())
        yield room
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await workers.stop()


def our_workers() -> list[int]:
    """Name the living worker processes that this process has started."""
    return [pid for pid in children(os.getpid()) if "windlass.worker" in command_of(pid)]
