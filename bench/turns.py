"""Turns of the store alone: whole lives of tasks in this process, beside raw inserts on the same disk.

No HTTP, no engine and no worker in it: what the store leaves to them.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.ledger import task_lives_per_s
from bench.limits import raw_inserts_per_s
from bench.rounds import Round
from bench.sizes import Sizes


def measure(sizes: Sizes, directory: Path) -> Iterator[Round]:
    """Take tasks through their lives with each number of slots in each round."""
    for _ in range(sizes.rounds):
        raws_per_s = [raw_inserts_per_s(directory, sizes.raw_rows)]
        lives: dict[int, float] = {}
        for slots in sizes.turn_slots:
            with tempfile.TemporaryDirectory(dir=directory) as place:
                lives[slots] = asyncio.run(task_lives_per_s(Path(place), sizes.turn_tasks, slots=slots))
            raws_per_s.append(raw_inserts_per_s(directory, sizes.raw_rows))
        raw_per_s = statistics.median(raws_per_s)
        figures = {"raw_inserts_per_s": raw_per_s}
        figures |= {f"slots_{slots}_lives_per_s": per_s for slots, per_s in lives.items()}
        ratios = {f"slots_{slots}_lives / raw_inserts": per_s / raw_per_s for slots, per_s in lives.items()}
        yield Round(figures, ratios)
