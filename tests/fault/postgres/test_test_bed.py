"""What the other tests stand on: one PostgreSQL for a session, which leaves nothing behind however that ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
from live import is_alive, until
from postgres import database, database_name, shared_postgres
from postgres_server import postgres_of_its_own

_SUPPORT = str(Path(__file__).parents[2] / "support")
_SESSION = """
from postgres import shared_postgres
server = shared_postgres()
print(server.pid, server.directory, flush=True)
input()
"""


def _session(**environ: str) -> subprocess.Popen[str]:
    """Start a process that wants the PostgreSQL of its session."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.Popen(
        [sys.executable, "-c", _SESSION],
        env={**alone, "PYTHONPATH": _SUPPORT, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _told(session: subprocess.Popen[str]) -> tuple[int, Path]:
    assert session.stdout is not None
    pid, directory = session.stdout.readline().split()
    return int(pid), Path(directory)


def test_a_killed_session_leaves_no_postgresql_and_no_file() -> None:
    shared_postgres()  # skips where there is none
    with _session() as session:
        pid, directory = _told(session)
        assert is_alive(pid)
        session.kill()
    until(lambda: not is_alive(pid) and not directory.parent.exists(), "it is gone")


def test_all_processes_of_a_session_share_one() -> None:
    shared_postgres()
    with _session(PYTEST_XDIST_WORKER="gw0") as one, _session(PYTEST_XDIST_WORKER="gw1") as other:
        assert _told(one) == _told(other)
        one.kill()
        other.kill()


def test_a_fresh_database_has_the_schema_and_no_row() -> None:
    with database("fresh") as url:
        name = database_name(url)
        assert shared_postgres().ask("SELECT count(*) FROM windlass.tasks", name) == "0"
    assert shared_postgres().ask(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == "0"


@pytest.mark.anyio
async def test_a_database_in_use_is_dropped_all_the_same() -> None:
    with database("used") as url:
        connection = await asyncpg.connect(url)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        async with asyncio.timeout(5):
            await connection.execute("SELECT 1")
    connection.terminate()


def test_what_was_committed_is_there_after_a_crash() -> None:
    with postgres_of_its_own() as server:
        server.ask("CREATE TABLE kept (value int)")
        server.ask("INSERT INTO kept VALUES (7)")
        server.restart("immediate")
        assert server.ask("SELECT value FROM kept") == "7"
        assert server.ask("SHOW fsync; SHOW synchronous_commit; SHOW full_page_writes") == "on\non\non"
