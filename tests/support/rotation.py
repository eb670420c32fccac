"""Proofs too long for every run, cut into shares: each run takes another one, and says which."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")

TURN = "PROOF_TURN"
"""The variable that names the turn, to run again what has failed on another day."""


def todays_turn() -> int:
    """Give the number of today's turn: the days since 1970, unless the environment names another."""
    return int(os.environ.get(TURN, (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days))


def share(items: Sequence[T], *, of: int) -> Sequence[T]:
    """Give this turn's one of `of` shares of `items`; after `of` turns all have had theirs."""
    turn = todays_turn()
    print(f"{TURN}={turn}: {len(items[turn % of :: of])} of {len(items)}")
    return items[turn % of :: of]
