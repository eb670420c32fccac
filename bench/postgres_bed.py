"""Benches on PostgreSQL: a cluster of our own for a whole run, as safe as a real one, with a database for each store.

The limit is what asyncpg and that cluster do with whole lives of rows: it knows nothing of windlass.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg

from bench.beds import Ledger, Place
from bench.limits import GROUP, raw_rows
from bench.processes import ROOT, Running

sys.path.append(str(ROOT / "tests" / "support"))
from postgres_server import PostgresServer, postgres_of_its_own

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_WARM_GROUPS = 5
_MAKE: Final = """
CREATE TABLE raw (number bigserial PRIMARY KEY, id uuid NOT NULL UNIQUE, queue text NOT NULL, kind text NOT NULL,
    state smallint NOT NULL, priority integer NOT NULL, run_at double precision NOT NULL,
    created_at double precision NOT NULL, attempt integer NOT NULL DEFAULT 0, payload bytea, result bytea,
    finished_at double precision);
CREATE INDEX raw_ready ON raw (queue, priority, run_at) WHERE state = 0"""
_INSERT: Final = """
INSERT INTO raw (id, queue, kind, state, priority, run_at, created_at, payload)
SELECT id, 'default', 'thumbnail', 0, 0, run_at, created_at, payload
FROM unnest($1::uuid[], $2::float8[], $3::float8[], $4::bytea[]) AS one (id, run_at, created_at, payload)"""
_CLAIM: Final = """
UPDATE raw SET state = 1, attempt = attempt + 1
WHERE number IN (
    SELECT number FROM raw WHERE state = 0 AND queue = 'default'
    ORDER BY priority, run_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING number, payload"""
_COMPLETE: Final = """
UPDATE raw SET state = 2, result = one.result, finished_at = $3
FROM unnest($1::bigint[], $2::bytea[]) AS one (number, result)
WHERE raw.number = one.number AND raw.state = 1"""


class PostgresBed:
    """Each store a database of one cluster, which syncs every commit."""

    name = "postgres"
    limit = "raw_lives"

    def __init__(self, directory: Path, server: PostgresServer) -> None:
        self.directory = server.directory
        self.versions = {
            "postgresql": server.ask("SHOW server_version").split()[0],
            "asyncpg": asyncpg.__version__,
        }
        self._directory = directory
        self._server = server
        self._names = (f"bench_{serial}" for serial in itertools.count(1))

    @contextlib.contextmanager
    def place(self) -> Generator[Place]:
        """Make a database, and a directory beside it for what a server keeps in files."""
        with tempfile.TemporaryDirectory(dir=self._directory) as directory, self._database() as url:
            yield Place(Path(directory), url)

    @contextlib.contextmanager
    def ledger(self, place: Place) -> Generator[Ledger]:
        """Connect to the database."""
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(place.database))
            try:
                yield _PostgresLedger(runner, connection)
            finally:
                runner.run(connection.close())

    def limit_per_s(self, rows: int) -> float:
        """Take rows of the size of a small task through their lives: see `_lives_per_s`."""
        with self._database() as url:
            return asyncio.run(_lives_per_s(url, rows))

    def cpu_s(self) -> Mapping[str, float]:
        """Read what all processes of the cluster have used so far, those included that have ended."""
        postmaster = Running(self._server.pid)
        fields = Path(f"/proc/{postmaster.pid}/stat").read_text().rpartition(")")[2].split()
        gone_s = (int(fields[13]) + int(fields[14])) / _TICKS_PER_S
        used_s = postmaster.cpu_s()
        for backend in postmaster.children():
            with contextlib.suppress(OSError):  # it has ended since: the postmaster's figure knows of it next time
                used_s += backend.cpu_s()
        return {"database": gone_s + used_s}

    @contextlib.contextmanager
    def _database(self) -> Generator[str]:
        name = next(self._names)
        self._server.ask(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self._server.url(name)
        finally:
            self._server.ask(f"DROP DATABASE {name} WITH (FORCE)")


@contextlib.contextmanager
def postgres_bed(directory: Path) -> Generator[PostgresBed]:
    """Run a cluster until the block is left; a bench that is killed takes it along."""
    with postgres_of_its_own() as server:
        yield PostgresBed(directory, server)


class _PostgresLedger:
    def __init__(self, runner: asyncio.Runner, connection: Any) -> None:
        self._runner = runner
        self._connection = connection

    def is_drained(self) -> bool:
        return not self._read(
            "SELECT EXISTS (SELECT FROM windlass.tasks WHERE state = 'running')"
            " OR EXISTS (SELECT FROM windlass.tasks WHERE ready)"
            " OR EXISTS (SELECT FROM windlass.tasks WHERE state = 'queued' AND NOT ready AND NOT held)"
        )

    def succeeded(self) -> int:
        return self._read("SELECT count(*) FROM windlass.ended WHERE state = 'succeeded'")

    def first_started_at(self) -> float:
        return self._read("SELECT extract(epoch FROM min(started_at))::float8 FROM windlass.ended")

    def first_created_at(self) -> float:
        return self._read("SELECT extract(epoch FROM created_at)::float8 FROM windlass.specs ORDER BY number LIMIT 1")

    def _read(self, statement: str) -> Any:
        return self._runner.run(self._connection.fetchval(statement))


async def _lives_per_s(url: str, rows: int) -> float:
    """Insert, claim and complete rows in groups of `GROUP`, each step a statement over arrays and a commit, one after
    the other on one connection; making the rows is included.
    """
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_MAKE)
        for first in range(0, _WARM_GROUPS * GROUP, GROUP):
            await _live(connection, first)
        began_at = time.perf_counter()
        for first in range(0, rows, GROUP):
            await _live(connection, first)
        return rows / (time.perf_counter() - began_at)
    finally:
        await connection.close()


async def _live(connection: Any, first: int) -> None:
    ids, runs_at, created_at, payloads = zip(*raw_rows(first), strict=True)
    await connection.execute(_INSERT, [UUID(bytes=each) for each in ids], runs_at, created_at, payloads)
    claimed = await connection.fetch(_CLAIM, GROUP)
    numbers = [number for number, _ in claimed]
    completed = await connection.execute(_COMPLETE, numbers, [b"null"] * len(numbers), time.time())
    assert completed == f"UPDATE {GROUP}", completed
