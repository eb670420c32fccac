"""The latency generator: one connection, one task at a time, on a server that has nothing else to do.

A process of its own, `python -m bench.probe`: takes a `ProbeRequest` as JSON on stdin, gives a `ProbeReport` on stdout.
"""

from __future__ import annotations

import gc
import socket
import sys
import time
from typing import Any

import msgspec

from bench.replies import SUBMIT_PATH, body_of, spell_request, status_of, whole_length

_ENDED = ("succeeded", "failed", "cancelled")
_REST_S = 0.002
"""Between two tasks, so that each meets a server at rest."""


class ProbeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ask, and how often. `starts`: follow each task to its result, which says when its handler began."""

    port: int
    body: str
    count: int
    warm: int = 20
    starts: bool


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """From the request to its answer, and from the request to the first line of the handler."""

    answer_p50_ms: float
    answer_p99_ms: float
    start_p50_ms: float
    start_p99_ms: float


class Line:
    """A connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, request: bytes) -> bytes:
        """Send a request and wait for its whole answer.

        Raises:
            SystemExit: it is no success.
        """
        self._socket.sendall(request)
        data = b""
        while not (length := whole_length(data)) or len(data) < length:
            part = self._socket.recv(65_536)
            if not part:
                raise SystemExit("the server hung up")
            data += part
        if status_of(data) not in (200, 202):
            raise SystemExit(f"refused: {data!r}")
        return data


def run(asked: ProbeRequest) -> ProbeReport:
    """Probe one by one; the warm-up is not counted."""
    line = Line(asked.port)
    submit = spell_request("POST", SUBMIT_PATH, asked.body.encode())
    answers_s: list[float] = []
    starts_s: list[float] = []
    for _ in range(asked.warm + asked.count):
        time.sleep(_REST_S)
        sent_at, sent_ns = time.perf_counter(), time.time_ns()
        answer = line.ask(submit)
        answers_s.append(time.perf_counter() - sent_at)
        began_ns = _began_ns(line, msgspec.json.decode(body_of(answer))) if asked.starts else sent_ns
        starts_s.append((began_ns - sent_ns) / 1e9)
    answers, starts = sorted(answers_s[asked.warm :]), sorted(starts_s[asked.warm :])
    return ProbeReport(
        answer_p50_ms=answers[len(answers) // 2] * 1e3,
        answer_p99_ms=answers[len(answers) * 99 // 100] * 1e3,
        start_p50_ms=starts[len(starts) // 2] * 1e3,
        start_p99_ms=starts[len(starts) * 99 // 100] * 1e3,
    )


def _began_ns(line: Line, task: dict[str, Any]) -> int:
    """Follow a task to its end and read when its handler began."""
    read = spell_request("GET", f"{SUBMIT_PATH}/{task['id']}?wait=10")
    while task["state"] not in _ENDED:
        task = msgspec.json.decode(body_of(line.ask(read)))
    if task["state"] != "succeeded":
        raise SystemExit(f"a probe did not succeed: {task}")
    return task["result"]


def main() -> None:
    """Run what stdin asks for."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=ProbeRequest)
    gc.disable()
    sys.stdout.buffer.write(msgspec.json.encode(run(asked)))


if __name__ == "__main__":
    main()
