"""`windlass serve`: the life of a server process, from its settings to its exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import uvloop
from cyclopts import Parameter

from windlass import __version__
from windlass.assembly import Assembled, assemble
from windlass.cli.output import ExitCode
from windlass.config.load import load_settings
from windlass.config.schema import Settings
from windlass.core.limits import FILES_BESIDES
from windlass.engine.engine import Engine
from windlass.errors import StoreCorrupt, WindlassError
from windlass.http.access import is_loopback
from windlass.http.server import bind
from windlass.telemetry import log
from windlass.telemetry import vocabulary as words

_SAME_SIGNAL_S = 1.0
"""The same signal again within this time counts once: some supervisors deliver it twice."""
_HTTP_GRACE_S = 2.0
_CLOSE_S = 2.0
"""How long after the time for a stop the store may take to be closed."""
_COLLECT_EVERY = 20_000
"""Objects that may be made before the collector looks at the youngest: a few turns' worth, some MiB."""

_log = log.get_logger()


@Parameter(name="*")
@dataclass(frozen=True)
class Roles:
    """What one of several servers that share a store leaves to the others."""

    no_http: Annotated[
        bool, Parameter(negative="", show_default=False, help="Serve no API: only run what other servers have taken.")
    ] = False
    no_workers: Annotated[
        bool, Parameter(negative="", show_default=False, help="Run no tasks: only take them and show them.")
    ] = False


_ALL_ROLES = Roles()


def serve(
    *apps: Annotated[str, Parameter(help="Apps to serve, as MODULE:APP, for example tasks:app.")],
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 takes any free one.")] = None,
    data: Annotated[Path | None, Parameter(help="Directory of the store and of result files.")] = None,
    database: Annotated[
        str | None,
        Parameter(
            help="sqlite; postgresql://USER@HOST/NAME, which several servers may share (a password is better kept in "
            "WINDLASS_DATABASE: others see command lines); or memory (nothing survives the process)."
        ),
    ] = None,
    concurrency: Annotated[int | None, Parameter(help="How many solo workers an app may have.")] = None,
    log_level: Annotated[str | None, Parameter(help="debug, info, warning or error.")] = None,
    roles: Roles = _ALL_ROLES,
) -> int:
    """Run a windlass server: API, store and workers.

    Without an app it serves the built-in kinds. It stops on SIGTERM or Ctrl-C: attempts get time to end, what has
    not ended is handed back and runs again after the next start. A second signal shortens that.

    Example: windlass serve tasks:app --port 9000
    """
    flags: dict[str, object] = {
        "apps": list(apps) or None,
        "host": host,
        "port": port,
        "data": None if data is None else str(data),
        "database": database,
        "with_http": False if roles.no_http else None,
        "with_workers": False if roles.no_workers else None,
        "log_level": log_level,
        "workers": None if concurrency is None else {"solo": concurrency},
    }
    _fill_standard_streams()
    settings = load_settings(flags)
    log.configure(level=settings.log_level, style=settings.log_format)
    _allow_files(settings.connections)
    _spare_the_collector()
    listener = bind(settings.host, settings.port) if settings.with_http else None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings, listener))


def _allow_files(connections: int) -> None:
    """Let this process open a file for each connection besides its own, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        advice = "raise ulimit -n, or lower connections"
        _log.warning(words.FILES_SCARCE, allowed=allowed, wanted=wanted, meaning=advice)


def _spare_the_collector() -> None:
    """Let the garbage collector pass over what the imports have made, and look for new garbage less often.

    Source: measured; see docs/benchmarks.md. Hardly anything here is garbage that only the collector can find.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY)


