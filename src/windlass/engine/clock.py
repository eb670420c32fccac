"""The real clock and the real names; see `contracts.clock`."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
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


_TOKEN_BYTES = 16
_TOKENS_DRAWN = 256
"""Tokens drawn with one call to the kernel, which costs more than all the rest of a token."""


class SystemIds:
    """Names from the system's source of randomness.

    Concurrency: tokens are made by one thread at a time, the one that writes to the store.
    """

    def __init__(self) -> None:
        self._tokens: Iterator[Token] = iter(())
        self._dice = random.Random()  # noqa: S311 jitter is no secret, and the system's source costs a call to the kernel

    def task_id(self) -> TaskId:
        """Make a UUIDv7."""
        return TaskId(str(uuid_utils.uuid7()))

    def server_id(self) -> ServerId:
        """Make a UUIDv7."""
        return ServerId(str(uuid_utils.uuid7()))

    def token(self) -> Token:
        """Make 128 random bits."""
        for token in self._tokens:
            return token
        digits = os.urandom(_TOKEN_BYTES * _TOKENS_DRAWN).hex()
        width = _TOKEN_BYTES * 2
        self._tokens = iter([Token(digits[at : at + width]) for at in range(0, len(digits), width)])
        return next(self._tokens)

    def roll(self) -> float:
        """Roll."""
        return self._dice.random()
