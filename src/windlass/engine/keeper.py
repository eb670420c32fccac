"""Keeps the leases: one beat for all of them, from a thread that nothing else can block.

Ends the server rather than keep leases for a loop that stands still. Where others may take them over, it fences the
server in before they may: what runs under a lease that cannot be renewed is ended first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable

import msgspec

from windlass.contracts.clock import Clock
from windlass.contracts.registry import Registry
from windlass.core.ids import ServerId
from windlass.core.lease import fence, is_wedged
from windlass.core.limits import BEAT_S
from windlass.core.stop import Stage, StopTimes, advance
from windlass.engine.service import OnFailure
from windlass.errors import ConflictError, StoreError, StoreFull, StoreUnavailable, StoreUncertain
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import flush, get_logger

_log = get_logger()
_LOOK_EVERY_S = 1.0
_AGAIN_S = 1.0
"""A beat that failed is followed by the next one so soon."""
_FROZEN_S = 3.0
"""A pause of this thread itself that shows the whole process was frozen, not the loop alone."""
EXIT_WEDGED = 70


class Fencing(msgspec.Struct, frozen=True):
    """What a keeper does about a lease that others may take over. All but `kill` is called in the engine's loop.

    `on_fenced` is told once, with the instant from which the lease counts, that it has not been renewed for half its
    time; `on_renewed`, that it has been after all; `on_lost`, that it has ended. `kill` ends all workers, at once.
    """

    on_fenced: Callable[[float], None]
    on_renewed: Callable[[], None]
    on_lost: Callable[[], None]
    kill: Callable[[], None]


class _Lease:
    """One lease, as its holder must count it: from before its last renewal was sent."""

    def __init__(self, server: ServerId, renewed_at: float, times: StopTimes) -> None:
        self.server = server
        self.times = times
        self.renew(renewed_at)

    def renew(self, renewed_at: float) -> None:
        self.renewed_at = renewed_at
        self._ladder = fence(renewal_sent_at=renewed_at, times=self.times)

    @property
    def is_fenced(self) -> bool:
        return self._ladder.stage is not Stage.RUNNING

    def climb(self, now: float) -> Stage | None:
        """Take the furthest step that is due."""
        self._ladder, stage = advance(self._ladder, now=now)
        return stage


class Keeper:
    """The beat of one server. Without `fencing`, a lease that is another's is a failure.

    Concurrency: a thread with a loop of its own; `on_failure` is called in the engine's loop.
    """

    def __init__(
        self,
        registry: Registry,
        server: ServerId,
        *,
        clock: Clock,
        times: StopTimes,
        on_failure: OnFailure,
        fencing: Fencing | None = None,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._times = times
        self._on_failure = on_failure
        self._fencing = fencing
        self._lease: _Lease | None = _Lease(server, time.monotonic(), times)
        self._stopping = threading.Event()
        self._woken = asyncio.Event()
        self._own: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._turned_at = time.monotonic()

    def start(self) -> None:
        """Begin to beat, and to watch the calling loop."""
        loop = asyncio.get_running_loop()
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(loop,), name="windlass-keeper", daemon=True)
        self._thread.start()

    def keep(self, server: ServerId, *, renewed_at: float) -> None:
        """Beat for the lease of `server` from now on; it counts from `renewed_at`, on the monotonic clock."""
        self._lease = _Lease(server, renewed_at, self._times)

    async def stop(self) -> None:
        """Stop beating. Idempotent."""
        thread, self._thread = self._thread, None
        self._stopping.set()
        if self._own is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._own.call_soon_threadsafe(self._woken.set)
        if thread is not None:
            await asyncio.to_thread(thread.join)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Keep, and tell of an end that nobody asked for: a server without a beat must not go on."""
        try:
            asyncio.run(self._keep(loop))
        except Exception as error:  # noqa: BLE001 the last one to see it
            _log.error(words.LOOP_FAILED, loop="keeper", error=repr(error), exc_info=error)
            self._tell(loop, self._on_failure, error)

    def _turned(self) -> None:
        self._turned_at = time.monotonic()

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._own = asyncio.get_running_loop()
        look_s = min(_LOOK_EVERY_S, self._times.ttl_s / 30)
        frozen_s = min(_FROZEN_S, self._times.ttl_s / 10)
        looked_at = time.monotonic()
        beating = asyncio.create_task(self._beat_on(loop))
        try:
            while not self._stopping.is_set():
                await self._pause(look_s)
                now = time.monotonic()
                # RACE: after a freeze of the whole process, this comes before anything else.
                self._fence(loop, now)
                if now - looked_at > frozen_s:
                    self._turned()  # frozen and thawed as a whole: the loop gets as long again
                looked_at = now
                self._tell(loop, self._turned)
                if is_wedged(loop_turned_at=self._turned_at, now=now, times=self._times):
                    _log.error(
                        words.SERVER_FAILED, error="the engine's loop stands still; leaving its leases to others"
                    )
                    flush()
                    os._exit(EXIT_WEDGED)
                if beating.done():
                    beating.result()
        finally:
            self._stopping.set()
            self._woken.set()
            if self._fencing is not None:  # else its store is local, and answers
                beating.cancel()
            await asyncio.wait([beating])

    async def _pause(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._woken.wait()

    # the beat ────────────────────────────────────────────────────

    async def _beat_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Beat for whatever lease there is; beside the looks, as an answer may be long in coming."""
        beat_s = min(BEAT_S, self._times.ttl_s / 6)
        has_beaten = True
        while not self._stopping.is_set():
            await self._pause(beat_s if has_beaten else min(_AGAIN_S, beat_s))
            if (lease := self._lease) is not None and not self._stopping.is_set():
                has_beaten = await self._beat(loop, lease, within_s=beat_s)

    async def _beat(self, loop: asyncio.AbstractEventLoop, lease: _Lease, *, within_s: float) -> bool:
        """Beat once; give whether it was answered."""
        sent_at = time.monotonic()
        try:
            # LIMIT: one that is not answered must not keep the next from being sent. The only server's store is local.
            async with asyncio.timeout(None if self._fencing is None else within_s):
                is_ours = await self._registry.beat(lease.server, now=self._clock.now())
        except (StoreFull, StoreUnavailable, StoreUncertain) as error:
            _log.warning(words.BEAT_FAILED, error=error.detail)
            return False
        except TimeoutError:
            _log.warning(words.BEAT_FAILED, error=f"the store has not answered within {within_s:g} s")
            return False
        except StoreError as error:
            self._tell(loop, self._on_failure, error)
            return True
        if lease is self._lease:  # RACE: the server may hold another one since
            self._heard(loop, lease, sent_at, is_ours=is_ours)
        return True

    def _heard(self, loop: asyncio.AbstractEventLoop, lease: _Lease, sent_at: float, *, is_ours: bool) -> None:
        fencing = self._fencing
        if fencing is None:
            if not is_ours:
                self._tell(loop, self._on_failure, ConflictError("another server has taken the store over"))
        elif is_ours:
            was_fenced = lease.is_fenced
            lease.renew(sent_at)
            self._fence(loop, time.monotonic())  # an answer that came late renews little, or nothing any more
            if was_fenced and not lease.is_fenced:
                self._tell(loop, fencing.on_renewed)
        else:
            self._lease = None
            # RACE: the loop hears why before it hears that a worker is gone.
            self._tell(loop, fencing.on_lost)
            fencing.kill()

    # the fence ───────────────────────────────────────────────────

    def _fence(self, loop: asyncio.AbstractEventLoop, now: float) -> None:
        """End what runs under a lease that was not renewed in time, whether or not the engine's loop turns."""
        lease, fencing = self._lease, self._fencing
        if lease is None or fencing is None:
            return
        was_fenced = lease.is_fenced
        stage = lease.climb(now)
        if stage is not None and not was_fenced:
            self._tell(loop, fencing.on_fenced, lease.renewed_at)
        if stage is Stage.KILLED:
            fencing.kill()

    def _tell(self, loop: asyncio.AbstractEventLoop, told: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server is past this
            loop.call_soon_threadsafe(told, *arguments)
