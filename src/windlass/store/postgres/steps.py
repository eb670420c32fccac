"""Bringing a database's schema up to date without opening the store: what `windlass db migrate` does.

A starting server does so by itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from windlass.config.schema import Postgres
from windlass.store.migrate import Migration
from windlass.store.postgres import schema
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.driver import Session
from windlass.store.postgres.failures import OF_DRIVER, translated
from windlass.store.postgres.transactions import limits_of


async def lacking(url: str, settings: Postgres) -> Sequence[Migration]:
    """Name the steps that the database at `url` lacks; changes nothing.

    Raises:
        ConfigError, StoreUnavailable: it must not be used, or cannot be reached.
        SchemaMismatch: a newer version of windlass wrote it.
        StoreError: it cannot be read.
    """
    async with _session(url, settings) as session:
        return await schema.lacking(session)


async def migrate(url: str, settings: Postgres) -> Sequence[Migration]:
    """Take the steps that the database at `url` lacks, and name them.

    Raises:
        ConfigError, StoreUnavailable, SchemaMismatch, StoreError: as for `lacking`.
    """
    async with _session(url, settings) as session:
        return await schema.upgrade(session, limits_of(settings))


@asynccontextmanager
async def _session(url: str, settings: Postgres) -> AsyncGenerator[Session, None]:
    session = await Connector(url, settings).open(within_s=settings.connect_s)
    try:
        yield session
    except OF_DRIVER as error:
        session.terminate()
        raise translated(error) from error
    finally:
        await session.close()
