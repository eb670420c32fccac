"""How soon work starts: from a submit to the first line of its handler, on a server at rest, over a bare round trip.

One task at a time; the handler's clock and the client's are the same machine's.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bench.beds import Bed
from bench.probe import ProbeReport, ProbeRequest
from bench.processes import Listening, bare_serving, generate, serving
from bench.rounds import Round
from bench.sizes import Sizes
from bench.submits import RUN_NOW


def measure(sizes: Sizes, bed: Bed) -> Iterator[Round]:
    """Probe both servers in turns; both run all the time, so that neither is fresher than the other."""
    with (
        bed.place() as place,
        bare_serving(place.directory) as bare,
        serving(place.directory, database=place.database) as server,
    ):
        for _ in range(sizes.rounds):
            limit = _probe(bare, sizes, starts=False)
            start = _probe(server, sizes, starts=True)
            yield _compare(limit, start)


def _compare(limit: ProbeReport, start: ProbeReport) -> Round:
    figures = {
        "bare_answer_p50_ms": limit.answer_p50_ms,
        "bare_answer_p99_ms": limit.answer_p99_ms,
        "answer_p50_ms": start.answer_p50_ms,
        "answer_p99_ms": start.answer_p99_ms,
        "start_p50_ms": start.start_p50_ms,
        "start_p99_ms": start.start_p99_ms,
        "start_over_bare_p50_ms": start.start_p50_ms - limit.answer_p50_ms,
        # Over the median of the bare round trip: its own worst cases are no excuse for ours.
        "start_over_bare_p99_ms": start.start_p99_ms - limit.answer_p50_ms,
    }
    ratios = {
        "start_p50 / bare_answer_p50": start.start_p50_ms / limit.answer_p50_ms,
        "start_p99 / bare_answer_p99": start.start_p99_ms / limit.answer_p99_ms,
    }
    return Round(figures, ratios)


def _probe(server: Listening, sizes: Sizes, *, starts: bool) -> ProbeReport:
    asked = ProbeRequest(port=server.port, body=RUN_NOW, count=sizes.probe_tasks, starts=starts)
    return msgspec.convert(generate("bench.probe", asked), ProbeReport, strict=False)
