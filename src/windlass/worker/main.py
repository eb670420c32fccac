"""Starts a worker: ties its life to its server's, imports the app, says hello, serves. Opens no store."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import importlib
import os
import signal
import socket
import sys
import traceback
from typing import Any

import msgspec

from windlass.app.app import App
from windlass.config.schema import WorkerSettings
from windlass.core.kind import BUILTIN_APP, Isolation
from windlass.errors import ConfigError, WorkerError
from windlass.wire.frames import Frame, Hello, Splitter, Unfit, Welcome
from windlass.worker.session import SharedSession, SoloSession
from windlass.worker.wire import Wire, end_group

_BUILTIN = "windlass.handlers.app:app"
_PR_SET_PDEATHSIG = 1
_DETAIL_CHARS = 4_000


def main() -> None:
    """Run the worker until its server retires it or goes away."""
    arguments = _parse()
    _die_with(arguments.server)
    os.set_inheritable(arguments.fd, False)
    with contextlib.suppress(OSError):
        os.nice(arguments.nice)
    wire = Wire(socket.socket(fileno=arguments.fd))
    try:
        app = _import_app(_BUILTIN if arguments.app == BUILTIN_APP else arguments.app)
    except BaseException as error:  # noqa: BLE001 the user's module, whatever it does: it is reported, not raised
        wire.send(Unfit(_why(error)))
        sys.exit(1)
    gc.freeze()  # what the imports have made stays: no need to look through it again and again
    wire.send(Hello(app=arguments.app, version=app.version, kinds=app.kinds(app=arguments.app)))
    _serve(app, wire)


def _parse() -> Any:
    parser = argparse.ArgumentParser(prog="windlass.worker", description="Started by windlass itself.")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--server", type=int, required=True)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--app", required=True)
    return parser.parse_args()


def _die_with(server: int) -> None:
    """Have the kernel kill this process when the server's main thread ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # RACE: it may have gone before the kernel was asked
        end_group()


def _import_app(spec: str) -> App:
    module_name, _, attribute = spec.partition(":")
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 the import system takes strings
    module = importlib.import_module(module_name)
    try:
        app = getattr(module, attribute)
    except AttributeError:
        raise ConfigError(
            f"the module {module_name} has no '{attribute}'; write {attribute} = windlass.App()"
        ) from None
    if not isinstance(app, App):
        raise ConfigError(f"{spec} is a {type(app).__name__}, not a windlass.App")
    if not app.handlers:
        raise ConfigError(f"{spec} has no handlers yet; decorate a function with @{attribute}.task()")
    return app


def _why(error: BaseException) -> str:
    if isinstance(error, ConfigError):
        return error.detail
    return traceback.format_exc()[-_DETAIL_CHARS:]


def _serve(app: App, wire: Wire) -> None:
    splitter = Splitter(upward=False)
    frames: list[Frame] = []
    while not frames:
        frames = list(splitter.feed(wire.receive(wait=True)))
    welcome, *rest = frames
    if not isinstance(welcome, Welcome):
        raise WorkerError(f"the server began with {type(welcome).__name__}", code="protocol_error")
    settings = msgspec.convert(welcome.settings, WorkerSettings)
    if welcome.role is Isolation.SHARED:
        asyncio.run(_share(SharedSession(app, wire, splitter, settings), rest))
    else:
        SoloSession(app, wire, splitter, settings).run(rest)


async def _share(session: SharedSession, frames: list[Frame]) -> None:
    await session.run(frames)