def _fill_standard_streams() -> None:
    """Open what the caller has closed of fds 0-2: the next file opened would be handed to workers as their stderr."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


async def _run(settings: Settings, listener: socket.socket | None) -> int:
    signals = _Signals()
    assembled = None
    try:
        assembled = await _assemble(settings, signals)
    finally:
        if assembled is None and listener is not None:
            listener.close()
    if assembled is None:
        _log.info(words.SERVER_STOPPED)
        return 0
    engine = assembled.engine
    serving = _open_front(settings, assembled, listener)
    try:
        starting = asyncio.create_task(engine.start(), name="windlass-start")
        await _first(starting, signals.first, engine.failed, serving)
        if starting.done() and starting.exception() is None:
            await _first(signals.first, engine.failed, serving)
        return await _wind_down(assembled, signals, starting, serving)
    finally:
        if assembled.http is not None:
            await assembled.http.stop(_HTTP_GRACE_S)
            await asyncio.wait([serving])
        await engine.respite.spend(assembled.close(), beyond_s=_CLOSE_S)
        _log.info(words.SERVER_STOPPED)


async def _assemble(settings: Settings, signals: _Signals) -> Assembled | None:
    """Put the server together; None where a signal comes before that is done, as a database may be long in coming."""
    assembling = asyncio.create_task(assemble(settings), name="windlass-assemble")
    await _first(assembling, signals.first)
    if not assembling.done():
        assembling.cancel()
        await asyncio.wait([assembling])
    return None if assembling.cancelled() else assembling.result()


def _open_front(settings: Settings, assembled: Assembled, listener: socket.socket | None) -> asyncio.Future[None]:
    """Begin to serve the API, if this server has one; give what is done when that has ended."""
    if assembled.http is None or listener is None:
        _log.info(words.SERVER_WORKING, version=__version__, data=settings.data)
        return asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(assembled.http.serve(listener), name="windlass-http")
    where = _url_of(listener)
    _log.info(words.SERVER_LISTENING, url=where, docs=f"{where}/docs", version=__version__, data=settings.data)
    _warn_of_strangers(assembled, listener)
    return serving


def _url_of(listener: socket.socket) -> str:
    """Spell where the server can be reached from this machine; one that listens everywhere, by loopback."""
    bound, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, str(bound))  # noqa: S104 read, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _warn_of_strangers(assembled: Assembled, listener: socket.socket) -> None:
    """Say what others than programs on this machine may do, where they can reach the server and no key guards it."""
    host = str(listener.getsockname()[0])
    if is_loopback(host):
        return
    if assembled.access.is_open:
        _log.warning(words.ACCESS_OFF, host=host, meaning='auth is "off": whoever reaches this address may do all')
    elif not assembled.access.has_keys:
        _log.warning(
            words.ACCESS_NO_KEYS,
            host=host,
            meaning="other machines get nothing but health and the dialects: make a key here with "
            "`windlass key create NAME --scope admin`",
        )


async def _wind_down(
    assembled: Assembled, signals: _Signals, starting: asyncio.Task[None], serving: asyncio.Future[None]
) -> int:
    """Drain, end the workers, and say how it went."""
    engine = assembled.engine
    await asyncio.wait([starting])  # a takeover under way is finished: it is short, and half of one helps nobody
    error = starting.exception() or _failure_of(engine, serving)
    if starting.exception() is None and not engine.failed.done():
        _log.info(words.SERVER_DRAINING, signal=signals.name)
        hurrying = asyncio.create_task(_hurry(assembled, signals))
        draining = asyncio.create_task(engine.drain())
        await _first(draining, engine.failed)
        hurrying.cancel()
    await engine.stop()
    error = error or _failure_of(engine, serving)
    if error is not None:
        _log.error(words.SERVER_FAILED, error=error.detail if isinstance(error, WindlassError) else repr(error))
        return ExitCode.STORE if isinstance(error, StoreCorrupt) else 1
    return 0


def _failure_of(engine: Engine, serving: asyncio.Future[None]) -> BaseException | None:
    """Say what has failed, if anything has: the HTTP server must not end before it is told to."""
    if engine.failed.done():
        return engine.failed.result()
    if serving.done():
        return serving.exception() or WindlassError("the HTTP server has ended by itself")
    return None


async def _hurry(assembled: Assembled, signals: _Signals) -> None:
    await signals.second
    _log.info(words.SERVER_HURRYING, signal=signals.name)
    assembled.engine.hurry()


async def _first(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


class _Signals:
    """The first SIGTERM, SIGINT or SIGHUP (a terminal that closes), and the second."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[object] = loop.create_future()
        self.second: asyncio.Future[object] = loop.create_future()
        self.name = ""
        self._loop = loop
        self._last: tuple[int, float] = (0, 0.0)
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._take, signum)

    def _take(self, signum: int) -> None:
        now = self._loop.time()
        if self._last[0] == signum and now - self._last[1] < _SAME_SIGNAL_S:
            return
        self._last = (signum, now)
        self.name = signal.Signals(signum).name
        for future in (self.first, self.second):
            if not future.done():
                future.set_result(None)
                return
