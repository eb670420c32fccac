"""The database as somebody reads it who serves nothing: at one moment, beside the servers that share it.

Takes no lock that a server waits for, and writes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TypeVar
from uuid import uuid4

from msgspec.structs import replace

from windlass.config.schema import Postgres
from windlass.contracts.store import StoreFacts
from windlass.contracts.tasks import Turn, Wanted, Write
from windlass.core.ids import ServerId
from windlass.errors import NotFoundError, SchemaMismatch, StoreUnavailable
from windlass.store.postgres import read_statements as sql
from windlass.store.postgres import schema
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.database import Job
from windlass.store.postgres.driver import Session
from windlass.store.postgres.events import Endless, PostgresEvents
from windlass.store.postgres.failures import OF_DRIVER, translated
from windlass.store.postgres.fault_statements import FAULTS
from windlass.store.postgres.heart import Heart
from windlass.store.postgres.reads import TaskReads
from windlass.store.postgres.registry import PostgresRegistry
from windlass.store.postgres.transactions import BEGIN_READ, limits_of
from windlass.store.postgres.wakes import PostgresWakes

T = TypeVar("T")

_STATEMENT_S: Final = 3_600.0
"""LIMIT: whoever looks over a whole table waits for longer than a server does."""
_FAULTS_TOLD: Final = 100
_GOODBYE_S: Final = 1.0


class View:
    """One session that only reads, used by one caller at a time."""

    server: ServerId | None = None

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, job: Job[T], *, is_one_moment: bool = False) -> T:
        """Run `job`, at the moment of the snapshot."""
        del is_one_moment
        with _border():
            return await job(self._session)

    async def write(self, job: Job[T]) -> T:
        """Refuse."""
        del job
        raise _refusal()


class SnapshotTasks(TaskReads):
    """The Tasks port, which refuses to write."""

    async def turn(self, writes: Sequence[Write], wanted: Wanted, *, now: datetime) -> Turn:
        """Refuse."""
        del writes, wanted, now
        raise _refusal()


class SnapshotRegistry(PostgresRegistry):
    """The Registry port, which refuses to write, and to beat."""

    async def beat(self, server: ServerId, *, now: datetime) -> bool:
        """Refuse."""
        del server, now
        raise _refusal()


class PostgresSnapshot:
    """The ports of a store at one moment of its database; `refresh` moves on to the present one."""

    def __init__(self, session: Session, connector: Connector, settings: Postgres) -> None:
        view = View(session)
        wakes = PostgresWakes(connector, settings, uuid4())
        self.tasks = SnapshotTasks(view)
        self.events = PostgresEvents(view, Endless())
        self.registry = SnapshotRegistry(view, Heart(connector, settings), wakes, settings)
        self._session = session
        self._place = connector.place
        self._begin = BEGIN_READ + limits_of(settings) + sql.KEEP_DAYS

    async def refresh(self) -> None:
        """See the database as it stands now."""
        with _border():
            if self._session.is_in_transaction():
                await self._session.execute("ROLLBACK")
            await self._session.execute(self._begin)
            await self._session.fetchval(sql.MOMENT)  # the moment is that of the first read

    async def facts(self) -> StoreFacts:
        """Say what the store is made of."""
        with _border():
            version = await schema.version_of(self._session)
            row = await self._session.fetchrow(sql.FACTS)
        assert row is not None
        size_bytes, library, oldest_ended_at = row
        return StoreFacts(
            place=self._place,
            schema=version,
            library=f"PostgreSQL {library}",
            size_bytes=size_bytes,
            log_bytes=None,
            reserve_bytes=None,
            oldest_ended_at=oldest_ended_at,
        )

    async def faults(self) -> AsyncIterator[str]:
        """Look for rows that contradict each other or refer to nothing; give the first hundred.

        Whether the files are sound PostgreSQL alone can tell: by its checksums, pg_amcheck and its log.
        """
        left = _FAULTS_TOLD
        for statement, detail in FAULTS:
            with _border():
                found = await self._session.fetch(statement, left)
            for (number,) in found:
                yield detail.format(number)
            left -= len(found)

    async def close(self) -> None:
        """Let go of the session. Idempotent."""
        try:
            await self._session.close(timeout=_GOODBYE_S)
        except OF_DRIVER:
            self._session.terminate()


async def open_postgres_snapshot(url: str, *, settings: Postgres) -> PostgresSnapshot:
    """Open the store in the database at `url` for reading, as it stands now.

    Raises:
        ConfigError: the url or the database cannot be used.
        NotFoundError: there is no store in it.
        SchemaMismatch: another version of windlass wrote it.
        StoreError: it cannot be reached or read.
    """
    patient = replace(settings, statement_s=_STATEMENT_S)
    connector = Connector(url, patient)
    session = await connector.open(within_s=settings.connect_s, is_reader=True)
    try:
        with _border():
            await _check_schema(session, connector.place)
        snapshot = PostgresSnapshot(session, connector, patient)
        await snapshot.refresh()
    except BaseException:
        session.terminate()
        raise
    return snapshot


async def _check_schema(session: Session, place: str) -> None:
    lacking = await schema.lacking(session)
    if lacking and not await schema.version_of(session):
        raise NotFoundError(f"there is no store in {place}: name the database of a server")
    if lacking:
        raise SchemaMismatch(
            f"{place} lacks steps of its schema, from {lacking[0].version} ({lacking[0].name}) on: take them with "
            "`windlass db migrate`, or by starting a server"
        )


@contextmanager
def _border() -> Generator[None]:
    """Make our errors of the driver's."""
    try:
        yield
    except OF_DRIVER as error:
        ours = translated(error)
        assert ours is not None
        raise ours from error


def _refusal() -> StoreUnavailable:
    return StoreUnavailable("a snapshot cannot be written to: open the store itself")
