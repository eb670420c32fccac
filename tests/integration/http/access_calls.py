"""How tests of access ask: with keys, and as peers that a test cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from http_front import Answer, Front

STRANGER = "192.0.2.7"
WRONG = f"wl_{'0' * 16}_{'0' * 64}"


def ask_from(
    front: Front, address: str, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Ask as a peer at `address`, which no test can be: everything above the socket is the real thing."""

    async def ask() -> Answer:
        bare, _, query = path.partition("?")
        sent = {"host": "front.test", "content-type": "application/json", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": bare,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "server": ("192.0.2.1", 8080),
            "client": (address, 50_000),
        }
        messages: list[Any] = []

        sendings = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            for sending in sendings:
                return sending
            return await asyncio.Event().wait()  # the client stays

        async def send(message: Any) -> None:
            messages.append(message)

        await front.app(scope, receive, send)
        start, *parts = messages
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], told, b"".join(part["body"] for part in parts))

    return front.run(ask())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
