"""What goes wrong with PostgreSQL: the one table from the driver's errors to ours and to what may be done about them.

Decides alone; touches no connection.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

import asyncpg
import msgspec

from windlass.errors import StoreCorrupt, StoreError, StoreFull, StoreUnavailable


class Remedy(Enum):
    """What may help against a failure, as long as nothing was committed."""

    NONE = auto()
    AGAIN = auto()
    """The same transaction, run again, may find the way free."""
    RECONNECT = auto()
    """The connection is lost, or leads to a server that cannot serve now; the transaction may be run on another."""


class Meaning(msgspec.Struct, frozen=True):
    """What a failure is to us, when its remedy has not helped or there is none."""

    error: type[StoreError]
    remedy: Remedy


_CONTENTION: Final = Meaning(StoreUnavailable, Remedy.AGAIN)
_OUTAGE: Final = Meaning(StoreUnavailable, Remedy.RECONNECT)
_BUSY: Final = Meaning(StoreUnavailable, Remedy.NONE)
_FATAL: Final = Meaning(StoreError, Remedy.NONE)

_BY_STATE: Final[dict[str, Meaning]] = {
    "23505": Meaning(StoreError, Remedy.AGAIN),  # another server was faster to take a key: the next run meets it
    "25006": _OUTAGE,  # read-only: the primary has become a replica
    "25P03": _OUTAGE,  # our transaction stood idle too long, and its connection was ended
    "40001": _CONTENTION,
    "40P01": _CONTENTION,
    "53000": _BUSY,
    "53100": Meaning(StoreFull, Remedy.NONE),
    "53200": _BUSY,  # out of memory
    "53300": _OUTAGE,  # too many connections
    "53400": _BUSY,
    "55P03": _CONTENTION,  # a lock was not to be had in time
    "57014": _BUSY,  # a statement took too long; again it would take as long
    "57P01": _OUTAGE,  # shut down by an operator
    "57P02": _OUTAGE,  # another process of the server crashed
    "57P03": _OUTAGE,  # starts up, shuts down or recovers
    "57P05": _OUTAGE,  # idle for too long
    "XX001": Meaning(StoreCorrupt, Remedy.NONE),
    "XX002": Meaning(StoreCorrupt, Remedy.NONE),
}
"""By SQLSTATE. Anything unknown is fatal: lost rights, a dropped table and bugs of ours do not mend themselves."""

OF_DRIVER: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""What the driver and the network raise."""

_OF_CONNECTIONS: Final = "08"
"""The class of SQLSTATEs of lost connections."""


def meaning_of(error: BaseException) -> Meaning | None:
    """Say what an error of the driver or the network means; None when it is neither's."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return _CONTENTION  # the schema has moved on; the driver has forgotten what it knew
    if isinstance(error, asyncpg.PostgresError):
        state = sqlstate_of(error) or ""
        return _OUTAGE if state.startswith(_OF_CONNECTIONS) else _BY_STATE.get(state, _FATAL)
    if isinstance(error, asyncpg.DataError):
        return _FATAL  # a value that does not fit its statement: a bug of ours
    if isinstance(error, OF_DRIVER):
        return _OUTAGE  # the connection is closed, was never made, speaks nonsense or is silent
    return None


def sqlstate_of(error: BaseException) -> str | None:
    """Give the SQLSTATE of an error of the server."""
    return getattr(error, "sqlstate", None) if isinstance(error, asyncpg.PostgresError) else None


def translated(error: BaseException) -> StoreError:
    """Make our error of one that `meaning_of` knows, or of any other a fatal one."""
    meaning = meaning_of(error) or _FATAL
    return meaning.error(f"PostgreSQL: {in_words(error)}", sqlstate=sqlstate_of(error))


def in_words(error: BaseException) -> str:
    """Say in a line what happened."""
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    text = str(error).partition("\n")[0] or type(error).__name__
    state = sqlstate_of(error)
    return text if state is None else f"{text} ({state})"
