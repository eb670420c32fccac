"""Writes lines to stderr from a thread of its own, so that a reader who has stopped reading stops nobody.

Knows nothing of levels and fields; never blocks who hands lines over.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

Render = Callable[[Any], str]
"""Makes the line of a thing."""

_LINES_WAITING = 10_000
_LINES_AT_ONCE = 500
"""About so many lines go to stderr in one call: what was handed over together stays together."""
_NAP_S = 0.02
"""What comes within so long behind other lines is left until then: to wake the thread for each handful of lines cost
those who hand them over 6 % of all they did (measured on the event loop, under a flood of submits).
"""


class Writer:
    """The thread, and what waits for it.

    LIMIT: what nobody reads is dropped beyond a bound, and counted; `on_dropped` is told how many, once all that waited
    is written.
    Concurrency: of any thread.
    """

    def __init__(self, on_dropped: Callable[[int], None]) -> None:
        self._on_dropped = on_dropped
        self._batches: deque[tuple[Sequence[Any], Render]] = deque()
        self._waiting = 0
        self._dropped = 0
        self._is_writing = False
        self._is_idle = False
        self._flushes = 0
        """How many wait for all to be written."""
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, things: Sequence[Any], render: Render) -> None:
        """Have a line written for each of `things`, which `render` makes in the thread that writes."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="windlass-log", daemon=True)
                self._thread.start()
            room = _LINES_WAITING - self._waiting
            if len(things) > room:
                self._dropped += len(things) - room
                things = things[:room]
            if things:
                self._batches.append((things, render))
                self._waiting += len(things)
                if self._is_idle:
                    self._is_idle = False
                    self._changed.notify_all()

    def flush(self, within_s: float) -> None:
        """Give the lines that wait so long to be written. Blocks."""
        with self._changed:
            self._flushes += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._batches and not self._is_writing, within_s)
            self._flushes -= 1

    def _write(self) -> None:
        while True:
            taken = self._take()
            text = "".join(_line(thing, render) for things, render in taken for thing in things)
            try:
                sys.stderr.write(text)
                sys.stderr.flush()
            except (AttributeError, OSError, ValueError):
                pass  # no stderr, or a closed one, must not stop the work it was told about
            else:
                self._tell_of_dropped()
            with self._changed:
                self._is_writing = False
                if self._flushes:
                    self._changed.notify_all()
                elif self._waiting < _LINES_AT_ONCE:
                    self._changed.wait(_NAP_S)

    def _take(self) -> list[tuple[Sequence[Any], Render]]:
        """Wait for lines, and take the first of them."""
        taken: list[tuple[Sequence[Any], Render]] = []
        lines = 0
        with self._changed:
            self._is_idle = not self._batches
            self._changed.wait_for(lambda: self._batches)
            self._is_idle = False
            self._is_writing = True
            while self._batches and lines < _LINES_AT_ONCE:
                taken.append(self._batches.popleft())
                lines += len(taken[-1][0])
            self._waiting -= lines
        return taken

    def _tell_of_dropped(self) -> None:
        with self._changed:
            if self._batches:
                return
            dropped, self._dropped = self._dropped, 0
        if dropped:
            self._on_dropped(dropped)


def _line(thing: Any, render: Render) -> str:
    try:
        return f"{render(thing)}\n"
    except Exception as error:  # noqa: BLE001 a thread that ends here ends all lines, those of the reason included
        return f"a line about a {type(thing).__name__} cannot be rendered: {type(error).__name__}\n"
