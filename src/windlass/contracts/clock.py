"""Where time and new names come from: the two things a rule must never fetch for itself."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from windlass.core.ids import ServerId, TaskId, Token


class Clock(Protocol):
    """Two clocks that must not be mixed.

    `now` is what people mean by time: it is written down, compared across restarts, and can step either way.
    `monotonic` measures how long something took or when a deadline is due: it never steps, and means nothing to
    another process or after a restart. Ownership is never judged by `now`.
    """

    def now(self) -> datetime:
        """Read the wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Read the monotonic clock, in seconds."""
        ...


class Ids(Protocol):
    """Makes names and rolls dice; seeded in tests."""

    def task_id(self) -> TaskId:
        """Make the id of a new task: a UUIDv7, rising with time."""
        ...

    def server_id(self) -> ServerId:
        """Make the name of one run of a server."""
        ...

    def token(self) -> Token:
        """Make the name of a lease: 128 random bits."""
        ...

    def roll(self) -> float:
        """Roll uniformly in [0, 1)."""
        ...
