"""Resident memory: of a server at rest and its workers, beside a bare server, and what waiting tasks add to it.

Reads what the kernel says of each process; memory that processes share counts in each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Final

from bench.beds import Bed
from bench.ledger import fill, soon
from bench.processes import BenchError, Listening, bare_serving, serving
from bench.replies import SUBMIT_PATH
from bench.rounds import Round
from bench.sizes import Sizes
from bench.submits import RUN_LATER, RUN_NOW

_TOUCHES: Final = 200
"""Submits of each sort and pages asked for before memory is read, so that both servers have filled their caches."""


def measure(sizes: Sizes, bed: Bed) -> Iterator[Round]:
    """Look at a bare server, at one with an empty store, and at one with a full store, in each round."""
    for _ in range(sizes.rounds):
        with bed.place() as place, bare_serving(place.directory) as bare:
            bare_mib = bare.rss_mib()
        with bed.place() as place, serving(place.directory, database=place.database) as server:
            idle_mib = server.rss_mib()
            workers = _workers(server)
            touched_mib = _touch(server)
        laid_in_mib = _with_tasks(bed, sizes.laid_in)
        figures = {
            "bare_rss_mib": bare_mib,
            "idle_server_rss_mib": idle_mib,
            **{f"idle_{name}_rss_mib": mib for name, mib in workers.items()},
            "used_server_rss_mib": touched_mib,
            "waiting_tasks_add_mib": laid_in_mib - touched_mib,
        }
        ratios = {f"{name} / bare": mib / bare_mib for name, mib in {"idle_server": idle_mib, **workers}.items()}
        ratios["used_server_with_waiting / used_server"] = laid_in_mib / touched_mib
        yield Round(figures, ratios)


def _with_tasks(bed: Bed, count: int) -> float:
    with bed.place() as place:
        fill(place, count, run_at=soon(86_400.0))
        with serving(place.directory, database=place.database) as server:
            return _touch(server)


def _workers(server: Listening) -> dict[str, float]:
    """Give the memory of each process that the server has started; there is one of each sort on a server at rest."""
    found: dict[str, float] = {}
    for child in server.children():
        command = child.command()
        if "windlass.worker" not in command:
            found["guardian"] = child.rss_mib()
        elif "benched:app" in command:
            found["worker"] = child.rss_mib()
        else:
            name = "builtin_worker" if "builtin_worker" not in found else "builtin_solo_worker"
            found[name] = child.rss_mib()
    if "worker" not in found:
        raise BenchError(f"the server has no worker for the app: {[child.command() for child in server.children()]}")
    return found


def _touch(server: Listening) -> float:
    """Use a server in every ordinary way, then read its memory."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for _ in range(_TOUCHES):
            for method, path, body in (
                ("POST", SUBMIT_PATH, RUN_LATER),
                ("POST", SUBMIT_PATH, RUN_NOW),
                ("GET", SUBMIT_PATH, None),
            ):
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
                answer = connection.getresponse()
                answer.read()
                if answer.status >= 300:
                    raise BenchError(f"{method} {path} was answered {answer.status}")
    return server.rss_mib()
