"""Submits over HTTP: how many a second a server acknowledges durably, beside a bare server that stores nothing.

A round floods a server whose tasks wait for later and one that runs them meanwhile; what each must be compared with is
measured before, between and after.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from operator import attrgetter
from typing import Final

import msgspec

from bench.beds import Bed
from bench.flood import FloodReport, FloodRequest
from bench.processes import BenchError, Listening, bare_serving, generate, serving, until
from bench.replies import SUBMIT_PATH
from bench.rounds import Round
from bench.sizes import Sizes

RUN_NOW: Final = '{"kind":"noop","payload":{"n":1}}'
RUN_LATER: Final = '{"kind":"noop","payload":{"n":1},"delay":3600}'
_MICROS = 1e6


def measure(sizes: Sizes, bed: Bed) -> Iterator[Round]:
    """Flood each server in each round; the bare one before, between and after the others."""
    with bed.place() as place, bare_serving(place.directory) as bare:
        for _ in range(sizes.rounds):
            limits = [flood(bare, RUN_LATER, sizes)]
            later = _flood_later(sizes, bed)
            limits.append(flood(bare, RUN_LATER, sizes))
            now, run_per_s = _flood_now(sizes, bed)
            limits.append(flood(bare, RUN_LATER, sizes))
            yield _compare({"bare": _middle(limits), "later": later, "now": now}, run_per_s)


def _compare(flooded: dict[str, Flooded], run_per_s: float) -> Round:
    figures: dict[str, float] = {"now_run_per_s": run_per_s}
    ratios: dict[str, float] = {"now_run / bare_submits": run_per_s / flooded["bare"].per_s}
    for name, found in flooded.items():
        figures |= {
            f"{name}_submits_per_s": found.per_s,
            f"{name}_submit_p50_ms": found.report.p50_ms,
            f"{name}_submit_p99_ms": found.report.p99_ms,
            f"{name}_submit_cpu_us": found.cpu_us,
            f"{name}_generator_busy_share": found.report.busy,
        }
        if name != "bare":
            ratios[f"{name}_submits / bare_submits"] = found.per_s / flooded["bare"].per_s
            ratios[f"{name}_submit_cpu / bare_submit_cpu"] = found.cpu_us / flooded["bare"].cpu_us
    return Round(figures, ratios)


class Flooded(msgspec.Struct, frozen=True):
    """What a flood found, and the processor time of the server for each answer, in microseconds."""

    report: FloodReport
    cpu_us: float

    @property
    def per_s(self) -> float:
        """Submits acknowledged a second."""
        return self.report.acknowledged / self.report.seconds


def _middle(floods: list[Flooded]) -> Flooded:
    """Give the one of three that was neither the fastest nor the slowest."""
    return sorted(floods, key=attrgetter("per_s"))[len(floods) // 2]


def flood(server: Listening, body: str, sizes: Sizes) -> Flooded:
    """Flood a server.

    Raises:
        BenchError: it refused some.
    """
    asked = FloodRequest(
        port=server.port,
        path=SUBMIT_PATH,
        body=body,
        connections=sizes.connections,
        warm_s=sizes.warm_s,
        flood_s=sizes.flood_s,
    )
    began_cpu_s = server.cpu_s()
    report = msgspec.convert(generate("bench.flood", asked), FloodReport, strict=False)
    if report.refused:
        raise BenchError(f"the server refused submits, by status: {report.refused}")
    return Flooded(report, (server.cpu_s() - began_cpu_s) / report.stored * _MICROS)


def _flood_later(sizes: Sizes, bed: Bed) -> Flooded:
    with bed.place() as place, serving(place.directory, database=place.database) as server:
        return flood(server, RUN_LATER, sizes)


def _flood_now(sizes: Sizes, bed: Bed) -> tuple[Flooded, float]:
    """Flood a server that runs what comes; gives the tasks a second from the first submit to the last settlement."""
    with bed.place() as place, serving(place.directory, database=place.database) as server:
        found = flood(server, RUN_NOW, sizes)
        with bed.ledger(place) as ledger:
            until(ledger.is_drained, "every task has ended", check=server.check, every_s=0.005)
            ended_at = time.time()
            if (succeeded := ledger.succeeded()) != found.report.stored:
                raise BenchError(f"{found.report.stored} tasks were acknowledged, and {succeeded} have succeeded")
            return found, succeeded / (ended_at - ledger.first_created_at())
