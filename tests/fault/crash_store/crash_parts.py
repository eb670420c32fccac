"""What a life is led with: a ledger, a clock that stands still, counted names, and hands that play the workers."""

from __future__ import annotations

import asyncio
import os
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from windlass.contracts.tasks import Claimed, Turn, Wanted
from windlass.core.ids import ServerId, TaskId, Token
from windlass.engine.settler import Ears

POOLS = {"work": ("shared", "solo")}


class Ledger:
    """What the program was told: a line for each acknowledgement, written once it is there."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, what: str, **fields: Any) -> None:
        os.write(self._file, msgspec.json.encode({"what": what, **fields}) + b"\n")


class StillClock:
    """`contracts.clock.Clock`; time passes only when told to."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        return self._at

    def monotonic(self) -> float:
        return 0.0

    def pass_time(self, seconds: float) -> None:
        self._at += timedelta(seconds=seconds)


class CountedIds:
    """`contracts.clock.Ids`: a life's own names, the same each time."""

    def __init__(self, life: int) -> None:
        self._dice = random.Random(life)

    def task_id(self) -> TaskId:
        digits = f"{self._dice.getrandbits(128):032x}"
        return TaskId(f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:]}")

    def server_id(self) -> ServerId:
        return ServerId(self.task_id())

    def token(self) -> Token:
        return Token(f"{self._dice.getrandbits(128):032x}")

    def roll(self) -> float:
        return 0.5


class Hands(Ears):
    """Says how many slots are free, and keeps what turns put into them."""

    def __init__(self) -> None:
        self.free = 0
        self.running: dict[TaskId, Claimed] = {}
        self.asked, self.turned = asyncio.Event(), asyncio.Event()

    def wanted(self) -> Wanted:
        self.asked.set()
        return Wanted(slots={"shared": self.free, "solo": self.free}, pools=POOLS)

    def placed(self, turn: Turn) -> None:
        self.free = 0
        self.running |= {claimed.task.id: claimed for claimed in turn.claimed}
        if turn.has_room:
            self.turned.set()
