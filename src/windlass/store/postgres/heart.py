"""The beat: on a connection, in a loop and on a thread of its own, so that it waits for nothing else the server does.

Knows which statement renews a lease, and nothing of what runs under it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Final

from windlass.config.schema import Postgres
from windlass.core.ids import ServerId
from windlass.errors import StoreUnavailable
from windlass.store.postgres import leases as sql
from windlass.store.postgres.connections import Connector, jittered
from windlass.store.postgres.driver import Session
from windlass.store.postgres.failures import Remedy, in_words, meaning_of, translated
from windlass.store.postgres.sessions import KeptSession, Patience
from windlass.store.postgres.transactions import limits_of, transaction

_PAUSE_S: Final = 0.05


class Heart:
    """The connection that beats. Its thread begins with the first beat and ends with `close`."""

    def __init__(self, connector: Connector, settings: Postgres) -> None:
        self._limits = limits_of(settings)
        self._kept = KeptSession(connector, settings, name="beat")
        self._turn = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._starting = threading.Lock()

    async def beat(self, server: ServerId, *, within_s: float) -> bool:
        """Renew the lease of `server`; false when it has ended. The connection is made, or made again, where needed.

        Raises:
            StoreUnavailable: it is not known whether the lease was renewed; beat again.
            StoreError: it cannot be renewed.

        Concurrency: from any event loop. A caller that leaves stops it.
        """
        return await asyncio.wrap_future(self._begin(server, within_s))

    async def close(self) -> None:
        """Beat no more. Idempotent."""
        with self._starting:
            self._is_closed = True
            loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._let_go(), loop))
            loop.call_soon_threadsafe(loop.stop)
            await asyncio.to_thread(self._thread.join)

    def _begin(self, server: ServerId, within_s: float) -> Future[bool]:
        with self._starting:
            if self._is_closed:
                raise StoreUnavailable("the store is closed: nothing beats any more")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_turn, args=(self._loop,), name="windlass-beat", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(self._beat(server, within_s), self._loop)

    async def _let_go(self) -> None:
        async with self._turn:
            await self._kept.close()

    async def _beat(self, server: ServerId, within_s: float) -> bool:
        patience = Patience(within_s)
        try:
            async with asyncio.timeout(within_s), self._turn:
                while True:
                    session = await self._kept.get(patience)
                    try:
                        return await self._renew(session, server)
                    except Exception as error:
                        meaning = meaning_of(error)
                        if meaning is None:
                            raise
                        if meaning.remedy is Remedy.NONE:
                            raise translated(error) from error
                    # Renewing twice does no harm: that the answer to a commit may be what was lost, does not matter.
                    await asyncio.sleep(jittered(_PAUSE_S))
        except TimeoutError:
            raise StoreUnavailable(f"PostgreSQL: no beat got through in {within_s:g} s") from None

    async def _renew(self, session: Session, server: ServerId) -> bool:
        try:
            async with transaction(session, self._limits):
                return await session.execute(sql.BEAT, server) == "UPDATE 1"
        except BaseException as error:
            meaning = meaning_of(error)
            if meaning is None or meaning.remedy is Remedy.RECONNECT or session.is_in_transaction():
                self._kept.lose(in_words(error))
            raise


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop turn until it is stopped."""
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(asyncio.sleep(0))  # the last connection is let go of in the round after its end
    finally:
        loop.close()
