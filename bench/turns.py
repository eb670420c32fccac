"""Turns of the store alone: whole lives of tasks in this process, beside the limit on the same disk.

No HTTP, no engine and no worker in it: what the store leaves to them.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Iterator

from bench.beds import Bed
from bench.ledger import task_lives_per_s
from bench.rounds import Round
from bench.sizes import Sizes


def measure(sizes: Sizes, bed: Bed) -> Iterator[Round]:
    """Take tasks through their lives with each number of slots in each round."""
    for _ in range(sizes.rounds):
        raws_per_s = [bed.limit_per_s(sizes.raw_rows)]
        lives: dict[int, float] = {}
        for slots in sizes.turn_slots:
            with bed.place() as place:
                lives[slots] = asyncio.run(task_lives_per_s(place, sizes.turn_tasks, slots=slots))
            raws_per_s.append(bed.limit_per_s(sizes.raw_rows))
        raw_per_s = statistics.median(raws_per_s)
        figures = {f"{bed.limit}_per_s": raw_per_s}
        figures |= {f"slots_{slots}_lives_per_s": per_s for slots, per_s in lives.items()}
        ratios = {f"slots_{slots}_lives / {bed.limit}": per_s / raw_per_s for slots, per_s in lives.items()}
        yield Round(figures, ratios)
