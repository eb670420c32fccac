"""Names and dice for the store's tests: seeded, so that two stores given the same seed speak of the same tasks."""

from __future__ import annotations

import random

from windlass.core.ids import ServerId, TaskId, Token


class SeededIds:
    """`contracts.clock.Ids`, the same sequence for the same seed."""

    def __init__(self, seed: int = 1) -> None:
        self._tasks = random.Random(seed)
        self._tokens = random.Random(seed + 1)

    def task_id(self) -> TaskId:
        digits = f"{self._tasks.getrandbits(128):032x}"
        return TaskId(f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:]}")

    def server_id(self) -> ServerId:
        return ServerId(self.task_id())

    def token(self) -> Token:
        return Token(f"{self._tokens.getrandbits(128):032x}")

    def roll(self) -> float:
        return self._tasks.random()
