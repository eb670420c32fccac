"""The load generator: many connections kept alive, one request after the other on each, as fast as they are answered.

A process of its own, `python -m bench.flood`: takes a `FloodRequest` as JSON on stdin, gives a `FloodReport` on stdout.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import Counter

import msgspec
import uvloop

from bench.replies import spell_request, status_of, whole_length

_ACCEPTED = 202


class FloodRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask for what, and for how long; `count` bounds the requests of the whole run."""

    port: int
    path: str
    body: str
    connections: int
    warm_s: float
    flood_s: float
    count: int = 1_000_000


class FloodReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came back in the time that was measured; `stored` counts the warm-up as well.

    `busy` is the share of that time in which the generator itself was computing: near 1, it was the limit.
    """

    acknowledged: int
    stored: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: dict[int, int]
    busy: float


class Flood:
    """The run that all connections belong to."""

    def __init__(self, asked: FloodRequest) -> None:
        self.request = spell_request("POST", asked.path, asked.body.encode())
        self.is_open = True
        self.latencies_s: list[float] = []
        self.refused: Counter[int] = Counter()
        self.stored = 0
        self.left = asked.count
        self.finished = asyncio.Event()
        self.connections = 0

    def take(self, status: int, latency_s: float) -> None:
        """Count one answer."""
        self.left -= 1
        if status == _ACCEPTED:
            self.stored += 1
            self.latencies_s.append(latency_s)
        else:
            self.refused[status] += 1


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, flood: Flood) -> None:
        self._flood = flood
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        self._transport = transport
        self._flood.connections += 1
        self._send()

    def data_received(self, data: bytes) -> None:
        """Take an answer in, and send the next request when it is whole."""
        data = self._buffer + data
        length = whole_length(data)
        if not length or len(data) < length:
            self._buffer = data
            return
        self._buffer = b""
        flood = self._flood
        flood.take(status_of(data), time.perf_counter() - self._sent_at)
        if flood.is_open and flood.left > 0:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:  # type: ignore[override]
        """End the run with the last connection."""
        self._flood.connections -= 1
        if not self._flood.connections:
            self._flood.finished.set()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._flood.request)


async def run(asked: FloodRequest) -> FloodReport:
    """Warm up, measure, and let what is under way be answered."""
    loop = asyncio.get_running_loop()
    flood = Flood(asked)
    for _ in range(asked.connections):
        await loop.create_connection(lambda: Connection(flood), "127.0.0.1", asked.port)
    await asyncio.sleep(asked.warm_s)
    flood.latencies_s.clear()
    flood.refused.clear()
    began_at, began_cpu_s = time.perf_counter(), time.process_time()
    try:
        async with asyncio.timeout(asked.flood_s):
            await flood.finished.wait()
    except TimeoutError:
        pass
    seconds = time.perf_counter() - began_at
    busy = (time.process_time() - began_cpu_s) / seconds
    latencies = sorted(flood.latencies_s)
    flood.is_open = False
    async with asyncio.timeout(30):
        await flood.finished.wait()
    if not latencies:
        raise SystemExit(f"nothing was acknowledged; refused: {dict(flood.refused)}")
    return FloodReport(
        acknowledged=len(latencies),
        stored=flood.stored,
        seconds=seconds,
        p50_ms=latencies[len(latencies) // 2] * 1e3,
        p99_ms=latencies[len(latencies) * 99 // 100] * 1e3,
        refused=dict(flood.refused),
        busy=busy,
    )


def main() -> None:
    """Run what stdin asks for."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=FloodRequest)
    gc.disable()
    report = uvloop.run(run(asked))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
