"""The worker's protocol, in its two roles: many attempts in one loop, or one attempt at a time.

Never opens the store and never decides what an ending means.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import select
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from windlass.app.app import App, Handler
from windlass.config.schema import WorkerSettings
from windlass.core.ids import Token
from windlass.core.outcome import Errored
from windlass.core.task import Error
from windlass.errors import WorkerError
from windlass.wire.frames import Accepted, Assign, Beat, Ended, Frame, Retire, Saved, Splitter, Tell, Upward
from windlass.worker.attempt import REPORT_EVERY_S, AttemptHost, run_async, run_blocking
from windlass.worker.wire import Wire, end_group

BEAT_EVERY_S = 1.0
_LEFT_TASKS_S = 1.0
"""How long tasks that a handler has left behind in a solo worker's loop may take to end when cancelled."""
_THREADS = 10_000
"""As many as there can be slots: a plain handler that had to wait for a thread would count as running meanwhile."""


class SharedSession:
    """Many attempts in one event loop, watched by a thread that tells the server when the loop stands still."""

    def __init__(self, app: App, wire: Wire, splitter: Splitter, settings: WorkerSettings) -> None:
        self._app = app
        self._wire = wire
        self._splitter = splitter
        self._settings = settings
        self._hosts: dict[Token, AttemptHost] = {}
        self._attempts: dict[Token, asyncio.Task[None]] = {}
        self._tokens: dict[asyncio.Task[None], Token] = {}
        self._turned_at = time.monotonic()
        self._is_flush_due = False
        self._retiring = False
        self._retired = asyncio.Event()

    async def run(self, frames: list[Frame]) -> None:
        """Serve until the server retires this worker, beginning with `frames` that have come already."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="windlass-handler"))
        self._take_all(frames)
        loop.add_reader(self._wire.socket, self._read)
        threading.Thread(target=self._watch, args=(loop,), name="windlass-watch", daemon=True).start()
        ticking = asyncio.create_task(self._tick())
        await self._retired.wait()
        ticking.cancel()
        self._wire.flush()

    def _read(self) -> None:
        self._take_all(self._splitter.feed(self._wire.receive(wait=False)))

    def _take_all(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._take(frame)
        # RACE: that attempts have begun is said before the first step of any: if that ends this worker, the server must
        # know which ones were inside.
        self._wire.flush()

    def _take(self, frame: Frame) -> None:
        match frame:
            case Assign():
                self._begin(frame)
            case Tell(token=token):
                if (host := self._hosts.get(token)) is not None:
                    host.stopping = True
                    # RACE: cancelled before its first step it would never say that it has ended; that step comes first.
                    asyncio.get_running_loop().call_soon(self._attempts[token].cancel)
            case Saved(token=token, serial=serial, accepted=accepted):
                if (host := self._hosts.get(token)) is not None:
                    host.answered(serial, accepted=accepted)
            case Retire():
                self._retiring = True
                self._leave_if_empty()
            case _:
                raise WorkerError(f"unexpected frame {type(frame).__name__}", code="protocol_error")

    def _begin(self, frame: Assign) -> None:
        handler = self._app.handlers.get(frame.kind)
        if handler is None:
            self._wire.gather(Ended(frame.token, _no_handler(frame.kind)))
            return
        self._wire.gather(Accepted(frame.token))
        host = AttemptHost(frame.token, self._wire.send)
        attempt = asyncio.create_task(run_async(handler, frame, host, self._settings, self._send_soon))
        self._hosts[frame.token] = host
        self._attempts[frame.token] = attempt
        self._tokens[attempt] = frame.token
        attempt.add_done_callback(self._ended)

    def _send_soon(self, frame: Upward) -> None:
        """Send what attempts say at their end together with others of the same turn of the loop."""
        self._wire.gather(frame)
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        self._wire.flush()

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        token = self._tokens.pop(attempt)
        del self._hosts[token], self._attempts[token]
        if not attempt.cancelled():
            attempt.exception()
        self._leave_if_empty()

    def _leave_if_empty(self) -> None:
        if self._retiring and not self._attempts:
            self._retired.set()

    async def _tick(self) -> None:
        while True:
            self._turned_at = time.monotonic()
            await asyncio.sleep(BEAT_EVERY_S / 4)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Flush, beat, and notice the server's end, in a thread that a blocked loop cannot stop."""
        poll = select.poll()
        poll.register(self._wire.socket, select.POLLRDHUP)
        beat_at = 0.0
        while True:
            if poll.poll(REPORT_EVERY_S * 1000):
                end_group()
            self._wire.flush()  # a handler may block the loop in the very turn in which another has ended
            for host in list(self._hosts.values()):
                host.flush()
            now = time.monotonic()
            if self._hosts and now - beat_at >= BEAT_EVERY_S:
                beat_at = now
                self._wire.send(Beat(now - self._turned_at, self._token_inside(loop)))

    def _token_inside(self, loop: asyncio.AbstractEventLoop) -> Token | None:
        """Say which attempt the loop is in at this moment."""
        # RACE: read from another thread; a stale answer only names a neighbour in a message.
        with contextlib.suppress(RuntimeError):
            current = asyncio.current_task(loop)
            return None if current is None else self._tokens.get(current)
        return None


