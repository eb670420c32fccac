"""What a bench gives and how rounds become figures. Knows no bench.

Units are said by the ends of names: `_per_s`, `_ms`, `_us` (microseconds), `_mib`, `_share`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from bench.beds import Bed
from bench.sizes import Sizes


class Round(msgspec.Struct, frozen=True):
    """One round: what was measured, and ratios of what was measured beside each other in this very round."""

    figures: dict[str, float]
    ratios: dict[str, float]


class Bench(Protocol):
    """A module with a bench: gives one round after the other, and leaves nothing running."""

    def measure(self, sizes: Sizes, bed: Bed) -> Iterator[Round]:
        """Measure `sizes.rounds` rounds, with all stores in `bed`."""
        ...


class Middle(msgspec.Struct, frozen=True):
    """A median with the lowest and the highest it was taken of."""

    median: float
    low: float
    high: float


class Measured(msgspec.Struct, frozen=True):
    """All rounds of a bench. A ratio is the median of the rounds' ratios, not the ratio of medians: what disturbs one
    round disturbs both of its sides.
    """

    figures: dict[str, Middle]
    ratios: dict[str, Middle]
    rounds: int
    took_s: float


def summarize(rounds: Sequence[Round], *, took_s: float) -> Measured:
    """Take the medians."""
    return Measured(
        figures=_middles([each.figures for each in rounds]),
        ratios=_middles([each.ratios for each in rounds]),
        rounds=len(rounds),
        took_s=took_s,
    )


def _middles(samples: Sequence[dict[str, float]]) -> dict[str, Middle]:
    return {name: _middle([sample[name] for sample in samples]) for name in samples[0]}


def _middle(values: Sequence[float]) -> Middle:
    return Middle(statistics.median(values), min(values), max(values))
