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
from typing import Final, TypeVar

import apsw

from windlass.errors import StoreCorrupt, StoreUnavailable
from windlass.store.sqlite import schema
from windlass.store.sqlite.connections import border, open_reader, open_writer, sync_directory
from windlass.store.sqlite.driver import Connection
from windlass.store.sqlite.place import Anchor

T = TypeVar("T")

READERS: Final = 3
"""Read-only connections, each used by one thread at a time."""


class Database:
    """One writing connection on one thread, and a few reading ones.

    After the first I/O error or sign of damage nothing is written or read any more: the kernel reports a page it
    could not write once and forgets it, so that a later commit would be acknowledged over a hole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._writer: Connection | None = None
        self._readers: SimpleQueue[Connection] = SimpleQueue()
        self._anchor: Anchor | None = None
        self._damage: str | None = None
        self._is_closed = False
        self._closing = asyncio.Lock()

    async def open(self) -> None:
        """Open the file, making it and bringing its schema up to date where needed.

        Raises:
            SchemaMismatch: another version of windlass wrote it. It was not touched.
            StoreError: it cannot be opened, or not safely.
        """
        await self._run(self._writing, self._open)

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run `job` on the writing thread; it makes its own transaction.

        Concurrency: one at a time, in the order of the calls. A caller that leaves does not stop it.
        """
        return await self._run(self._writing, partial(self._with_writer, job))

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run `job` on a reading thread."""
        return await self._run(self._reading, partial(self._with_reader, job))

    async def check_file(self) -> None:
        """See that the path still names the open file.

        Raises:
            StoreCorrupt: it does not; nothing is written or read any more.
        """
        if self._anchor is not None:
            await self._run(self._writing, self._anchor.check)

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
            raise StoreUnavailable(f"{self._path} is closed: open the store again")
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
        schema.check(self._path)
        self._writer = open_writer(self._path)
        schema.upgrade(self._writer)
        sync_directory(self._path.parent)
        self._anchor = Anchor(self._path)
        for _ in range(READERS):
            self._readers.put(open_reader(self._path))

    def _with_writer(self, job: Callable[[Connection], T]) -> T:
        if self._writer is None:
            raise StoreUnavailable(f"{self._path} is not open yet: wait for it")
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
            if self._damage is None:
                # Another program may be reading the file: then the log stays beside it until the next start.
                with suppress(apsw.BusyError):
                    self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