class SoloSession:
    """One attempt at a time, in the main thread; a second thread listens to the server meanwhile."""

    def __init__(self, app: App, wire: Wire, splitter: Splitter, settings: WorkerSettings) -> None:
        self._app = app
        self._wire = wire
        self._splitter = splitter
        self._settings = settings
        self._assigned: queue.SimpleQueue[tuple[Assign, AttemptHost] | None] = queue.SimpleQueue()
        self._newest: tuple[Token, AttemptHost] | None = None
        self._cancel: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    def run(self, frames: list[Frame]) -> None:
        """Serve until the server retires this worker, beginning with `frames` that have come already."""
        for frame in frames:
            self._take(frame)
        threading.Thread(target=self._listen, name="windlass-link", daemon=True).start()
        # One loop for all attempts: to close one waits for the threads that a handler has left behind.
        with asyncio.Runner() as runner:
            while (assigned := self._assigned.get()) is not None:
                frame, host = assigned
                handler = self._app.handlers.get(frame.kind)
                if handler is None:
                    self._wire.send(Ended(frame.token, _no_handler(frame.kind)))
                elif handler.signature.is_async:
                    runner.run(self._run_async(handler, frame, host))
                else:
                    run_blocking(handler, frame, host, self._settings, self._wire.send)
                host.has_ended = True

    async def _run_async(self, handler: Handler, frame: Assign, host: AttemptHost) -> None:
        self._wire.send(Accepted(frame.token))
        attempt = asyncio.create_task(run_async(handler, frame, host, self._settings, self._wire.send))
        # RACE: told before this line, the attempt sees `stopping` in its first step; later, it is cancelled after it.
        self._cancel = (asyncio.get_running_loop(), attempt)
        await asyncio.wait([attempt])
        self._cancel = None
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_LEFT_TASKS_S)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._wire.socket, select.POLLIN)
        while True:
            running = None if self._newest is None or self._newest[1].has_ended else self._newest[1]
            if poll.poll(None if running is None else REPORT_EVERY_S * 1000):
                for frame in self._splitter.feed(self._wire.receive(wait=True)):
                    self._take(frame)
            if running is not None:
                running.flush()

    def _take(self, frame: Frame) -> None:
        token, host = self._newest or (None, None)
        match frame:
            case Assign():
                # RACE: known from here on, so that a Tell right behind it finds it, whatever the main thread does.
                self._newest = (frame.token, AttemptHost(frame.token, self._wire.send))
                self._assigned.put((frame, self._newest[1]))
            case Retire():
                self._assigned.put(None)
            case Tell() if host is not None and frame.token == token:
                host.stopping = True
                if (cancel := self._cancel) is not None:
                    with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                        cancel[0].call_soon_threadsafe(cancel[1].cancel)
            case Saved() if host is not None and frame.token == token:
                host.answered(frame.serial, accepted=frame.accepted)
            case _:
                return  # of an attempt that has just ended


def _no_handler(kind: str) -> Errored:
    message = f"this version of the app has no handler for the kind '{kind}'"
    return Errored(Error(type="HandlerUnavailable", code="handler_unavailable", message=message))
