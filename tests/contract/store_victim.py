"""A program that works on a store until it is killed: prints a line for each turn that has been acknowledged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from store_cases import ALL, Bench
from store_ids import SeededIds

from windlass.contracts.tasks import Submit
from windlass.store.open import open_store


async def work(data: Path) -> None:
    ids = SeededIds()
    bench = Bench(await open_store("sqlite", data=data, ids=ids), ids)
    while True:
        turn = await bench.turn(*[Submit(bench.new()) for _ in range(3)], slots=ALL | {"shared": 2})
        print(turn.events[-1].seq, flush=True)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))
