"""Where settings become objects and objects meet: the only place that knows every room of the server. No logic."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from windlass import __version__
from windlass.config.schema import FILES, Settings
from windlass.contracts.store import Store
from windlass.engine.access import KeyRing
from windlass.engine.clock import SystemClock, SystemIds
from windlass.engine.engine import Engine, EngineParts
from windlass.errors import ConfigError
from windlass.http.app import build_app
from windlass.http.server import HttpServer
from windlass.link.workers import LocalWorkers
from windlass.store.open import open_store


class Assembled(msgspec.Struct, frozen=True):
    """A server put together, not yet started."""

    store: Store
    engine: Engine
    access: KeyRing
    http: HttpServer


async def assemble(settings: Settings) -> Assembled:
    """Open the store and put the server together around it.

    Raises:
        StoreError, ConfigError: the store cannot be opened; nothing is left open.
    """
    clock, ids = SystemClock(), SystemIds()
    data = data_directory(settings)
    store = await open_store(settings.database, data=data, ids=ids)
    server = ids.server_id()
    workers = LocalWorkers(settings, registry=store.registry, server=server)
    parts = EngineParts(store, workers, clock, ids, server, str(data / FILES))
    engine = Engine(settings, parts, version=__version__)
    access = KeyRing(store.keys, clock, is_off=settings.auth == "off")
    try:
        await access.load()
    except BaseException:
        await store.close()
        raise
    hosts = [settings.host, *settings.hosts]
    app = build_app(
        engine,
        access,
        clock=clock,
        body_bytes=settings.body_bytes,
        hosts=hosts,
        dialects=settings.dialects,
        cors_origins=settings.cors_origins,
    )
    http = HttpServer(app, connections=settings.connections, connections_per_address=settings.connections_per_address)
    return Assembled(store, engine, access, http)


@asynccontextmanager
async def open_keys(settings: Settings) -> AsyncGenerator[KeyRing]:
    """Open the keys of a store that no server has open.

    Raises:
        StoreError, ConfigError: the store cannot be opened, or a server has it.
    """
    store = await open_store(settings.database, data=data_directory(settings), ids=SystemIds())
    try:
        ring = KeyRing(store.keys, SystemClock())
        await ring.load()
        yield ring
    finally:
        await store.close()


def data_directory(settings: Settings) -> Path:
    """Give the directory of the store and of result files, made if need be."""
    data = Path(settings.data).absolute()
    try:
        data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"data: {data} cannot be made a directory: {error.strerror}; name another with --data"
        ) from None
    return data
