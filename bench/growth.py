"""Whether turns stay as cheap as a store fills: the same claims, submits and pages in stores of different sizes.

Each claim is settled again, so that as many tasks wait at the end as at the beginning.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final, TypeVar

from bench.beds import Bed
from bench.ledger import POOL, POOLS, lay_in, lay_in_finished, new_task, open_ledger, settle_all, soon
from bench.rounds import Round
from bench.sizes import Sizes
from windlass.contracts.store import Store
from windlass.contracts.tasks import Submit, Turn, Wanted
from windlass.core.query import TaskQuery

T = TypeVar("T")

TURN: Final = 64
_WARM_CYCLES = 2


def measure(sizes: Sizes, bed: Bed) -> Iterator[Round]:
    """Fill the stores once, then time turns in all of them by turns."""
    with ExitStack() as places, asyncio.Runner() as runner:
        stores = runner.run(_fill(sizes, bed, places))
        try:
            runner.run(_time(stores, _WARM_CYCLES))
            for _ in range(sizes.rounds):
                yield _compare(runner.run(_time(stores, sizes.cycles)), sizes)
        finally:
            runner.run(_close(stores))


async def _fill(sizes: Sizes, bed: Bed, places: ExitStack) -> dict[str, Store]:
    """Make the stores: those with more and more tasks waiting, and those with others beside the fewest."""
    stores: dict[str, Store] = {}
    for waiting in sizes.waiting:
        store = stores[f"waiting_{short(waiting)}"] = await open_ledger(places.enter_context(bed.place()))
        await lay_in(store, waiting)
    for sort in ("scheduled", "held", "finished"):
        store = stores[f"{sort}_{short(sizes.beside)}"] = await open_ledger(places.enter_context(bed.place()))
        match sort:
            case "scheduled":
                await lay_in(store, sizes.beside, run_at=soon(86_400.0))
            case "held":
                await lay_in(store, sizes.beside, held=True)
            case _:
                await lay_in_finished(store, sizes.beside)
        await lay_in(store, sizes.waiting[0])
    return stores


async def _time(stores: dict[str, Store], cycles: int) -> dict[str, dict[str, float]]:
    """Give the median of each operation in each store, in milliseconds."""
    took_ms: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in stores}
    for _ in range(cycles):
        for name, store in stores.items():
            for operation, ms in (await _cycle(store)).items():
                took_ms[name][operation].append(ms)
    return {
        name: {operation: statistics.median(each) for operation, each in operations.items()}
        for name, operations in took_ms.items()
    }


async def _cycle(store: Store) -> dict[str, float]:
    """Submit, claim and settle as many tasks, and read the first page."""
    now = datetime.now(UTC)
    submits = [Submit(new_task(now)) for _ in range(TURN)]
    submit_ms, _ = await _timed(store.tasks.turn(submits, Wanted(), now=now))
    wanted = Wanted(slots={POOL: TURN}, pools=POOLS)
    claim_ms, claimed = await _timed(store.tasks.turn([], wanted, now=now))
    assert isinstance(claimed, Turn)
    assert len(claimed.claimed) == TURN
    settles = settle_all(claimed.claimed)
    settle_ms, _ = await _timed(store.tasks.turn(settles, Wanted(), now=now))
    page_ms, _ = await _timed(store.tasks.page(TaskQuery()))
    return {"submit": submit_ms, "claim": claim_ms, "settle": settle_ms, "page": page_ms}


async def _timed(work: Awaitable[T]) -> tuple[float, T]:
    began_at = time.perf_counter()
    result = await work
    return (time.perf_counter() - began_at) * 1e3, result


def _compare(medians: dict[str, dict[str, float]], sizes: Sizes) -> Round:
    base = f"waiting_{short(sizes.waiting[0])}"
    figures = {
        f"{operation}_{name}_ms": ms for name, operations in medians.items() for operation, ms in operations.items()
    }
    ratios = {
        f"{operation}_{name} / {operation}_{base}": ms / medians[base][operation]
        for name, operations in medians.items()
        for operation, ms in operations.items()
        if name != base
    }
    return Round(figures, ratios)


async def _close(stores: dict[str, Store]) -> None:
    for store in stores.values():
        await store.close()


def short(count: int) -> str:
    """Spell a count in few characters: 10k, 1M."""
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return str(count)
