"""Where settings become objects and objects meet: the only place that knows every room of the server. No logic."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from windlass import __version__
from windlass.config.schema import Settings
from windlass.contracts.store import Store
from windlass.engine.access import KeyRing
from windlass.engine.clock import SystemClock, SystemIds
from windlass.engine.engine import Engine, EngineParts
from windlass.errors import ConfigError
from windlass.http.app import build_app
from windlass.http.server import HttpServer
from windlass.link.census import boot_id
from windlass.link.workers import LocalWorkers
from windlass.store.lock import DirectoryLock
from windlass.store.open import open_store


class Assembled(msgspec.Struct, frozen=True):
    """A server put together, not yet started. `http`: unless it serves none; `lock`: where its store takes none."""

    store: Store
    engine: Engine
    access: KeyRing
    http: HttpServer | None
    lock: DirectoryLock | None

    async def close(self) -> None:
        """Let go of the store and of the data directory. Idempotent."""
        await self.access.close()
        await _close(self.store, self.lock)


async def assemble(settings: Settings) -> Assembled:
    """Open the store and put the server together around it.

    Raises:
        StoreError, ConfigError: the store cannot be opened; nothing is left open.
    """
    clock, ids = SystemClock(), SystemIds()
    data = data_directory(settings)
    files = settings.files_directory.absolute()
    if settings.files is not None:
        _make(files, "files", "WINDLASS_FILES")
    lock = None if settings.database in ("sqlite", "memory") else DirectoryLock(data)
    try:
        store = await open_store(settings.database, data=data, ids=ids, postgres=settings.postgres)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    server = ids.server_id()
    workers = LocalWorkers(settings, registry=store.registry, server=server)
    access = KeyRing(store.keys, clock, is_off=settings.auth == "off")
    parts = EngineParts(store, workers, clock, ids, server, str(files), home=home_of(data), on_news=access.refresh)
    engine = Engine(settings, parts, version=__version__)
    try:
        await access.load()
    except BaseException:
        await _close(store, lock)
        raise
    http = _build_http(settings, engine, access, clock) if settings.with_http else None
    return Assembled(store, engine, access, http, lock)


def _build_http(settings: Settings, engine: Engine, access: KeyRing, clock: SystemClock) -> HttpServer:
    app = build_app(
        engine,
        access,
        clock=clock,
        body_bytes=settings.body_bytes,
        hosts=[settings.host, *settings.hosts],
        dialects=settings.dialects,
        cors_origins=settings.cors_origins,
    )
    return HttpServer(app, connections=settings.connections, connections_per_address=settings.connections_per_address)


async def _close(store: Store, lock: DirectoryLock | None) -> None:
    try:
        await store.close()
    finally:
        if lock is not None:
            lock.release()


@asynccontextmanager
async def open_keys(settings: Settings) -> AsyncGenerator[KeyRing]:
    """Open the keys of a store that no server has open, or that several may.

    Raises:
        StoreError, ConfigError: the store cannot be opened, or a server has it for itself.
    """
    data = data_directory(settings)
    store = await open_store(settings.database, data=data, ids=SystemIds(), postgres=settings.postgres)
    try:
        ring = KeyRing(store.keys, SystemClock())
        await ring.load()
        yield ring
    finally:
        await store.close()


def data_directory(settings: Settings) -> Path:
    """Give the directory of the store and of result files, made if need be."""
    data = Path(settings.data).absolute()
    _make(data, "data", "--data")
    return data


def home_of(data: Path) -> str:
    """Name the directory `data` as nobody else names another one: by this boot of the machine, and by its inode; empty
    where the boot has no name.

    Two containers may both call theirs `/data`, and two machines made from one image may share all but their boots.
    Whoever holds its lock knows that every other server of that home is gone.
    """
    boot, found = boot_id(), data.stat()
    return f"{boot}:{found.st_dev}:{found.st_ino}:{data}" if boot else ""


def _make(directory: Path, setting: str, choice: str) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{setting}: {directory} cannot be made a directory: {error.strerror}; name another with {choice}"
        ) from None
