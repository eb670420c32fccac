"""A network that fails on demand: between a client of PostgreSQL and its server, on loopback.

Knows where messages begin and end, and nothing of what they mean; who is cut off, and when, says the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from enum import Enum, auto

from aside import Aside
from pg_messages import Message, read_message, read_start

READY_ALONE = frozenset(b"Z")
ANSWERED = frozenset(b"ZTn")
"""With what an answer ends: to a query and to a sync, or to the description of a statement."""


class Act(Enum):
    """What happens to a message of a client, and to its connection."""

    PASS = auto()
    CUT = auto()
    """The connection is cut instead."""
    CUT_AFTER = auto()
    """It is passed on, and the connection is cut at once: nobody knows how far the server comes with it."""
    SWALLOW = auto()
    """It is passed on, and the connection is cut when the server has answered it, instead of the answer."""
    MARK = auto()
    """It is passed on, and its connection is one of those that a blackhole may be kept to."""
    CUT_WITHIN = auto()
    """Half of it is passed on, and the connection is cut."""


Script = Callable[[int, Message], Act]
"""Says what happens to a message, by its place among all messages of all clients (from 1) and by what it is."""


def pass_all(_place: int, _message: Message) -> Act:
    """Let nothing happen."""
    return Act.PASS


class Proxy:
    """Passes on what comes to `port`, until told otherwise. Its methods may be called from any thread but its own."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.script: Script = pass_all
        self.delay_s = 0.0
        """How long each message takes longer, in either direction."""
        self.messages = 0
        """How many messages of clients have come, those a connection begins with not counted."""
        self._links: set[_Link] = set()
        self._flow, self._marked_flow = asyncio.Event(), asyncio.Event()
        self._flow.set()
        self._marked_flow.set()
        self._aside = Aside()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.accept()

    # from the test ───────────────────────────────────────────────

    def accept(self) -> None:
        """Take new connections (again), always on the same port."""
        self._aside.run(self._open())

    def refuse(self) -> None:
        """Refuse new connections; those that are there go on."""
        self._aside.run(self._shut())

    def cut(self) -> None:
        """Cut all connections, as a firewall does that resets them."""
        self._aside.run(self._each(_Link.cut))

    def half_close(self) -> None:
        """Tell all clients that the server will say no more, and the server nothing."""
        self._aside.run(self._each(_Link.half_close))

    def blackhole(self, *, marked: bool = False) -> None:
        """Pass nothing more, and say nothing of it; new connections are taken and hear nothing. With `marked` this
        befalls those alone that the script marks.

        Once healed by `pass_on`, all that was held back arrives after all, as TCP sees to it; `cut` makes it be lost.
        """
        self._aside.run(self._stop_flow(self._marked_flow if marked else self._flow))

    def pass_on(self) -> None:
        """Let everything pass again, what was held back first."""
        self._aside.run(self._start_flow())

    def stop(self) -> None:
        """Cut everything and end."""
        self._aside.run(self._shut())
        self._aside.run(self._each(_Link.cut))
        self._aside.end()

    # aside ───────────────────────────────────────────────────────

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        # RACE: asyncio drops a connection unclosed that it has taken right before its server is closed: take no more
        # first, and let those that were taken begin.
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
        server.close()

    async def _each(self, act: Callable[[_Link], None]) -> None:
        for link in list(self._links):
            act(link)

    async def _stop_flow(self, flow: asyncio.Event) -> None:
        flow.clear()

    async def _start_flow(self) -> None:
        self._flow.set()
        self._marked_flow.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def decide(self, message: Message) -> Act:
        """Count a message of a client, and say what happens to it."""
        self.messages += 1
        return self.script(self.messages, message)

    async def may_pass(self, *, is_marked: bool = False) -> None:
        """Wait as long as nothing passes."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        await self._flow.wait()
        if is_marked:
            await self._marked_flow.wait()


class _Link:
    """One connection, in both directions."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = reader, writer
        self._to_server: asyncio.StreamWriter | None = None
        self._swallows_until: frozenset[int] = frozenset()
        self._is_half_closed = False
        self._is_marked = False

    async def run(self) -> None:
        try:
            with contextlib.suppress(OSError, EOFError, struct.error):
                await self._pass()
        finally:
            self.close()

    async def _pass(self) -> None:
        await self._proxy.may_pass()
        start = await read_start(self._from_client, self._to_client)
        await self._proxy.may_pass()
        from_server, self._to_server = await asyncio.open_connection("127.0.0.1", self._proxy.target)
        self._to_server.write(start.raw)
        ways = [asyncio.ensure_future(self._upward()), asyncio.ensure_future(self._downward(from_server))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def cut(self) -> None:
        """Reset the connection at both ends."""
        for writer in (self._to_client, self._to_server):
            if writer is not None and not writer.is_closing():
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def close(self) -> None:
        """Say goodbye at both ends, as who has read the other's goodbye."""
        for writer in (self._to_client, self._to_server):
            if writer is not None:
                writer.close()

    def half_close(self) -> None:
        """End what the client reads."""
        self._is_half_closed = True
        with contextlib.suppress(OSError):
            self._to_client.write_eof()

    async def _upward(self) -> None:
        assert self._to_server is not None
        while True:
            message = await read_message(self._from_client)
            await self._proxy.may_pass(is_marked=self._is_marked)
            match self._proxy.decide(message):
                case Act.CUT:
                    self.cut()
                    return
                case Act.CUT_WITHIN:
                    self._to_server.write(message.raw[: len(message.raw) // 2 + 1])
                    await self._to_server.drain()
                    self._close_gently()
                    return
                case Act.CUT_AFTER:
                    self._to_server.write(message.raw)
                    await self._to_server.drain()
                    self._close_gently()
                    return
                case Act.SWALLOW:
                    self._swallows_until = READY_ALONE if message.kind == b"Q" else ANSWERED
                case Act.MARK:
                    self._is_marked = True
                case Act.PASS:
                    pass
            self._to_server.write(message.raw)
            await self._to_server.drain()

    def _close_gently(self) -> None:
        """Cut the client off, but let the server have what was sent to it."""
        assert self._to_server is not None
        self._to_server.close()
        self.cut()

    async def _downward(self, from_server: asyncio.StreamReader) -> None:
        while True:
            message = await read_message(from_server)
            await self._proxy.may_pass(is_marked=self._is_marked)
            if ord(message.kind) in self._swallows_until:
                self.cut()
                return
            if not self._swallows_until and not self._is_half_closed:
                self._to_client.write(message.raw)
                await self._to_client.drain()


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """Give a proxy that leads to a port of loopback, and end it."""
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.stop()
