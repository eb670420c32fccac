"""The threads that SQLite runs on: one that writes and checkpoints, a few that read. None of it on the event loop.

Knows no table, and opens nothing that `schema` has not found to be ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Protocol, TypeVar

import apsw

from windlass.errors import StoreCorrupt, StoreUnavailable
from windlass.store.sqlite import schema
from windlass.store.sqlite.connections import border, is_want_of_room, open_reader, open_writer, sync_directory
from windlass.store.sqlite.driver import Connection
from windlass.store.sqlite.inspection import Mark, inspect
from windlass.store.sqlite.place import Anchor
from windlass.store.sqlite.reserve import Reserve

T = TypeVar("T")

READERS: Final = 3
"""Read-only connections, each used by one thread at a time."""


class DatabaseAccess(Protocol):
    """A way to the file, on which the ports stand."""

    @property
    def has_room(self) -> bool:
        """Whether there is room for more than the ends of attempts. Asked by a job, it holds for that job."""
        ...

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run `job` with the connection that writes."""
        ...

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run `job` with a connection that reads."""
        ...

    async def check_file(self) -> None:
        """See that the path still names the open file."""
        ...


class Database:
    """One writing connection on one thread, and a few reading ones, to the file at `path`.

    After the first I/O error or sign of damage nothing is written or read any more: the kernel reports a page it
    could not write once and forgets it, so that a later commit would be acknowledged over a hole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._writer: Connection | None = None
        self._readers: SimpleQueue[Connection] = SimpleQueue()
        self._anchor: Anchor | None = None
        self._reserve: Reserve | None = None
        self._mark = Mark(path)
        self._damage: str | None = None
        self._is_closed = False
        self._closing = asyncio.Lock()

    @property
    def has_room(self) -> bool:
        """Whether there is room for more than the ends of attempts."""
        return self._reserve is None or self._reserve.is_whole

    async def open(self) -> None:
        """Open the file, making it and bringing its schema up to date where needed.

        Raises:
            SchemaMismatch: another version of windlass wrote it. It was not touched.
            StoreError: it cannot be opened, or not safely.
        """
        await self._run(self._writing, self._open)

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run `job` on the writing thread; it makes its own transaction.

        A disk that is full gives up its reserve, and the job runs once more.

        Concurrency: one at a time, in the order of the calls. A caller that leaves does not stop it.
        """
        return await self._run(self._writing, partial(self._with_writer, job))

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run `job` on a reading thread."""
        return await self._run(self._reading, partial(self._with_reader, job))

    async def check_file(self) -> None:
        """See that the path still names the open file, and write down what is in it.

        Raises:
            StoreCorrupt: it does not; nothing is written or read any more.
        """
        await self._run(self._writing, self._look)

    async def close(self) -> None:
        """Finish what is under way, checkpoint, and let go of the file. Idempotent.

        Raises:
            StoreError: the checkpoint failed; nothing is lost, it stays in the log beside the file.
        """
        async with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._writing, self._reading.shutdown)
            try:
                await loop.run_in_executor(self._writing, self._close)
            finally:
                self._writing.shutdown()

    async def _run(self, threads: Executor, job: Callable[[], T]) -> T:
        if self._is_closed:
            raise StoreUnavailable(f"{self.path} is closed: open the store again")
        return await asyncio.get_running_loop().run_in_executor(threads, self._guarded, job)

    def _guarded(self, job: Callable[[], T]) -> T:
        if self._damage is not None:
            raise StoreCorrupt(self._damage)
        try:
            with border():
                return job()
        except StoreCorrupt as error:
            self._damage = error.detail
            raise

    def _open(self) -> None:
        if self.path.exists():
            schema.check(self.path)
        inspect(self.path)
        self._writer = open_writer(self.path)
        schema.upgrade(self._writer)
        sync_directory(self.path.parent)
        self._reserve = Reserve(self.path.parent)
        self._anchor = Anchor(self.path)
        self._mark.say(self._writer)
        for _ in range(READERS):
            self._readers.put(open_reader(self.path))

    def _look(self) -> None:
        if self._anchor is not None and self._writer is not None:
            self._anchor.check()
            self._mark.say(self._writer)

    def _with_writer(self, job: Callable[[Connection], T]) -> T:
        if self._writer is None or self._reserve is None:
            raise StoreUnavailable(f"{self.path} is not open yet: wait for it")
        self._reserve.probe()
        try:
            return job(self._writer)
        except apsw.Error as error:
            if not (is_want_of_room(error) and self._reserve.release()):
                raise
        return job(self._writer)

    def _with_reader(self, job: Callable[[Connection], T]) -> T:
        connection = self._readers.get()
        try:
            return job(connection)
        finally:
            self._readers.put(connection)

    def _close(self) -> None:
        while not self._readers.empty():
            self._readers.get().close()
        if self._writer is None:
            return
        with border(), closing(self._writer):
            if self._damage is not None:
                # SQLite would checkpoint by itself: what came back from a failing disk must not go into the file.
                self._writer.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            else:
                self._mark.say(self._writer)
                # Another program may be reading the file, or the disk be full: then the log stays until the next start.
                with suppress(apsw.BusyError, apsw.FullError):
                    self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
