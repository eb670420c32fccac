"""The worker's end of the link: sends whole frames from any thread, and ends the worker when the server is gone.

Knows nothing of what they mean.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import NoReturn

from windlass.wire.frames import Upward, encode

_READ_BYTES = 256 * 1024


def end_group() -> NoReturn:
    """End this process and all it has started: without its server nobody may go on."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


class Wire:
    """A blocking socket that is written whole frames under a lock, and read by one reader."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._lock = threading.Lock()
        self._gathered: list[bytes] = []

    def send(self, frame: Upward) -> None:
        """Send one frame, and before it those gathered. Blocks while the server is behind, which bounds what a noisy
        handler can pile up.
        """
        self.gather(frame)
        self.flush()

    def gather(self, frame: Upward) -> None:
        """Keep one frame for `flush`, in its place."""
        data = encode(frame)
        with self._lock:
            self._gathered.append(data)

    def flush(self) -> None:
        """Send what has been gathered. Blocks like `send`."""
        try:
            with self._lock:
                gathered, self._gathered = self._gathered, []
                if gathered:
                    self.socket.sendall(b"".join(gathered))
        except OSError:
            end_group()

    def receive(self, *, wait: bool) -> bytes:
        """Give what has arrived; empty when nothing has and `wait` is false. Ends the worker at the stream's end."""
        try:
            data = self.socket.recv(_READ_BYTES, 0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        except OSError:
            end_group()
        if not data:
            end_group()
        return data
