"""Keeps the leases: one beat for all of them, from a thread that nothing else can block.

Ends the server rather than keep leases for a loop that stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time

from windlass.contracts.clock import Clock
from windlass.contracts.registry import Registry
from windlass.core.ids import ServerId
from windlass.core.lease import is_wedged
from windlass.core.limits import BEAT_S
from windlass.core.stop import StopTimes
from windlass.engine.service import OnFailure
from windlass.errors import ConflictError, StoreError, StoreFull, StoreUnavailable
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import flush, get_logger

_log = get_logger()
_LOOK_EVERY_S = 1.0
_FROZEN_S = 3.0
"""A pause of this thread itself that shows the whole process was frozen, not the loop alone."""
EXIT_WEDGED = 70


class Keeper:
    """The beat of one server.

    Concurrency: a thread with a loop of its own; `on_failure` is called in the engine's loop.
    """

    def __init__(
        self, registry: Registry, server: ServerId, *, clock: Clock, times: StopTimes, on_failure: OnFailure
    ) -> None:
        self._registry = registry
        self._server = server
        self._clock = clock
        self._times = times
        self._on_failure = on_failure
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._turned_at = time.monotonic()

    def start(self) -> None:
        """Begin to beat, and to watch the calling loop."""
        loop = asyncio.get_running_loop()
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="windlass-keeper", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop beating. Idempotent."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if thread is not None:
            await asyncio.to_thread(thread.join)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep, and tell of an end that nobody asked for: a server without a beat must not go on."""
        try:
            asyncio.run(self._keep(loop))
        except Exception as error:  # noqa: BLE001 the last one to see it
            _log.error(words.LOOP_FAILED, loop="keeper", error=repr(error), exc_info=error)
            self._tell(loop, error)

    def _turned(self) -> None:
        self._turned_at = time.monotonic()

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> None:
        beat_at = looked_at = time.monotonic()
        while not self._stopping.wait(_LOOK_EVERY_S):
            now = time.monotonic()
            if now - looked_at > _FROZEN_S:
                self._turned()  # frozen and thawed as a whole: the loop gets as long again
            looked_at = now
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is past this
                loop.call_soon_threadsafe(self._turned)
            if is_wedged(loop_turned_at=self._turned_at, now=now, times=self._times):
                _log.error(words.SERVER_FAILED, error="the engine's loop stands still; leaving its leases to others")
                flush()
                os._exit(EXIT_WEDGED)
            if now - beat_at >= BEAT_S:
                beat_at = now
                await self._beat(loop)

    async def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            is_ours = await self._registry.beat(self._server, now=self._clock.now())
        except (StoreFull, StoreUnavailable) as error:
            _log.warning(words.BEAT_FAILED, error=error.detail)
            return
        except StoreError as error:
            self._tell(loop, error)
            return
        if not is_ours:
            self._tell(loop, ConflictError("another server has taken the store over"))

    def _tell(self, loop: asyncio.AbstractEventLoop, error: Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server is past this
            loop.call_soon_threadsafe(self._on_failure, error)
