"""Wakes whoever waits for a task. Hints only: a woken waiter reads the store, and may find nothing new."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Generator, Mapping


class Bus:
    """Events of one process by task number.

    Concurrency: of one event loop.
    """

    def __init__(self) -> None:
        self._waiters: dict[int, set[asyncio.Event]] = {}
        self._versions: dict[int, int | None] = {}
        """Of each task somebody waits for, the version known last; None: it is gone."""
        self._closed = False

    @contextlib.contextmanager
    def listen(self, number: int, *, version: int = 0) -> Generator[asyncio.Event]:
        """Give an event that is set at every change of the task from now on; subscribe before reading the store.

        `version` is one that has been read of it before.
        """
        event = asyncio.Event()
        if self._closed:
            event.set()
        self._waiters.setdefault(number, set()).add(event)
        self._versions.setdefault(number, version)
        try:
            yield event
        finally:
            waiters = self._waiters[number]
            waiters.discard(event)
            if not waiters:
                del self._waiters[number], self._versions[number]

    @property
    def is_quiet(self) -> bool:
        """Whether nobody waits for any task."""
        return not self._waiters

    def touch(self, number: int) -> None:
        """Wake those who wait for the task."""
        for event in self._waiters.get(number, ()):
            event.set()

    def waited(self) -> Collection[int]:
        """Name the tasks that somebody waits for."""
        return list(self._waiters)

    def compare(self, numbers: Collection[int], versions: Mapping[int, int]) -> None:
        """Take in the `versions` that a look at the tasks `numbers` has found, and wake who waits for a changed one."""
        for number in numbers:
            if number in self._versions and self._versions[number] != versions.get(number):
                self._versions[number] = versions.get(number)
                self.touch(number)

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
