"""A backlog of no-op tasks run by a server's workers, from the first claim to the last durable settlement.

No HTTP in it: the tasks are laid into the store by its own turns before the server starts, and fall due all at once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from bench.beds import Bed, Place, cpu_us
from bench.ledger import fill, soon
from bench.processes import BenchError, Listening, cpu_s, serving, until
from bench.rounds import Round
from bench.sizes import Sizes

_LAID_IN_PER_S = 10_000
_LEADS_S = (3.0, 6.0, 12.0, 24.0)
"""How long a server may take to be ready before the backlog falls due; the next is tried when it took longer."""


def measure(sizes: Sizes, bed: Bed) -> Iterator[Round]:
    """Drain a backlog at each number of slots in each round."""
    for _ in range(sizes.rounds):
        raws_per_s = [bed.limit_per_s(sizes.raw_rows)]
        figures: dict[str, float] = {}
        for slots in sizes.drain_slots:
            drained = _drain(bed, sizes.drain_tasks, slots)
            figures |= {f"slots_{slots}_{name}": value for name, value in drained.items()}
            raws_per_s.append(bed.limit_per_s(sizes.raw_rows))
        raw_per_s = statistics.median(raws_per_s)
        ratios = {
            f"slots_{slots}_run / {bed.limit}": figures[f"slots_{slots}_run_per_s"] / raw_per_s
            for slots in sizes.drain_slots
        }
        yield Round({f"{bed.limit}_per_s": raw_per_s, **figures}, ratios)


def _drain(bed: Bed, count: int, slots: int) -> dict[str, float]:
    for lead_s in _LEADS_S:
        with bed.place() as place:
            due_at = soon(lead_s + count / _LAID_IN_PER_S)
            fill(place, count, run_at=due_at)
            with serving(place.directory, database=place.database, slots=slots) as server:
                if time.time() < due_at.timestamp():
                    return _watch(bed, place, server, count)
    raise BenchError(f"the server was not ready within {_LEADS_S[-1]:g} s")


def _watch(bed: Bed, place: Place, server: Listening, count: int) -> dict[str, float]:
    """Wait for the end of the backlog; processor times are the server's, and those of all its workers together."""
    workers = server.children()
    began_cpu_s, began_workers_s, began_bed_s = server.cpu_s(), cpu_s(workers), bed.cpu_s()
    with bed.ledger(place) as ledger:
        until(ledger.is_drained, "the backlog has been drained", check=server.check, every_s=0.005)
        ended_at = time.time()
        server_cpu_s, workers_cpu_s = server.cpu_s() - began_cpu_s, cpu_s(workers) - began_workers_s
        bed_us = cpu_us(bed, began_bed_s, count)
        if (succeeded := ledger.succeeded()) != count:
            raise BenchError(f"of {count} tasks {succeeded} have succeeded")
        return {
            "run_per_s": count / (ended_at - ledger.first_started_at()),
            "server_cpu_us": server_cpu_s / count * 1e6,
            "worker_cpu_us": workers_cpu_s / count * 1e6,
            **bed_us,
        }
