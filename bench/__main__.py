"""`make bench`: what a turn of the SQLite store costs, beside raw inserts of the same library on the same disk."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import apsw

from windlass.contracts.tasks import Settle, Submit, Turn, Wanted
from windlass.core.decide import decide
from windlass.core.outcome import Succeeded
from windlass.core.task import NewTask
from windlass.engine.clock import SystemIds
from windlass.store.open import open_store

GROUP = 100


def main() -> None:
    """Measure, print a table, and JSON for machines on request."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    limits, lives = [], []
    for _ in range(arguments.rounds):  # in turns, so that a noisy moment falls on both
        with tempfile.TemporaryDirectory() as directory:
            limits.append(raw_inserts(Path(directory), arguments.tasks))
        with tempfile.TemporaryDirectory() as directory:
            lives.append(asyncio.run(task_lives(Path(directory), arguments.tasks)))
    limit, life = statistics.median(limits), statistics.median(lives)
    figures = {"raw_inserts_per_s": limit, "task_lives_per_s": life, "ratio": life / limit}
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"raw apsw inserts, groups of {GROUP}, synchronous=FULL   {limit:>10,.0f} rows/s")
    print(f"task lives in turns of {GROUP} (submit, claim, settle)    {life:>10,.0f} tasks/s")
    print(f"ratio                                            {life / limit:>14.3f}")


def raw_inserts(directory: Path, rows: int) -> float:
    """Insert rows of the size of a small task in groups, one commit each; rows a second."""
    connection = apsw.Connection(str(directory / "raw.db"))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.execute("CREATE TABLE raw (number INTEGER PRIMARY KEY, kind TEXT, payload BLOB, at INTEGER)")
    began_at = time.perf_counter()
    for _ in range(rows // GROUP):
        with connection:
            connection.executemany(
                "INSERT INTO raw (kind, payload, at) VALUES (?, ?, ?)", [("hello", b'{"n":1}', 1)] * GROUP
            )
    took_s = time.perf_counter() - began_at
    connection.close()
    return rows / took_s


async def task_lives(directory: Path, count: int) -> float:
    """Take tasks through submit, claim and settlement in fused turns; tasks a second, to the last durable one."""
    ids = SystemIds()
    store = await open_store("sqlite", data=directory, ids=ids)
    wanted = Wanted(slots={"app/shared": GROUP}, pools={"hello": ("app/shared", "app/solo")})
    left, settled = count, 0
    settles: list[Settle] = []
    began_at = time.perf_counter()
    while settled < count:
        now = datetime.now(UTC)
        submits = [_submit(ids, now) for _ in range(min(GROUP, left))]
        left -= len(submits)
        turn = await store.tasks.turn([*settles, *submits], wanted, now=now)
        settled += len(settles)
        settles = _settle_all(turn)
    took_s = time.perf_counter() - began_at
    await store.close()
    return count / took_s


def _submit(ids: SystemIds, now: datetime) -> Submit:
    return Submit(
        NewTask(id=ids.task_id(), kind="hello", queue="default", payload=b'{"n":1}', created_at=now, run_at=now)
    )


def _settle_all(turn: Turn) -> list[Settle]:
    settles: list[Settle] = []
    for claimed in turn.claimed:
        task = claimed.task
        assert task.token is not None
        settlement = decide(task, Succeeded(b"null"), now=datetime.now(UTC), roll=0.5)
        settles.append(Settle(task.number, task.token, settlement, 0.001))
    return settles


if __name__ == "__main__":
    main()
