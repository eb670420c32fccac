"""Batches of tasks over HTTP, run by the server's workers meanwhile: from the first request to the last settlement.

One client, which sends the next batch as soon as it has the answer to the last.
"""

from __future__ import annotations

import http.client
import statistics
import time
from collections.abc import Iterator
from typing import Final

from bench.beds import Bed, cpu_us
from bench.processes import PATIENCE_S, BenchError, Listening, cpu_s, serving, until
from bench.rounds import Round
from bench.sizes import Sizes
from bench.submits import RUN_NOW

_BATCH_PATH: Final = "/v1/tasks/batch"
_ACCEPTED: Final = 202


def measure(sizes: Sizes, bed: Bed) -> Iterator[Round]:
    """Send the batches at each number of slots in each round, the limit before, between and after."""
    for _ in range(sizes.rounds):
        raws_per_s = [bed.limit_per_s(sizes.raw_rows)]
        figures: dict[str, float] = {}
        for slots in sizes.drain_slots:
            found = _send_and_run(bed, sizes, slots)
            figures |= {f"slots_{slots}_{name}": value for name, value in found.items()}
            raws_per_s.append(bed.limit_per_s(sizes.raw_rows))
        raw_per_s = statistics.median(raws_per_s)
        ratios = {
            f"slots_{slots}_run / {bed.limit}": figures[f"slots_{slots}_run_per_s"] / raw_per_s
            for slots in sizes.drain_slots
        }
        yield Round({f"{bed.limit}_per_s": raw_per_s, **figures}, ratios)


def _send_and_run(bed: Bed, sizes: Sizes, slots: int) -> dict[str, float]:
    """Processor times are the server's, those of all its workers together and the bed's, for each task."""
    count = sizes.batches * sizes.batch_tasks
    with bed.place() as place, serving(place.directory, database=place.database, slots=slots) as server:
        workers, began_bed_s = server.children(), bed.cpu_s()
        began_cpu_s, began_workers_s, began_at = server.cpu_s(), cpu_s(workers), time.perf_counter()
        _send(server, sizes)
        sent_at = time.perf_counter()
        with bed.ledger(place) as ledger:
            until(ledger.is_drained, "every task has ended", check=server.check, every_s=0.005)
            ended_at = time.perf_counter()
            if (succeeded := ledger.succeeded()) != count:
                raise BenchError(f"{count} tasks were acknowledged, and {succeeded} have succeeded")
        return {
            "submits_per_s": count / (sent_at - began_at),
            "run_per_s": count / (ended_at - began_at),
            "server_cpu_us": (server.cpu_s() - began_cpu_s) / count * 1e6,
            "worker_cpu_us": (cpu_s(workers) - began_workers_s) / count * 1e6,
            **cpu_us(bed, began_bed_s, count),
        }


def _send(server: Listening, sizes: Sizes) -> None:
    body = f'{{"tasks":[{",".join([RUN_NOW] * sizes.batch_tasks)}]}}'
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    try:
        for _ in range(sizes.batches):
            connection.request("POST", _BATCH_PATH, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != _ACCEPTED:
                raise BenchError(f"a batch was answered with {answer.status}: {said[:500].decode()}")
    finally:
        connection.close()
