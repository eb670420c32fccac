"""Wakes whoever waits for a task. Hints only: a woken waiter reads the store, and may find nothing new."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator


class Bus:
    """Events of one process by task number.

    Concurrency: of one event loop.
    """

    def __init__(self) -> None:
        self._waiters: dict[int, set[asyncio.Event]] = {}
        self._closed = False

    @contextlib.contextmanager
    def listen(self, number: int) -> Generator[asyncio.Event]:
        """Give an event that is set at every change of the task from now on; subscribe before reading the store."""
        event = asyncio.Event()
        if self._closed:
            event.set()
        self._waiters.setdefault(number, set()).add(event)
        try:
            yield event
        finally:
            waiters = self._waiters[number]
            waiters.discard(event)
            if not waiters:
                del self._waiters[number]

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits for any task."""
        return not self._waiters

    def touch(self, number: int) -> None:
        """Wake those who wait for the task."""
        for event in self._waiters.get(number, ()):
            event.set()

    @property
    def is_closed(self) -> bool:
        """Whether nobody should wait any longer."""
        return self._closed

    def close(self) -> None:
        """Wake everybody, for good: the server stops."""
        self._closed = True
        for waiters in self._waiters.values():
            for event in waiters:
                event.set()
