"""A server's keys, as Python sees them: made, listed, revoked. Keeps none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from windlass.client import exchange
from windlass.client.transport import Transport
from windlass.wire.v1 import KeyRequest, KeyView, NewKeyView

Scope = Literal["read", "submit", "operate", "admin"]


class KeyCalls:
    """What can be asked about keys. Takes a key with the scope `admin`, or a server without keys on this machine.

    made = client.keys.create("ci", ["submit"])
    Client(url, key=made.key).submit("build_report", customer_id=7, month="2026-11")
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, scopes: Sequence[Scope]) -> NewKeyView:
        """Make a key; its `key` is shown this once. Each scope allows what those before it do.

        After the first key everybody needs one, so that one must have the scope `admin`.
        """
        request = exchange.create_key(KeyRequest(name=name, scopes=list(scopes)))
        return exchange.read_answer(request, self._transport.send(request))

    def list(self) -> Sequence[KeyView]:
        """Read all keys, revoked ones too, by the time they were made."""
        request = exchange.list_keys()
        return exchange.read_answer(request, self._transport.send(request)).keys

    def revoke(self, key_id: str) -> KeyView:
        """Take a key out of use, at once and for good.

        Raises:
            ConflictError: it is the last one that can make others.
        """
        request = exchange.revoke_key(key_id)
        return exchange.read_answer(request, self._transport.send(request))
