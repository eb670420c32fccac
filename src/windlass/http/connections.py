"""How many connections a server has, from where, and which of them it can do without. Opens and closes no socket."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from typing import Final, Protocol

from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_TELL_EVERY_S: Final = 10.0

_log = get_logger()


class Connection(Protocol):
    """One of them."""

    def give_way(self) -> None:
        """Close: another one needs the place."""
        ...


class Connections:
    """The connections of one server.

    Of those without a request under way the oldest makes room for a new one: first one that has never sent a whole
    request, so that who fills the server with silence drives out nobody else. Where all have a request, the new one
    is refused.

    Concurrency: of one event loop.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._places: dict[Connection, str | None] = {}
        self._by_address: Counter[str] = Counter()
        self._new: OrderedDict[Connection, None] = OrderedDict()
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._told_at = -_TELL_EVERY_S

    def __len__(self) -> int:
        """Count them."""
        return len(self._places)

    def enter(self, connection: Connection, address: str | None) -> bool:
        """Take a new connection in; false when it has to go.

        `address` is what it is counted under; None for one that only counts in all.
        """
        if address is not None and self._by_address[address] >= self._per_address:
            self._tell(address=address)
            return False
        if len(self._places) >= self._total and not self._make_room():
            self._tell()
            return False
        self._places[connection] = address
        self._new[connection] = None
        if address is not None:
            self._by_address[address] += 1
        return True

    def leave(self, connection: Connection) -> None:
        """Forget a connection. Idempotent."""
        if connection not in self._places:
            return
        address = self._places.pop(connection)
        self.work(connection)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def work(self, connection: Connection) -> None:
        """Note that a request is under way."""
        self._new.pop(connection, None)
        self._idle.pop(connection, None)

    def rest(self, connection: Connection) -> None:
        """Note that none is any more."""
        if connection in self._places:
            self._idle[connection] = None

    def _make_room(self) -> bool:
        for resting in (self._new, self._idle):
            if resting:
                oldest = next(iter(resting))
                self.leave(oldest)
                oldest.give_way()
                self._tell()
                return True
        return False

    def _tell(self, address: str | None = None) -> None:
        # LIMIT: a line every 10 s, however many come.
        now = time.monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            self._told_at = now
            _log.warning(words.CONNECTIONS_FULL, connections=len(self._places), address=address)
