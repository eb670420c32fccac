"""The real clock and the real names; see `contracts.clock`."""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime

import uuid_utils

from windlass.core.ids import ServerId, TaskId, Token


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Read the wall clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Read the monotonic clock, the one event loops use."""
        return time.monotonic()


class SystemIds:
    """Names from the system's source of randomness."""

    def __init__(self) -> None:
        self._dice = random.Random()  # noqa: S311 jitter is no secret, and the system's source costs a call to the kernel

    def task_id(self) -> TaskId:
        """Make a UUIDv7."""
        return TaskId(str(uuid_utils.uuid7()))

    def server_id(self) -> ServerId:
        """Make a UUIDv7."""
        return ServerId(str(uuid_utils.uuid7()))

    def token(self) -> Token:
        """Make 128 random bits."""
        return Token(secrets.token_hex(16))

    def roll(self) -> float:
        """Roll."""
        return self._dice.random()
