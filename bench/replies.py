"""What the load generators write and read: HTTP/1.1 as far as they need it, the same for every server they talk to.

Understands answers with a Content-Length alone; both servers send no others.
"""

from __future__ import annotations

from typing import Final

SUBMIT_PATH: Final = "/v1/tasks"
_LENGTH = b"content-length:"


def spell_request(method: str, path: str, body: bytes = b"") -> bytes:
    """Spell out a request on a connection that is kept alive."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode("ascii") + b"\r\n" + body


def whole_length(data: bytes) -> int:
    """Say how many bytes the answer that `data` begins with has; 0 while its head is not there yet."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return 0
    at = data.lower().find(_LENGTH, 0, head)
    if at < 0:
        raise ValueError(f"an answer without its length: {data[:head]!r}")
    start = at + len(_LENGTH)
    return head + 4 + int(data[start : data.find(b"\r", start)])


def status_of(data: bytes) -> int:
    """Read the status of an answer."""
    return int(data[9:12])


def body_of(data: bytes) -> bytes:
    """Read the body of a whole answer."""
    return data[data.find(b"\r\n\r\n") + 4 :]
