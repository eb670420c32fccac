"""Sessions that are kept: made when they are first asked for, made again when they are lost.

Knows no table of ours, and runs no transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from windlass.config.schema import Postgres
from windlass.errors import ConfigError, StoreError, StoreUnavailable
from windlass.store.postgres.connections import Connector, jittered
from windlass.store.postgres.driver import Notice, Session
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_FIRST_DELAY_S: Final = 0.1
_MAX_DELAY_S: Final = 2.0
_GOODBYE_S: Final = 1.0


class Patience:
    """How long a caller waits for the database, on the monotonic clock, from when it is made."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """How much is left; 0 when it is at its end."""
        return max(0.0, self._until - time.monotonic())

    async def take(self, turnstile: asyncio.Semaphore) -> None:
        """Get through a turnstile.

        Raises:
            StoreUnavailable: others have held it for too long.
        """
        if not turnstile.locked():
            await turnstile.acquire()
            return
        try:
            async with asyncio.timeout(self.left_s):
                await turnstile.acquire()
        except TimeoutError:
            raise StoreUnavailable("PostgreSQL: too many wait for it already") from None


class KeptSession:
    """One session, of one user at a time; `warn` is told of the server's warnings."""

    def __init__(
        self,
        connector: Connector,
        settings: Postgres,
        *,
        name: str,
        is_reader: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._warn = warn
        self._connector = connector
        self._settings = settings
        self._name = name
        self._is_reader = is_reader
        self._session: Session | None = None
        self._lost: str | None = None
        self._delay_s = _FIRST_DELAY_S

    async def get(self, patience: Patience) -> Session:
        """Give the session, opening it anew where it was lost, as often as patience allows, but once at least.

        Raises:
            StoreUnavailable: no host would have it.
            StoreError: a host would, but must not be used.
        """
        session = self._session
        if session is not None and not session.is_closed():
            return session
        while True:
            try:
                session = await self._open(patience)
            except ConfigError as error:
                raise StoreError(error.detail) from None
            except StoreUnavailable as error:
                self._note_loss(error.detail)
                delay_s, self._delay_s = jittered(self._delay_s), min(2 * self._delay_s, _MAX_DELAY_S)
                if delay_s >= patience.left_s:
                    raise StoreUnavailable("PostgreSQL: it cannot be reached; the log says why") from error
                await asyncio.sleep(delay_s)
            else:
                self._session = session
                self._delay_s = _FIRST_DELAY_S
                self._note_return()
                return session

    async def open_first(self) -> Session:
        """Open the session for the first time, as often as `postgres.start_s` allows, and say why it takes long.

        Raises:
            ConfigError: the database must not be used.
            StoreUnavailable: it could not be reached in that time.
        """
        patience = Patience(self._settings.start_s)
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                self._session = await self._open(Patience(self._settings.connect_s))
                return self._session
            except StoreUnavailable as error:
                delay_s = min(2 * delay_s, _MAX_DELAY_S)
                if delay_s >= patience.left_s:
                    raise
                _log.warning(words.STORE_AWAITED, error=error.detail, seconds_left=round(patience.left_s, 1))
                await asyncio.sleep(jittered(delay_s))

    def lose(self, why: str) -> None:
        """Let go of the session at once, whatever runs on it."""
        session, self._session = self._session, None
        if session is not None:
            session.terminate()
            self._note_loss(why)

    async def close(self) -> None:
        """Say goodbye. Idempotent."""
        session, self._session = self._session, None
        if session is None:
            return
        try:
            await session.close(timeout=_GOODBYE_S)
        except (OSError, TimeoutError):
            session.terminate()
        except Exception:
            session.terminate()
            raise

    async def _open(self, patience: Patience) -> Session:
        within_s = min(self._settings.connect_s, max(patience.left_s, _FIRST_DELAY_S))
        session = await self._connector.open(within_s=within_s, is_reader=self._is_reader)
        if self._warn is not None:
            session.add_log_listener(self._take_notice)
        return session

    def _take_notice(self, _session: Any, notice: Notice) -> None:
        """Pass warnings on, before the answer that they came with."""
        if self._warn is not None and notice.severity_en == "WARNING":
            self._warn(notice.message or "")

    def _note_loss(self, why: str) -> None:
        if self._lost is None:
            _log.warning(words.STORE_LOST, connection=self._name, place=self._connector.place, error=why)
        self._lost = why

    def _note_return(self) -> None:
        if self._lost is not None:
            _log.info(words.STORE_REGAINED, connection=self._name, place=self._connector.place)
        self._lost = None


class SessionPool:
    """A few sessions for reading, each of one reader at a time; the one that was used last goes first."""

    def __init__(self, connector: Connector, settings: Postgres) -> None:
        count = settings.connections
        self._all = [KeptSession(connector, settings, name="reader", is_reader=True) for _ in range(count)]
        self._idle = list(self._all)
        self._turnstile = asyncio.Semaphore(count)

    @asynccontextmanager
    async def lent(self, patience: Patience) -> AsyncGenerator[KeptSession, None]:
        """Lend one of them.

        Raises:
            StoreUnavailable: others have held them all for too long.
        """
        await patience.take(self._turnstile)
        kept = self._idle.pop()
        try:
            yield kept
        finally:
            self._idle.append(kept)
            self._turnstile.release()

    async def close(self) -> None:
        """Close them all. Idempotent."""
        for kept in self._all:
            with suppress(StoreError):
                await kept.close()
