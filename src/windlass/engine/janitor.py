"""Keeps the store from growing for ever: removes ended tasks past their time, their files, and what is left of both.

Never holds a turn up for long, and removes nothing that the store still knows.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from windlass.config.schema import Retention
from windlass.contracts.clock import Clock, Ids
from windlass.contracts.tasks import Applied, Forget, Prune, Tasks
from windlass.core.limits import PRUNE_ROWS, PRUNE_SLICE_S, TIDY_EVERY_S, TOMBSTONE_KEEP_S
from windlass.core.state import ENDED, State
from windlass.engine.orphans import remove_orphans
from windlass.engine.remains import Remains
from windlass.engine.service import OnFailure, Service
from windlass.engine.settler import Settler
from windlass.errors import SaturatedError, StoreFull, StoreUnavailable, StoreUncertain
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_DIRECTORIES = 100
"""Directories removed by one visit to a thread, before their tombstones are swept."""
_FIRST_ROWS = 50


class Janitor:
    """The loop of one server that tidies up, a minute after the other.

    Concurrency: of one event loop; files are removed on threads.
    """

    def __init__(
        self,
        tasks: Tasks,
        settler: Settler,
        *,
        keep: Retention,
        remains: Remains,
        clock: Clock,
        ids: Ids,
        on_failure: OnFailure,
    ) -> None:
        self._orphans_every_s = math.inf
        self._tasks = tasks
        self._settler = settler
        self._keep = keep
        self._remains = remains
        self._clock = clock
        self._ids = ids
        self._rows = _FIRST_ROWS
        self._service = Service("janitor", self._run, on_failure)

    def start(self, *, orphans_every_s: float = math.inf) -> None:
        """Begin, with a round at once. Directories that no task knows are looked for then, and so often."""
        self._orphans_every_s = orphans_every_s
        self._service.start()

    async def stop(self) -> None:
        """End, wherever it is: every step leaves the store in order. Idempotent."""
        await self._service.stop()

    async def _run(self) -> None:
        orphans_at = self._clock.monotonic()
        while True:
            try:
                if self._clock.monotonic() >= orphans_at:
                    await remove_orphans(self._tasks, Path(self._remains.files), now=self._clock.now())
                    orphans_at = self._clock.monotonic() + self._orphans_every_s
                await self.tidy()
            except (SaturatedError, StoreFull, StoreUnavailable, StoreUncertain, OSError) as error:
                _log.warning(words.TIDYING_DELAYED, error=str(error))
            await asyncio.sleep(TIDY_EVERY_S * (0.5 + self._ids.roll()))

    async def tidy(self) -> None:
        """Remove all that has outlived its time.

        Raises:
            SaturatedError, StoreFull, StoreUnavailable, StoreUncertain: not now; what was removed until then stays so.
        """
        now = self._clock.now()
        tasks = size_bytes = 0
        for state, keep_s in self._ages():
            before = now - timedelta(seconds=keep_s)
            async for removed in self._pruned(Prune((state,), before, PRUNE_ROWS, now)):
                tasks, size_bytes = tasks + removed.count, size_bytes + removed.size_bytes
        async for removed in self._beyond_the_cap():
            tasks, size_bytes = tasks + removed.count, size_bytes + removed.size_bytes
        forget = Forget(now, now - timedelta(seconds=TOMBSTONE_KEEP_S), PRUNE_ROWS)
        forgotten = sum([removed.count async for removed in self._pruned(forget)])
        directories = await self._sweep()
        if tasks or forgotten or directories:
            _log.info(
                words.TIDIED, tasks=tasks, size_bytes=size_bytes, directories=directories, rows_forgotten=forgotten
            )

    def _ages(self) -> Iterator[tuple[State, float]]:
        keep = self._keep
        ages = {State.SUCCEEDED: keep.succeeded_s, State.CANCELLED: keep.cancelled_s, State.FAILED: keep.failed_s}
        return ((state, keep_s) for state, keep_s in ages.items() if keep_s)

    # ── rows ───────────────────────────────────────────────────────

    async def _pruned(self, write: Prune | Forget) -> AsyncIterator[Applied]:
        """Have `write` done slice by slice, until a slice finds less than it may take."""
        while True:
            limit = min(write.limit, self._rows)
            removed = await self._slice(replace(write, limit=limit))
            yield removed
            if removed.count < limit:
                return

    async def _beyond_the_cap(self) -> AsyncIterator[Applied]:
        """Remove the tasks that ended first, as long as ended ones take too much."""
        if not self._keep.max_bytes:
            return
        states = tuple(sorted(ENDED))
        while True:
            # RACE: other servers remove as well: what there is too much is counted again for every slice.
            ended = [count for count in await self._tasks.counts() if count.state.has_ended]
            tasks, size_bytes = sum(count.tasks for count in ended), sum(count.size_bytes for count in ended)
            excess = size_bytes - self._keep.max_bytes
            if excess <= 0:
                return
            likely = math.ceil(excess / (size_bytes / tasks))
            removed = await self._slice(Prune(states, None, min(likely, self._rows), self._clock.now()))
            yield removed
            if removed.count == 0:
                return

    async def _slice(self, write: Prune | Forget) -> Applied:
        """Have one slice done, and choose the size of the next by how long it took."""
        began_at = self._clock.monotonic()
        try:
            result = await self._settler.write(write)
        except StoreUnavailable:  # it may have been too much at once: as large again, it would be so for ever
            self._rows = max(1, min(self._rows, write.limit) // 2)
            raise
        took_s = self._clock.monotonic() - began_at
        if took_s > PRUNE_SLICE_S:
            self._rows = max(1, self._rows // 2)
        elif took_s < PRUNE_SLICE_S / 2:
            self._rows = min(PRUNE_ROWS, self._rows * 2)
        await asyncio.sleep(took_s)  # LIMIT: half of the writing thread's time at most
        return result if isinstance(result, Applied) else Applied()

    # ── files ──────────────────────────────────────────────────────

    async def _sweep(self) -> int:
        """Remove the files of deleted tasks: a crash before their tombstones are swept does that once more."""
        stuck: set[int] = set()
        directories = 0
        while True:
            found = await self._tasks.unswept(limit=_DIRECTORIES + len(stuck))
            gone = [(tombstone.number, tombstone.id) for tombstone in found if tombstone.number not in stuck]
            if not gone:
                return directories
            swept = await self._remains.remove(gone)
            directories += len(swept)
            stuck.update({number for number, _ in gone}.difference(swept))
