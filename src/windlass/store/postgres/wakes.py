"""The Wakes port on PostgreSQL: NOTIFY, gathered for a moment and sent behind the commit on a connection of its own.

Hints alone: what is lost here, every server finds by looking.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Any, Final
from uuid import UUID

import msgspec

from windlass.config.schema import Postgres
from windlass.contracts.wakes import Wake
from windlass.errors import StoreError
from windlass.store.postgres.connections import Connector
from windlass.store.postgres.failures import in_words, meaning_of
from windlass.store.postgres.sessions import KeptSession, Patience
from windlass.wire.codec import decode_json, encode_view

_CHANNEL: Final = "windlass"
_APART_S: Final = 0.02
"""How far two notifications of one store are apart, at least."""
_PAYLOAD_BYTES: Final = 7_900
"""LIMIT: PostgreSQL takes less than 8,000."""
_AGAIN_S: Final = 1.0
_GOODBYE_S: Final = 1.0

_EVERYTHING: Final = Wake(numbers=None, has_work=True, has_news=True)

_NOTIFY: Final = """-- Tell the others. A hint need not be on any disk, and waits for none.
SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"""


class _Notice(msgspec.Struct, omit_defaults=True):
    """A Wake as it goes over the channel. `writer`: whose it is."""

    writer: str
    numbers: list[int] | None = []
    work: bool = False
    news: bool = False


class PostgresWakes:
    """The Wakes port; one session listens and notifies.

    Concurrency: of one event loop.
    """

    is_shared = True

    def __init__(self, connector: Connector, settings: Postgres, writer: UUID) -> None:
        self._settings = settings
        self._writer = writer.hex
        self._session = KeptSession(connector, settings, name="notifications")
        self._turn = asyncio.Lock()
        self._is_used = settings.notify and not settings.pooler
        self._pending: Wake | None = None
        self._sent_at = 0.0
        self._sending: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None

    def tell(self, *, numbers: Collection[int] = (), has_work: bool = False, has_news: bool = False) -> None:
        """Tell the other servers, soon, what has just been committed."""
        if not self._is_used or not (numbers or has_work or has_news):
            return
        self._pending = _joined(self._pending, Wake(numbers=numbers, has_work=has_work, has_news=has_news))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.ensure_future(self._send())

    async def listen(self, hear: Callable[[Wake], None]) -> None:
        """Have `hear` told of the wakes of others, from when this returns; of nothing where NOTIFY is not used."""
        if self._is_used:
            listening = asyncio.Event()
            self._listening = asyncio.ensure_future(self._keep_listening(hear, listening))
            await listening.wait()

    async def close(self) -> None:
        """Tell what there is to tell, then tell and hear no more. Idempotent."""
        self._is_used = False
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=_GOODBYE_S)
        tasks = [task for task in (self._sending, self._listening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    async def _send(self) -> None:
        while self._pending is not None:
            await asyncio.sleep(max(0.0, self._sent_at + _APART_S - time.monotonic()))
            wake, self._pending = self._pending, None
            self._sent_at = time.monotonic()
            async with self._turn:
                await self._notify(_spelled(wake, self._writer))

    async def _notify(self, payload: str) -> None:
        try:
            session = await self._session.get(Patience(self._settings.connect_s))
            await session.execute(_NOTIFY, _CHANNEL, payload)
        except StoreError:
            return  # the session has said so in the log
        except Exception as error:
            if meaning_of(error) is None:
                raise
            self._session.lose(in_words(error))

    async def _keep_listening(self, hear: Callable[[Wake], None], listening: asyncio.Event) -> None:
        while True:
            try:
                ended = await self._begin_to_listen(hear)
            except Exception as error:  # noqa: BLE001 hints must come again, whatever it was
                self._session.lose(in_words(error))
                listening.set()
                await asyncio.sleep(_AGAIN_S)
                continue
            if listening.is_set():
                hear(_EVERYTHING)
            listening.set()
            await ended.wait()
            self._session.lose("the connection has ended")

    async def _begin_to_listen(self, hear: Callable[[Wake], None]) -> asyncio.Event:
        ended = asyncio.Event()

        def heard(_session: Any, _process: int, _channel: str, payload: str) -> None:
            wake = _read(payload, self._writer)
            if wake is not None:
                hear(wake)

        async with self._turn:
            session = await self._session.get(Patience(self._settings.connect_s))
            session.add_termination_listener(lambda _session: ended.set())
            await session.add_listener(_CHANNEL, heard)
        return ended


def _joined(first: Wake | None, second: Wake) -> Wake:
    if first is None:
        return second
    several = first.numbers is None or second.numbers is None
    return Wake(
        numbers=None if several else {*(first.numbers or ()), *(second.numbers or ())},
        has_work=first.has_work or second.has_work,
        has_news=first.has_news or second.has_news,
    )


def _spelled(wake: Wake, writer: str) -> str:
    """Spell a wake for the channel; one that names too many tasks names none: any may have changed."""
    numbers = None if wake.numbers is None else sorted(wake.numbers)
    notice = _Notice(writer=writer, numbers=numbers, work=wake.has_work, news=wake.has_news)
    payload = encode_view(notice)
    if len(payload) > _PAYLOAD_BYTES:
        notice.numbers = None
        payload = encode_view(notice)
    return payload.decode()


def _read(payload: str, writer: str) -> Wake | None:
    """Read what came over the channel; None when it is one's own, or nobody's of ours."""
    try:
        notice = msgspec.convert(decode_json(payload.encode()), _Notice)
    except msgspec.MsgspecError:
        return None
    if notice.writer == writer:
        return None
    return Wake(numbers=notice.numbers, has_work=notice.work, has_news=notice.news)
