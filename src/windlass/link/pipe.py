"""One worker process: spawned in a group of its own, spoken to over a socketpair, and seen gone.

Knows frames as bytes that come and go; what they mean is its owner's business.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Protocol

from windlass.errors import WorkerError
from windlass.link.census import kill_group, wait_until_gone
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger
from windlass.wire.frames import Downward, Frame, Splitter, encode

_log = get_logger()
_LAST_WORDS_S = 1.0
"""How long the stream may outlive the process: something it started may still hold the other end."""


class Owner(Protocol):
    """Who is told of what a worker process does; always called in the event loop."""

    def on_frame(self, frame: Frame) -> None:
        """Take in one frame."""
        ...

    def on_gone(self, ending: str) -> None:
        """Take in that the process and its whole group are gone; `ending` is like `exit 3` or `SIGSEGV`. Called once,
        after the last frame.
        """
        ...


class WorkerProcess(asyncio.Protocol):
    """One worker process and the stream to it.

    Concurrency: of one event loop. Spawned in the thread that calls `spawn`, which must be the main one: the kernel
    ends the worker when that thread ends.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._splitter = Splitter(upward=True)
        self._transport: asyncio.Transport | None = None
        self._gathered: list[bytes] = []
        self._stream_ended = asyncio.Event()
        self._may_be_signalled = False
        self.gone = asyncio.Event()
        self.pid = 0

    async def spawn(self, *, app: str, nice: int) -> None:
        """Start the process and connect the stream.

        Raises:
            WorkerError: the system has no room for another process.
        """
        ours, theirs = socket.socketpair()
        try:
            command = [sys.executable, "-m", "windlass.worker"]
            command += ["--fd", str(theirs.fileno()), "--server", str(os.getpid()), "--nice", str(nice), "--app", app]
            process = subprocess.Popen(  # noqa: S603, ASYNC220 our own program; vfork makes it a matter of a millisecond
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_")},
            )
        except OSError as error:
            ours.close()
            raise WorkerError(f"a worker process cannot be started: {error}", code="worker_spawn") from None
        finally:
            theirs.close()
        self.pid = process.pid
        self._may_be_signalled = True
        try:
            self._watcher(process).start()
        except RuntimeError as error:
            process.kill()
            process.wait()
            self.pid = 0
            self._may_be_signalled = False
            ours.close()
            raise WorkerError(f"a worker process cannot be watched: {error}", code="worker_spawn") from None
        ours.setblocking(False)
        await self._loop.create_unix_connection(lambda: self, sock=ours)

    def send(self, frame: Downward) -> None:
        """Send one frame, together with others of the same turn of the loop; nothing when the worker is gone already.

        Raises:
            WorkerError: the frame is larger than a frame may be.
        """
        self._gathered.append(encode(frame))
        if len(self._gathered) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(gathered))

    def signal_group(self, signum: signal.Signals) -> None:
        """Signal the process and all it has started; nothing when they are gone. From any thread."""
        if self._may_be_signalled:
            kill_group(self.pid, signum)

    # asyncio.Protocol ────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the stream."""
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue] a stream's transport is one

    def data_received(self, data: bytes) -> None:
        """Cut and pass on; a worker that does not keep to the protocol is killed."""
        try:
            for frame in self._splitter.feed(data):
                self._owner.on_frame(frame)
        except WorkerError as error:
            _log.error(words.WORKER_KILLED, pid=self.pid, error=error.detail)
            self.signal_group(signal.SIGKILL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the stream's end; a worker that has closed it but lives on is of no use."""
        del exc
        self._stream_ended.set()
        self.signal_group(signal.SIGKILL)

    # the process ─────────────────────────────────────────────────

    def _watcher(self, process: subprocess.Popen[bytes]) -> threading.Thread:
        return threading.Thread(target=self._watch, args=(process,), name=f"windlass-pid-{process.pid}", daemon=True)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Wait in a thread of its own for the process to end, then see its group gone."""
        # RACE: the dead process is not reaped before its group has been killed: until then no other can get its name.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        kill_group(process.pid)
        self._may_be_signalled = False  # RACE: from the next line on its name may be another's
        code = process.wait()
        while not self._is_group_gone(process.pid):
            _log.error(words.WORKER_STUCK, pid=process.pid)
        ending = f"exit {code}" if code >= 0 else _signal_name(-code)
        try:
            self._loop.call_soon_threadsafe(self._loop.create_task, self._finish(ending))
        except RuntimeError:
            return  # the loop is closed: nobody is left to tell

    @staticmethod
    def _is_group_gone(group: int) -> bool:
        try:
            wait_until_gone(group)
        except WorkerError:
            return False
        return True

    async def _finish(self, ending: str) -> None:
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._stream_ended.wait()
        except TimeoutError:
            pass
        if self._transport is not None:
            self._transport.abort()
        self.gone.set()
        self._owner.on_gone(ending)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
