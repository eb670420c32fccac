"""The HTTP server of a process: a listening socket, and an app that answers on it until it is told to stop.

Takes no signals and starts no processes; knows nothing of what the app does.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Generator
from functools import partial
from typing import Final, cast

import uvicorn

from windlass.core.limits import CONNECTIONS, CONNECTIONS_PER_ADDRESS
from windlass.errors import ConfigError
from windlass.http.app import HttpApp
from windlass.http.connections import Connections
from windlass.http.protocol import StrictProtocol

_BACKLOG: Final = 1_024
_KEEP_ALIVE_S: Final = 30
_POLL_S: Final = 0.02
_TICK_S: Final = 1.0
_LOOK_S: Final = 0.1


def bind(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes any that is free. Connections wait in it until `HttpServer.serve`.

    Raises:
        ConfigError: names the address, what is wrong with it, and the setting to change.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"host: '{host}' is no address and no name that resolves ({error.strerror})") from None
    listener = socket.socket(family, kind, protocol)
    try:
        # Without this a restart would have to wait for the connections of the run before to be forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(_explain(error, host, port), port=port) from None
    listener.setblocking(False)
    return listener


def _explain(error: OSError, host: str, port: int) -> str:
    choose = "choose another with --port, WINDLASS_PORT or port in windlass.toml (0 takes any that is free)"
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host} is taken by another program: stop that, or {choose}"
        case errno.EACCES:
            return f"port {port} on {host} is not ours to take (those below 1024 are the system's): {choose}"
        case errno.EADDRNOTAVAIL:
            return f"host: '{host}' is no address of this machine; 127.0.0.1 serves this machine, 0.0.0.0 all networks"
        case _:
            return f"cannot listen on {host}, port {port}: {error.strerror}"


class HttpServer:
    """Serves one app on one socket, once."""

    def __init__(
        self, app: HttpApp, *, connections: int = CONNECTIONS, connections_per_address: int = CONNECTIONS_PER_ADDRESS
    ) -> None:
        self._app = app
        self.connections = Connections(connections, connections_per_address)
        self._has_ended = asyncio.Event()
        self._has_ended.set()
        self._server = _Server(
            uvicorn.Config(
                app,
                http=cast("type[StrictProtocol]", partial(StrictProtocol, connections=self.connections)),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
            )
        )

    async def serve(self, listener: socket.socket) -> None:
        """Answer on `listener` until `stop`; it is closed then."""
        self._has_ended.clear()
        try:
            await self._server.serve(sockets=[listener])
        finally:
            self._has_ended.set()

    async def stop(self, grace_s: float) -> None:
        """End all waits, take no more connections, give requests under way `grace_s` to be answered. Idempotent."""
        self._app.end_waits()
        self._server.grace_s = grace_s
        self._server.end()
        await self._has_ended.wait()


class _Server(uvicorn.Server):
    """Leaves signals to the process it is in, and keeps the time it is given to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.grace_s = 0.0
        self._told = asyncio.Event()

    def end(self) -> None:
        """Have `serve` end, in `grace_s`."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        """Keep the Date header right until told to end."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._told.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take none."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close what listens, then what is idle, then what is answered in time, then the rest."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self.grace_s):
                while state.connections or state.tasks:  # noqa: ASYNC110  # neither says when it is empty
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            for connection in list(state.connections):
                connection.transport.abort()
            await _end_tasks(set(state.tasks))


async def _end_tasks(tasks: set[asyncio.Task[None]]) -> None:
    """Wait for handlers to see that their client is gone, and cancel those that do not look."""
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=_LOOK_S)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
