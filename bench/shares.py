"""`make bench ARGS=--profile`: where a server's time goes while it is flooded with submits, and while it drains.

Says what share each part has; how fast anything is, the benches say.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from operator import itemgetter
from typing import Final

import msgspec

from bench.beds import Bed, Place
from bench.ledger import fill, soon
from bench.processes import Listening, serving, until
from bench.profiled import Profile, Stack
from bench.sizes import Sizes
from bench.submits import RUN_LATER, RUN_NOW, flood

_LEAD_S = 4.0
_ROWS = 16
_OUTER = 0.9
"""A function that is in more than this share of all stacks says nothing."""
_TURN = "windlass.store.sqlite.tasks:_turn"
_AT_REST = frozenset({"~:<method 'get' of '_queue.SimpleQueue' objects>", "thread:_worker", "thread:run"})
_PARTS: Final = {
    "structlog": "log lines",
    "windlass.telemetry": "log lines",
    "uvicorn.protocols.http.httptools_impl:RequestResponseCycle.send": "HTTP: write the answer (uvicorn, sockets)",
    "uvicorn": "HTTP: read the request (uvicorn, parser, sockets)",
    "windlass.http.protocol": "HTTP: read the request (uvicorn, parser, sockets)",
    "windlass.http.v1": "HTTP: from JSON to submission, from task to view",
    "windlass.wire.codec": "JSON: strict decoding, canonical encoding",
    "windlass.wire.v1": "HTTP: from JSON to submission, from task to view",
    "windlass.wire.frames": "worker link",
    "windlass.http": "HTTP: middleware, routing, headers",
    "windlass.engine.catalog": "payload against its schema",
    "windlass.engine.settler": "engine: settler",
    "windlass.engine.line": "engine: settler",
    "windlass.engine.alarm": "engine: attempts",
    "windlass.engine.endings": "engine: attempts",
    "windlass.engine.attempts": "engine: attempts",
    "windlass.engine.runner": "engine: attempts",
    "windlass.engine": "engine: rest",
    "windlass.core": "core",
    "windlass.link": "worker link",
    "windlass.store": "store, on the loop",
    "asyncpg": "asyncpg",
}
"""The parts of a server by function, or by the longest beginning of a module's name; what is not named here belongs to
the function that called it. Python hears of a sample only when it runs again: what C has done before a callback counts
in the callback.
"""
_OUTPUT = "profile.json"
_LOOP_ITSELF = "event loop (uvloop)"


def profile(sizes: Sizes, bed: Bed) -> Iterator[str]:
    """Profile a server under each load; gives lines of text."""
    yield from _report("submits that wait", _flood(sizes, bed, RUN_LATER))
    yield from _report("submits that run at once", _flood(sizes, bed, RUN_NOW))
    yield from _report("a backlog, 200 slots", _drain(sizes, bed))


def _flood(sizes: Sizes, bed: Bed, body: str) -> Profile:
    with bed.place() as place:
        with serving(place.directory, database=place.database, entry=_entry(place)) as server:
            os.kill(server.pid, signal.SIGUSR1)
            flood(server, body, sizes)
            if body == RUN_NOW:
                _wait_until_drained(bed, place, server)
        return _read(place)


def _drain(sizes: Sizes, bed: Bed) -> Profile:
    with bed.place() as place:
        due_at = soon(_LEAD_S)
        fill(place, sizes.drain_tasks, run_at=due_at)
        with serving(place.directory, database=place.database, entry=_entry(place)) as server:
            os.kill(server.pid, signal.SIGUSR1)
            _wait_until_drained(bed, place, server)
        return _read(place)


def _entry(place: Place) -> tuple[str, ...]:
    return ("-m", "bench.profiled", str(place.directory / _OUTPUT))


def _read(place: Place) -> Profile:
    return msgspec.json.decode((place.directory / _OUTPUT).read_bytes(), type=Profile)


def _wait_until_drained(bed: Bed, place: Place, server: Listening) -> None:
    with bed.ledger(place) as ledger:
        until(ledger.is_drained, "every task has ended", check=server.check)


def _report(load: str, found: Profile) -> Iterator[str]:
    whole_s = sum(found.threads.values())
    yield f"── {load}: {whole_s:.2f} s of processor time in the server"
    yield from _rows("thread", found.threads, whole_s)
    parts, own, whole = _Shares(), _Shares(), _Shares()
    for stack, weight_s in found.loop:
        parts.add(_part_of(stack), weight_s)
        own.add(stack[-1], weight_s)
        for function in set(stack):
            whole.add(function, weight_s)
    loop_s = sum(parts.values())
    yield from _rows("part of the event loop's thread", parts, loop_s)
    yield from _rows("function there, by itself and what it calls in C", own, loop_s)
    inner = {function: share_s for function, share_s in whole.items() if share_s < _OUTER * loop_s}
    yield from _rows("function there, with all it calls", inner, loop_s)
    turns = next((share for share in found.writer if share.function == _TURN), None)
    if turns is not None:
        yield f"  {turns.calls:,} turns of {turns.whole_s / turns.calls * 1e3:.2f} ms by the wall clock"
    at_work_s = sum(share.own_s for share in found.writer if share.function not in _AT_REST)
    writer = {share.function: share.whole_s for share in found.writer if share.function not in _AT_REST}
    yield from _rows("function of the writing thread, with all it calls, by the wall clock", writer, at_work_s)
    yield ""


class _Shares(dict[str, float]):
    """Seconds by name."""

    def add(self, name: str, seconds: float) -> None:
        """Add to a name's seconds."""
        self[name] = self.get(name, 0.0) + seconds


def _rows(title: str, shares: Mapping[str, float], whole_s: float) -> Iterator[str]:
    yield f"  {title:<70}{'share':>8}"
    for name, share_s in sorted(shares.items(), key=itemgetter(1), reverse=True)[:_ROWS]:
        yield f"    {name[-66:]:<68}{share_s / whole_s:>8.1%}"


def _part_of(stack: Stack) -> str:
    """Say which part of the server was at work: that of the innermost function which belongs to a named one."""
    for function in reversed(stack):
        if function in _PARTS:
            return _PARTS[function]
        module = function.partition(":")[0]
        while module:
            if module in _PARTS:
                return _PARTS[module]
            module = module.rpartition(".")[0]
    return _LOOP_ITSELF
