"""The stores held against the model: one in memory, one in a file that is killed, closed and made to fail.

Knows no rule of theirs.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
from model_ids import CountedIds
from store_cases import Bench, database_of

from windlass.contracts.store import Store
from windlass.core.limits import PAGE_MAX
from windlass.core.query import Order, TaskQuery
from windlass.store.memory import MemoryStore
from windlass.store.open import open_store
from windlass.store.sqlite import statements as sql
from windlass.store.sqlite.store import DATABASE_FILE

FAULTS = {
    "busy": apsw.SQLITE_BUSY,
    "full": apsw.SQLITE_FULL,
    "damaged": apsw.SQLITE_IOERR_WRITE,
    "killed": apsw.SQLITE_ERROR,
}
"""How a turn can be made to fail at one of its statements; the last two are the end of the open store."""

CHECKPOINTS = "SELECT number, checkpoint FROM checkpoints"


class MemoryRig:
    """A store in memory, which nothing can befall."""

    def __init__(self) -> None:
        self.ids = CountedIds()
        self.store = MemoryStore(self.ids)
        self.bench = Bench(self.store, self.ids)

    def forget_served(self) -> None:
        """Forget which queue had its turn last, as a store in a file does when it is opened."""
        self.store.tasks._served = None

    async def dump(self) -> dict[str, Any]:
        return await everything_in(self.store) | {"checkpoints": self.store.tasks._shelf.checkpoints}


class FileRig:
    """A store in a file. Each life of it after a kill is in a directory of its own: what the kernel had then."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lives = 0
        self.ids = CountedIds()

    async def open(self) -> None:
        self.bench = Bench(await open_store("sqlite", data=self._data, ids=self.ids), self.ids)

    async def close(self) -> None:
        await self.bench.store.close()

    async def restart(self) -> None:
        """Close the store as a server does that is told to stop, and open it again."""
        await self.close()
        await self.open()

    async def dump(self) -> dict[str, Any]:
        rows, orphans = await database_of(self.bench).read(
            lambda connection: [connection.execute(text).fetchall() for text in (CHECKPOINTS, sql.CHECK_REFERENCES)]
        )
        assert orphans == [], "rows of tasks that are gone"
        return await everything_in(self.bench.store) | {"checkpoints": dict(rows)}

    async def kill(self) -> None:
        """Abandon the store as it stands and open what a killed process would have left of it."""
        self._take_image()
        await self.open_image()

    async def open_image(self) -> None:
        """Open the image taken last, in place of the store it was taken of."""
        await self.close()
        self._lives += 1
        await self.open()

    async def fail_at(self, statement: int, fault: str) -> Callable[[], bool]:
        """Make the `statement`-th statement from now fail, and only that one; gives what tells whether it has."""
        left = statement

        def trace(cursor: Any, text: str, values: Any) -> bool:
            nonlocal left
            left -= 1
            if left == 0:
                if fault == "killed":
                    self._take_image()
                raise apsw.exception_for(FAULTS[fault])
            return True

        await self._trace(trace)
        return lambda: left <= 0

    async def heal(self) -> None:
        """Let all statements run again."""
        await self._trace(None)

    def win_room_back(self) -> None:
        """Let there be room again on the disk that was full."""
        reserve = database_of(self.bench)._reserve
        assert reserve is not None
        reserve.is_whole = True

    async def _trace(self, trace: Callable[..., bool] | None) -> None:
        def set_trace(connection: Any) -> None:
            connection.exec_trace = trace

        await database_of(self.bench).write(set_trace)

    @property
    def _data(self) -> Path:
        return self._home / str(self._lives)

    def _take_image(self) -> None:
        # The index of the log stays behind: a new process makes it anew.
        image = self._home / str(self._lives + 1)
        image.mkdir()
        for name in (DATABASE_FILE, f"{DATABASE_FILE}-wal"):
            shutil.copy(self._data / name, image / name)


async def everything_in(store: Store) -> dict[str, Any]:
    """Read everything a store can be asked for of its tasks, many questions at once."""
    port = store.tasks
    page, events, running = await asyncio.gather(
        port.page(TaskQuery(order=Order.OLDEST, limit=PAGE_MAX)),
        store.events.log(limit=100_000),
        port.running(after=0, limit=PAGE_MAX),
    )
    numbers = [task.number for task in page.tasks]

    async def each(read: Callable[[int], Awaitable[Any]]) -> list[Any]:
        return list(await asyncio.gather(*map(read, numbers)))

    payloads, results, files = await asyncio.gather(each(port.payload), each(port.result), each(port.files))
    unswept, counts, queues = await asyncio.gather(port.unswept(limit=PAGE_MAX), port.counts(), port.queues())
    return {
        "tasks": page.tasks,
        "events": list(events),
        "running": list(running),
        "payloads": payloads,
        "results": results,
        "files": [list(rows) for rows in files],
        "unswept": list(unswept),
        "counts": list(counts),
        "queues": list(queues),
    }
