"""The transactions: one writer, a few readers, and what is done when one fails or its answer is lost.

Knows two tables, `turns` and the partitions of `ended`; what is in a transaction, its job knows.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date
from typing import Any, Final, Protocol, TypeVar

from windlass.config.schema import Postgres
from windlass.core.ids import ServerId
from windlass.errors import StoreError, StoreUnavailable, StoreUncertain
from windlass.store.postgres import schema
from windlass.store.postgres.connections import Connector, jittered
from windlass.store.postgres.driver import Connection, Session
from windlass.store.postgres.failures import OF_DRIVER, Remedy, in_words, meaning_of, sqlstate_of, translated
from windlass.store.postgres.partitions import make_day, missing_day
from windlass.store.postgres.sessions import KeptSession, Patience, SessionPool
from windlass.store.postgres.transactions import BEGIN_READ, BEGIN_WRITE, limits_of, roll_back
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()

T = TypeVar("T")
Job = Callable[[Connection], Awaitable[T]]

_PATIENCE: Final = 2.0
"""How many times `connect_s` a call waits, once something is wrong, before it is answered that the store is away."""
_TRIES: Final = 10
"""How often a transaction is run, at most."""
_PAUSE_S: Final = 0.02
_MAX_PAUSE_S: Final = 0.3
"""After contention, doubled each time."""

_NOTE_TURN: Final = """
-- Note under the writer's name which transaction this is.
INSERT INTO windlass.turns (writer, turn, at) VALUES ('{writer}', '{turn}', clock_timestamp())
ON CONFLICT (writer) DO UPDATE SET turn = excluded.turn, at = excluded.at;"""

_LAST_TURN: Final = """-- Which transaction of the writer was the last to be committed. Waits for one that is still
-- open, and being a write, for the standbys that have to confirm what was committed before it.
INSERT INTO windlass.turns AS last (writer, turn, at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (writer) DO UPDATE SET at = excluded.at RETURNING last.turn"""

_NOBODY: Final = uuid.UUID(int=0)


class DatabaseAccess(Protocol):
    """A way to the database, on which the ports stand."""

    server: ServerId | None
    """The lease this store claims under; None before a server has enrolled."""

    async def write(self, job: Job[T]) -> T:
        """Run `job` in a transaction on the connection that writes."""
        ...

    async def read(self, job: Job[T], *, is_one_moment: bool = False) -> T:
        """Run `job` on a connection that reads; all its statements see one moment where it needs that."""
        ...


class Database:
    """One writing session and a few reading ones to the database behind `connector`.

    Concurrency: of one event loop.
    """

    def __init__(self, connector: Connector, settings: Postgres) -> None:
        self.server: ServerId | None = None
        self.writer = uuid.uuid4()
        """The name of this open store: its row in `turns`, and who its notifications are from."""
        self._connector = connector
        self._settings = settings
        self._writer = KeptSession(connector, settings, name="writer", warn=self._heed)
        self._readers = SessionPool(connector, settings)
        self._turnstile = asyncio.Semaphore(1)
        self._met: Session | None = None
        self._undone: list[Callable[[], None]] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._is_closed = False
        self._is_warned = False
        self._limits = limits_of(settings)

    @property
    def place(self) -> str:
        """Where the database is, without what is secret of its url."""
        return self._connector.place

    @property
    def _patience(self) -> Patience:
        return Patience(_PATIENCE * self._settings.connect_s)

    def on_rollback(self, hook: Callable[[], None]) -> None:
        """Have `hook` called whenever a transaction of `write` was undone, or may have been: what was read or made in
        it is not to be relied on.
        """
        self._undone.append(hook)

    async def open(self) -> None:
        """Reach the database, waiting for it, and bring its schema up to date where needed.

        Raises:
            ConfigError: it must not be used.
            SchemaMismatch: another version of windlass wrote it. It was not touched.
            StoreError: it cannot be reached, or not used.
        """
        session = await self._writer.open_first()
        try:
            await schema.upgrade(session, self._limits)
        except OF_DRIVER as error:
            raise translated(error) from error

    async def write(self, job: Job[T], *, first: str = "") -> T:
        """Run `job` in a transaction that begins with the statements `first`, durable when this returns.

        `job` is run again, as a whole, after contention and after a connection that was lost before its COMMIT was
        sent; so it keeps nothing but what it returns, or what a hook of `on_rollback` forgets.

        Raises:
            StoreUnavailable, StoreFull: nothing happened.
            StoreUncertain: all of it happened, or nothing.
            StoreError: nothing more should be written.

        Concurrency: one at a time, in the order of the calls. A caller that leaves does not stop it.
        """
        return await self._shielded(self._write(job, first))

    async def read(self, job: Job[T], *, is_one_moment: bool = False) -> T:
        """Run `job`, which only reads; run again when its connection is lost.

        Without `is_one_moment` each of its statements may see another moment.

        Raises:
            StoreUnavailable: the database cannot be reached, or takes too long.
            StoreError: it cannot be read.
        """
        return await self._shielded(self._read(job, is_one_moment or self._settings.pooler))

    async def close(self) -> None:
        """Finish what is under way, and let go. Idempotent."""
        self._is_closed = True
        while self._running:
            await asyncio.wait(self._running)
        await self._readers.close()
        await self._writer.close()

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """SHIELD: a statement that is cancelled half-way would cost its connection; whoever leaves, it is finished."""
        if self._is_closed:
            work.close()
            raise StoreUnavailable("the store is closed: open it again")
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked may have left: then nobody else looks at it

    # writing ─────────────────────────────────────────────────────

    async def _write(self, job: Job[T], first: str) -> T:
        patience = self._patience
        await patience.take(self._turnstile)
        try:
            return await self._persist(job, first, patience)
        finally:
            self._turnstile.release()

    async def _persist(self, job: Job[T], first: str, patience: Patience) -> T:
        pause_s = _PAUSE_S
        for tries_left in reversed(range(_TRIES)):
            session = await self._writer.get(patience)
            self._meet(session)
            try:
                return await self._transact(session, job, first)
            except Exception as error:
                self._forget()
                if (day := missing_day(error)) is not None:
                    await self._make_day(day, patience)
                    continue
                meaning = meaning_of(error)
                if meaning is None:
                    raise
                if meaning.remedy is Remedy.NONE or not tries_left:
                    raise translated(error) from error
                if not patience.left_s:
                    raise StoreUnavailable(f"PostgreSQL: {in_words(error)}", sqlstate=sqlstate_of(error)) from error
                if meaning.remedy is Remedy.AGAIN:
                    await asyncio.sleep(jittered(pause_s))
                    pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        raise StoreUnavailable("PostgreSQL: the transaction did not get through")

    def _meet(self, session: Session) -> None:
        """Forget what was learnt through an earlier session: after a failover the new primary may never have had it."""
        if session is not self._met:
            self._met = session
            self._forget()

    def _forget(self) -> None:
        for forget in self._undone:
            forget()

    async def _make_day(self, day: date, patience: Patience) -> None:
        """Make a day's partition. What keeps it from being made now may be gone when the transaction lacks it again."""
        try:
            await make_day(await self._writer.get(patience), day, self._limits)
        except OF_DRIVER as error:
            meaning = meaning_of(error)
            if meaning is None or meaning.remedy is Remedy.NONE or not patience.left_s:
                raise translated(error) from error

    async def _transact(self, session: Session, job: Job[T], first: str) -> T:
        turn = uuid.uuid4()
        note = _NOTE_TURN.format(writer=self.writer, turn=turn)
        try:
            await session.execute(BEGIN_WRITE + self._limits + first + note)
            result = await job(session)
        except BaseException as error:
            await self._undo(self._writer, session, error)
            raise
        await self._commit(session, turn)
        return result

    async def _commit(self, session: Session, turn: uuid.UUID) -> None:
        """Commit, and do not take silence for an answer.

        Raises:
            StoreUncertain: the answer was lost, and could not be asked for.
        """
        self._is_warned = False
        try:
            tag = await session.execute("COMMIT")
        except BaseException as error:
            await self._undo(self._writer, session, error)
            meaning = meaning_of(error)
            if meaning is None or meaning.remedy is not Remedy.RECONNECT:
                raise  # it was refused: undone for certain
            if not await self._was_committed(turn):
                raise
            return
        if self._is_warned and not await self._was_committed(turn):
            raise StoreUncertain("PostgreSQL: it warned of a commit, and does not know it any more")
        if tag != "COMMIT":
            raise StoreError(
                "PostgreSQL: a transaction was undone instead of committed: a failure in it was passed over"
            )

    def _heed(self, warning: str) -> None:
        """Take in a warning. With a commit it says that the standbys which must confirm it have not: somebody has cut
        the wait for them short.
        """
        self._is_warned = True
        _log.warning(words.STORE_WARNED, warning=warning)

    async def _was_committed(self, turn: uuid.UUID) -> bool:
        """Ask what has become of a transaction whose answer was lost."""
        patience = self._patience
        while True:
            try:
                session = await self._writer.get(patience)
                return await self._ask_for(session, turn)
            except Exception as error:
                if not isinstance(error, StoreError) and meaning_of(error) is None:
                    raise
                ours = error if isinstance(error, StoreError) else translated(error)
                if not ours.retryable or not patience.left_s:
                    raise StoreUncertain(
                        f"PostgreSQL: it did not say whether it has committed what it was told to: {ours.detail}"
                    ) from error
                await asyncio.sleep(jittered(_PAUSE_S))

    async def _ask_for(self, session: Session, turn: uuid.UUID) -> bool:
        try:
            await session.execute(BEGIN_WRITE + self._limits)
            last = await session.fetchval(_LAST_TURN, self.writer, _NOBODY)
            self._is_warned = False
            await session.execute("COMMIT")
            if self._is_warned:
                raise StoreUncertain("PostgreSQL: the wait for its standbys was cut short")
        except BaseException as error:
            await self._undo(self._writer, session, error)
            raise
        return last == turn

    # reading ─────────────────────────────────────────────────────

    async def _read(self, job: Job[T], is_one_moment: bool) -> T:
        patience = self._patience
        async with self._readers.lent(patience) as kept:
            for tries_left in reversed(range(_TRIES)):
                session = await kept.get(patience)
                try:
                    return await self._look(kept, session, job, is_one_moment)
                except Exception as error:
                    meaning = meaning_of(error)
                    if meaning is None:
                        raise
                    if meaning.remedy is Remedy.NONE or not tries_left or not patience.left_s:
                        raise translated(error) from error
                    await asyncio.sleep(jittered(_PAUSE_S))
        raise StoreUnavailable("PostgreSQL: the question did not get through")

    async def _look(self, kept: KeptSession, session: Session, job: Job[T], is_one_moment: bool) -> T:
        try:
            if is_one_moment:
                await session.execute(BEGIN_READ + self._limits)
            found = await job(session)
            if is_one_moment:
                await session.execute("COMMIT")
        except BaseException as error:
            await self._undo(kept, session, error)
            raise
        return found

    async def _undo(self, kept: KeptSession, session: Session, error: BaseException) -> None:
        """Bring a session back to where it can be used, or let go of it."""
        meaning = meaning_of(error)
        is_lost = meaning is not None and meaning.remedy is Remedy.RECONNECT
        is_stopped = isinstance(error, asyncio.CancelledError)
        if is_lost or is_stopped or session.is_closed():
            kept.lose(in_words(error))
        elif session.is_in_transaction():
            failure = await roll_back(session)
            if failure is not None:
                kept.lose(in_words(failure))
