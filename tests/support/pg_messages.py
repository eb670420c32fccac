"""PostgreSQL's messages on the wire, as far as somebody in the middle must know them."""

from __future__ import annotations

import asyncio
import struct
from typing import Final, NamedTuple

SSL_REQUEST: Final = 80877103
GSS_REQUEST: Final = 80877104
CANCEL_REQUEST: Final = 80877102
READY: Final = b"Z"
"""The server's word that it waits for the next question; its body says whether a transaction is open."""
IDLE: Final = b"I"
SYNCS: Final = frozenset(b"QSF")
"""What a client sends that is answered by one `READY`: a simple query, the end of an extended one, a function call."""
AWAITED: Final = frozenset(b"QSFH")
"""What a client sends before it waits for an answer."""
EXTENDED: Final = frozenset(b"PBDECH")
"""What a client sends that is answered once a sync follows."""


class Message(NamedTuple):
    """One message: its type (empty for those a connection begins with) and its body."""

    kind: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        """Give it as it is on the wire."""
        return self.kind + struct.pack("!I", len(self.body) + 4) + self.body

    @property
    def code(self) -> int:
        """Give what the first message of a connection asks for."""
        return struct.unpack_from("!I", self.body)[0]

    @property
    def parameters(self) -> dict[str, str]:
        """Give what a start says of itself."""
        words = self.body[4:].decode().split("\0")
        return dict(zip(words[::2], words[1::2], strict=False)) if words else {}

    def says(self, sql: str) -> bool:
        """Whether it is a simple query, or the parsing of one, that holds these words."""
        return self.kind in (b"Q", b"P") and sql.encode().lower() in self.body.lower()


async def read_first(reader: asyncio.StreamReader) -> Message:
    """Read a message a client begins with."""
    (length,) = struct.unpack("!I", await reader.readexactly(4))
    return Message(b"", await reader.readexactly(length - 4))


async def read_start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Message:
    """Read what a client begins with, refusing to encrypt."""
    first = await read_first(reader)
    while first.code in (SSL_REQUEST, GSS_REQUEST):
        writer.write(b"N")
        first = await read_first(reader)
    return first


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Read any later message, of either side."""
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!I", head[1:])
    return Message(head[:1], await reader.readexactly(length - 4))
