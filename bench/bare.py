"""The limit of HTTP in Python here: uvicorn and an app that reads a submit, answers 202, and stores nothing.

Run as `python -m bench.bare PORT`; knows nothing of windlass.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn


class Asked(msgspec.Struct):
    """As much of a submit as tells that it is one."""

    kind: str
    payload: dict[str, Any]


_decoder = msgspec.json.Decoder(Asked)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a POST with 202 once its body has been read and decoded, and anything else with 200."""
    status, answer = 200, b"{}"
    if scope["method"] == "POST":
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        asked = _decoder.decode(body)
        status, answer = 202, msgspec.json.encode({"kind": asked.kind, "state": "queued"})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def main() -> None:
    """Serve until told to end."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="error",
        access_log=False,
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
