"""Databases to test on: one PostgreSQL for the whole session, however many processes it has, and fresh databases in it.

The first process that wants it starts it. It ends with the session, even one that is killed, and is forgotten with its
directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from postgres_server import PostgresServer, need_postgres, new_server

_TEMPLATE = "windlass_template"
_FIRST_START = """
import asyncio, pathlib, sys
from windlass.engine.clock import SystemIds
from windlass.store.open import open_store

async def start():
    await (await open_store(sys.argv[1], data=pathlib.Path(), ids=SystemIds())).close()

asyncio.run(start())
"""
_serial = itertools.count(1)


@functools.cache
def shared_postgres() -> PostgresServer:
    """Give the session's PostgreSQL, started. Nobody may stop it."""
    need_postgres()
    with _locked("cluster") as root:
        directory, port = root / "cluster", root / "port"
        if port.exists():
            return PostgresServer(directory, port=int(port.read_text()), uid=directory.stat().st_uid)
        server = new_server(directory)
        server.make()
        server.start(owner=_owner(), remove=root)
        port.write_text(str(server.port))
        return server


@functools.cache
def _template() -> str:
    """Give the name of the database that fresh ones are copied from."""
    server = shared_postgres()
    with _locked("template") as root:
        if not (root / "template").exists():
            _make_template(server, root)
            (root / "template").touch()
    return _TEMPLATE


@contextlib.contextmanager
def database(name: str = "test", *, empty: bool = False) -> Iterator[str]:
    """Give the url of a fresh database that has our schema (unless it is to be `empty`), and drop it afterwards."""
    server = shared_postgres()
    unique = f"{re.sub(r'[^a-z0-9]+', '_', name.lower())[:30]}_{os.getpid()}_{next(_serial)}"
    server.ask(f"CREATE DATABASE {unique} TEMPLATE {'template0' if empty else _template()}")
    try:
        yield server.url(unique)
    finally:
        server.ask(f"DROP DATABASE {unique} WITH (FORCE)")


def database_name(url: str) -> str:
    """Give the name of the database at `url`, to be asked by `PostgresServer.ask`."""
    return url.partition("?")[0].rpartition("/")[2]


def _make_template(server: PostgresServer, root: Path) -> None:
    """Open an empty database for the first time, as a server does, to copy what comes of it from then on."""
    server.ask(f"DROP DATABASE IF EXISTS {_TEMPLATE}")
    server.ask(f"CREATE DATABASE {_TEMPLATE}")
    command = [sys.executable, "-c", _FIRST_START, server.url(_TEMPLATE)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def _locked(name: str) -> Iterator[Path]:
    """Give the directory of this session, held against its other processes."""
    owner = _owner()
    began = Path(f"/proc/{owner}/stat").read_text().rpartition(")")[2].split()[19]
    root = Path(tempfile.gettempdir(), f"windlass-pg-{os.geteuid()}-{owner}-{began}")
    root.mkdir(exist_ok=True)
    root.chmod(0o711)  # to be passed through by PostgreSQL's user
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root


def _owner() -> int:
    """Name the process that is the session: the one that started us, if we only do a part of its tests."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
