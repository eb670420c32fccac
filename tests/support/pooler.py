"""A pooler that gives a connection of the server to a client for one transaction only, as PgBouncer does.

Harsher than PgBouncer: a client never has the same one twice running. What is left in a session is somebody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections import deque
from collections.abc import Iterator

from aside import Aside
from pg_messages import CANCEL_REQUEST, EXTENDED, IDLE, READY, SYNCS, Message, read_message, read_start

KEPT = {"user", "database", "client_encoding", "datestyle", "timezone", "standard_conforming_strings"}
"""What a client may say of itself at its start; anything else is refused, but for its name, which is let go."""
IGNORED = {"application_name"}
_AUTHENTICATED = Message(b"R", struct.pack("!I", 0))
_START = 196608
"""Version 3.0 of the protocol."""


class _Backend:
    """A connection of the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status: list[Message] = []
        """What the server says of itself when a connection begins."""
        self.key = b""
        """What a request to cancel must name."""


class Pooler:
    """Takes clients on `port`. Its methods may be called from any thread but its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.transactions = 0
        """How many times a client was given a connection of the server."""
        self.refused: list[str] = []
        """What clients said of themselves at their start and may not."""
        self._idle: dict[tuple[str, str], deque[_Backend]] = {}
        self._of_clients: dict[bytes, _Backend | None] = {}
        self._serial = itertools.count(1)
        self._writers: set[asyncio.StreamWriter] = set()
        self._aside = Aside()
        self._server = self._aside.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Cut everything and end."""
        self._aside.run(self._close())
        self._aside.end()

    async def _close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, struct.error):
                start = await read_start(reader, writer)
                if start.code == CANCEL_REQUEST:
                    await self._cancel(start.body[4:])
                else:
                    await self._welcome(start.parameters, reader, writer)
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _welcome(self, said: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unknown = {name for name in said if name and name.lower() not in KEPT | IGNORED}
        if unknown:
            self.refused += unknown
            words = f"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter: {min(unknown)}\0\0"
            writer.write(Message(b"E", words.encode()).raw)
            return
        who = (said["user"], said.get("database", said["user"]))
        backend = await self._take(who, None)
        key = struct.pack("!II", next(self._serial), 7)
        greeting = [_AUTHENTICATED, *backend.status, Message(b"K", key), Message(READY, IDLE)]
        writer.write(b"".join(message.raw for message in greeting))
        self._idle[who].append(backend)
        self._of_clients[key] = None
        asked: asyncio.Queue[Message | None] = asyncio.Queue()
        listening = asyncio.ensure_future(_listen(reader, asked))
        try:
            await self._transactions(who, key, asked, writer)
        finally:
            listening.cancel()
            del self._of_clients[key]

    async def _transactions(
        self, who: tuple[str, str], key: bytes, asked: asyncio.Queue[Message | None], writer: asyncio.StreamWriter
    ) -> None:
        """Give the client another connection for each transaction, until it leaves."""
        last: _Backend | None = None
        while (first := await asked.get()) is not None:
            backend = self._of_clients[key] = last = await self._take(who, last)
            self.transactions += 1
            try:
                await _one_transaction(first, backend, asked, writer)
            except BaseException:  # the client has left in its midst: nobody may have what it leaves behind
                backend.writer.transport.abort()
                raise
            finally:
                self._of_clients[key] = None
            self._idle[who].append(backend)

    async def _take(self, who: tuple[str, str], last: _Backend | None) -> _Backend:
        """Give the connection that has been idle for longest, but not the one the client had last."""
        idle = self._idle.setdefault(who, deque())
        for backend in list(idle):
            if backend.reader.at_eof():
                idle.remove(backend)
                backend.writer.close()
            elif backend is not last:
                idle.remove(backend)
                return backend
        return await self._connect(who)

    async def _connect(self, who: tuple[str, str]) -> _Backend:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers.add(writer)
        backend = _Backend(reader, writer)
        words = f"user\0{who[0]}\0database\0{who[1]}\0\0"
        writer.write(Message(b"", struct.pack("!I", _START) + words.encode()).raw)
        while (message := await read_message(reader)).kind != READY:
            if message.kind == b"E":
                writer.close()
                raise ConnectionRefusedError(message.body)
            if message.kind == b"S":
                backend.status.append(message)
            elif message.kind == b"K":
                backend.key = message.body
        return backend

    async def _cancel(self, key: bytes) -> None:
        """Pass a request to cancel on, for the connection that the client has now."""
        backend = self._of_clients.get(key)
        if backend is not None:
            _, writer = await asyncio.open_connection("127.0.0.1", self.target)
            writer.write(Message(b"", struct.pack("!I", CANCEL_REQUEST) + backend.key).raw)
            writer.close()


async def _listen(reader: asyncio.StreamReader, asked: asyncio.Queue[Message | None]) -> None:
    """Gather what a client sends; None when it has left."""
    with contextlib.suppress(OSError, EOFError):
        while (message := await read_message(reader)).kind != b"X":
            asked.put_nowait(message)
    asked.put_nowait(None)


async def _one_transaction(
    first: Message, backend: _Backend, asked: asyncio.Queue[Message | None], writer: asyncio.StreamWriter
) -> None:
    """Pass on both ways, until the server is at rest outside a transaction and all questions are answered."""
    open_questions = 0
    has_begun = False
    """Whether something was sent that no `SYNCS` has ended yet."""

    def up(message: Message | None) -> None:
        nonlocal open_questions, has_begun
        if message is None:
            raise ConnectionResetError
        has_begun = ord(message.kind) in EXTENDED or (has_begun and ord(message.kind) not in SYNCS)
        open_questions += ord(message.kind) in SYNCS
        backend.writer.write(message.raw)

    up(first)
    question = asyncio.ensure_future(asked.get())
    answered = asyncio.ensure_future(read_message(backend.reader))
    try:
        while True:
            done, _ = await asyncio.wait((question, answered), return_when=asyncio.FIRST_COMPLETED)
            if answered in done:
                answer = answered.result()
                writer.write(answer.raw)
                open_questions -= answer.kind == READY
                if answer == Message(READY, IDLE) and not open_questions and not has_begun and not question.done():
                    return
                answered = asyncio.ensure_future(read_message(backend.reader))
            if question in done:
                up(question.result())
                question = asyncio.ensure_future(asked.get())
    finally:
        question.cancel()
        answered.cancel()


@contextlib.contextmanager
def pooler_to(port: int) -> Iterator[Pooler]:
    """Give a pooler that leads to a port of loopback, and end it."""
    pooler = Pooler(port)
    try:
        yield pooler
    finally:
        pooler.stop()
