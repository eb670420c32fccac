"""A client's connections, and the one way from a call to its answer. Knows no routes: these stand in `exchange`."""

from __future__ import annotations

from typing import Self

from windlass.client import exchange
from windlass.client.exchange import Request, T
from windlass.client.transport import Transport


class Calls:
    """Sends requests to one server.

    Concurrency: may be used from any thread.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. The client may be used again all the same."""
        self._transport.close()

    def _call(self, request: Request[T]) -> T:
        return exchange.read_answer(request, self._transport.send(request))
