"""The app of the built-in kinds, as their workers import it. Holds no logic."""

from __future__ import annotations

from importlib.metadata import version

from windlass.app.app import App
from windlass.core.kind import BUILTIN_APP
from windlass.handlers.download.handler import download
from windlass.handlers.http_call.handler import http
from windlass.handlers.simulate import simulate

app = App(name=BUILTIN_APP, version=version("windlass"))
app.task(timeout=None, isolation="shared")(download)
app.task(timeout="15m", isolation="shared")(http)
app.task(timeout="15m", isolation="shared")(simulate)
