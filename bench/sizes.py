"""How much each bench does: the full run, a quick look, and the tiny one that only shows that a bench works.

Holds no code that measures.
"""

from __future__ import annotations

from typing import Final

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """One set of sizes. Durations in seconds; everything else is a count."""

    name: str
    rounds: int
    warm_s: float
    flood_s: float
    connections: int = 64
    drain_tasks: int
    drain_slots: tuple[int, ...] = (64, 200)
    batches: int
    """So many batches are sent one after the other, of `batch_tasks` each."""
    batch_tasks: int = 1_000
    probe_tasks: int
    raw_rows: int
    turn_tasks: int
    turn_slots: tuple[int, ...] = (64, 256, 1000)
    waiting: tuple[int, ...]
    """Stores with so many tasks waiting; the first is the one that all others are compared with."""
    beside: int
    """So many scheduled, held or finished tasks beside the waiting ones."""
    cycles: int
    """Turns of each sort that a growth round times in each store."""
    laid_in: int
    """Tasks that wait in the store of a server whose memory is measured."""


FULL: Final = Sizes(
    name="full",
    rounds=5,
    warm_s=0.5,
    flood_s=3.0,
    drain_tasks=10_000,
    batches=20,
    probe_tasks=400,
    raw_rows=50_000,
    turn_tasks=20_000,
    waiting=(10_000, 100_000, 1_000_000),
    beside=100_000,
    cycles=20,
    laid_in=100_000,
)
QUICK: Final = Sizes(
    name="quick",
    rounds=3,
    warm_s=0.3,
    flood_s=1.5,
    drain_tasks=4_000,
    batches=8,
    probe_tasks=200,
    raw_rows=20_000,
    turn_tasks=10_000,
    waiting=(10_000, 100_000),
    beside=20_000,
    cycles=10,
    laid_in=20_000,
)
TINY: Final = Sizes(
    name="tiny",
    rounds=1,
    warm_s=0.1,
    flood_s=0.3,
    connections=8,
    drain_tasks=100,
    drain_slots=(64,),
    batches=2,
    batch_tasks=50,
    probe_tasks=10,
    raw_rows=1_000,
    turn_tasks=500,
    turn_slots=(64,),
    waiting=(200, 1_000),
    beside=200,
    cycles=2,
    laid_in=500,
)
