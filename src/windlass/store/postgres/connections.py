"""How PostgreSQL is reached: which hosts a url names, how a session is opened, and which server is refused.

Knows no table of ours, and runs no transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import asyncpg

from windlass.config.schema import Postgres
from windlass.errors import ConfigError, StoreError, StoreUnavailable
from windlass.store.postgres.driver import Session
from windlass.store.postgres.failures import OF_DRIVER, in_words, meaning_of, sqlstate_of
from windlass.store.postgres.urls import place_of, single_hosts
from windlass.store.postgres.vetting import VET, Known, Unfit, vet

_ANSWER_S: Final = 1.0
"""How much longer than the server's own limit to wait for an answer before the connection is given up."""
_KEEPALIVE_S: Final = 5
"""A silent connection is probed so often, and given up after three probes without an answer."""
_NAME_BYTES: Final = 63
"""PostgreSQL's limit on a session's name."""

_UNREADABLE: Final = (
    "database: this url cannot be used: write postgresql://USER:PASSWORD@HOST:PORT/NAME, with characters such as "
    "@ : / in a password as %40 %3A %2F"
)

_REFUSED_BY_SERVER: Final = {
    "28000": "it does not let this user in: look at the user in `database` and at the server's pg_hba.conf",
    "28P01": "the password is wrong: look at `database`, where characters such as @ : / are written as %40 %3A %2F",
    "3D000": "there is no such database: make it with CREATE DATABASE, or name another in `database`",
    "42501": "the user may not connect to it: GRANT CONNECT, or name another user in `database`",
}
"""What no waiting helps against, by SQLSTATE."""


class _Opened(NamedTuple):
    """A session, the loop that uses it, and the timeline its server was on when it was opened."""

    session: Session
    loop: asyncio.AbstractEventLoop
    timeline: int


class Connector:
    """Opens sessions of one database, on the host of its url that is the primary. As soon as one of them finds that
    there has been a failover, those from before it are ended: an old primary that was cut off, or only slow, does not
    know of it, and answers as if it were the only one.

    Raises, when it is made:
        ConfigError: the url cannot be read.

    Concurrency: may be used from several event loops, each on a thread of its own.
    """

    def __init__(self, url: str, settings: Postgres) -> None:
        self.place = place_of(url)
        try:
            self._hosts = single_hosts(url)
        except ValueError:
            raise ConfigError(_UNREADABLE) from None
        self._settings = settings
        self._learning = threading.Lock()
        self._known: Known | None = None
        self._opened: list[_Opened] = []
        self._name = f"windlass {socket.gethostname()}/{os.getpid()}"[:_NAME_BYTES]

    async def open(self, *, within_s: float, is_reader: bool = False) -> Session:
        """Open a session on the first host that will do, the one that did last time before the others.

        Raises:
            ConfigError: the server must not be used, or will not be, until somebody changes something.
            StoreUnavailable: no host can be reached, or none is the primary.
            StoreError: another database answers than the one that was opened first.
        """
        failures: list[ConfigError | StoreError] = []
        for host in list(self._hosts):
            try:
                session = await self._open(host, within_s / len(self._hosts), is_reader=is_reader)
            except (ConfigError, StoreError) as error:
                failures.append(error)
            else:
                self._hosts = [host, *(other for other in self._hosts if other != host)]
                return session
        raise _worst(failures)

    async def _open(self, host: str, within_s: float, *, is_reader: bool) -> Session:
        place = place_of(host)
        try:
            session = cast(
                Session,
                await cast(Any, asyncpg).connect(
                    host,
                    timeout=within_s,
                    command_timeout=self._settings.statement_s + _ANSWER_S,
                    server_settings=self._session_settings(is_reader=is_reader),
                    **self._cache_options(),
                ),
            )
        except (*OF_DRIVER, ValueError) as error:
            raise _refusal(place, error) from None
        try:
            _keep_alive(session)
            await self._vet(session, place)
        except OF_DRIVER as error:
            session.terminate()
            raise _refusal(place, error) from None
        except BaseException:
            session.terminate()
            raise
        return session

    async def _vet(self, session: Session, place: str) -> None:
        row = await session.fetchrow(VET)
        assert row is not None
        with self._learning:
            found = vet(row, self._known, may_be_unsafe=self._settings.unsafe)
            if isinstance(found, Unfit):
                raise found.error(f"{place}: {found.problem}")
            self._known = found
            outdated = [opened for opened in self._opened if opened.timeline < found.timeline]
            self._opened.append(_Opened(session, asyncio.get_running_loop(), found.timeline))
        session.add_termination_listener(self._forget)
        for opened in outdated:
            with contextlib.suppress(RuntimeError):  # its loop has ended, and it with that
                opened.loop.call_soon_threadsafe(opened.session.terminate)

    def _forget(self, session: Session) -> None:
        with self._learning:
            self._opened = [opened for opened in self._opened if opened.session is not session]

    def _session_settings(self, *, is_reader: bool) -> Mapping[str, str]:
        """Give what a session starts with. Nothing here is needed behind a pooler, whose sessions are not ours."""
        if self._settings.pooler:
            return {}
        named = {"application_name": self._name}
        if not is_reader:
            return named
        return {
            **named,
            "default_transaction_read_only": "on",
            "statement_timeout": str(round(self._settings.statement_s * 1000)),
            "lock_timeout": str(round(self._settings.lock_s * 1000)),
        }

    def _cache_options(self) -> dict[str, Any]:
        """Keep prepared statements for good, where a session stays with its server process; else none."""
        if self._settings.pooler:
            return {"statement_cache_size": 0}
        return {"statement_cache_size": 256, "max_cached_statement_lifetime": 0}


def jittered(delay_s: float) -> float:
    """Spread a delay over its upper half, so that not all servers come back at once."""
    return delay_s * random.uniform(0.5, 1.0)  # noqa: S311 no secret


def _worst(failures: Sequence[ConfigError | StoreError]) -> ConfigError | StoreError:
    """Choose what to tell of several hosts: one that may come back, before those that will not."""
    return next((error for error in failures if isinstance(error, StoreUnavailable)), failures[0])


def _refusal(place: str, error: Exception) -> ConfigError | StoreError:
    """Say why a session could not be opened, without what the driver quotes of the url."""
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError):
        return ConfigError(_UNREADABLE)
    state = sqlstate_of(error)
    if state in _REFUSED_BY_SERVER:
        return ConfigError(f"database: {place}: {_REFUSED_BY_SERVER[state]}")
    meaning = meaning_of(error)
    kind = StoreError if meaning is None else meaning.error
    return kind(f"{place} cannot be reached: {in_words(error)}", sqlstate=state)


def _keep_alive(session: Session) -> None:
    """Have the kernel notice a peer that is gone, though nothing is being sent, and one that confirms nothing."""
    raw = cast(Any, session)._transport.get_extra_info("socket")
    if raw is None or raw.family == socket.AF_UNIX:
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", _KEEPALIVE_S), ("TCP_KEEPINTVL", _KEEPALIVE_S), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 4 * _KEEPALIVE_S * 1000)
