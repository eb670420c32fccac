"""Log lines: structured, one a line, on stderr. Must never block or kill what it tells of."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_VALUE_CHARS = 2_048

Logger = Any
"""A structlog logger: `log.info("event.name", field=value)`."""


def configure(*, level: str, style: str) -> None:
    """Set up logging for the process: `style` is `console`, `json`, or `auto` (console on a terminal)."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24)
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _tame,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_StderrFactory(),
        cache_logger_on_first_use=True,
    )


def get_logger() -> Logger:
    """Give the logger; may be called before `configure`."""
    return structlog.get_logger()


def _tame(_logger: object, _method: str, fields: Any) -> Any:
    """Cap long values and escape control characters, so that a line stays one line and no terminal is steered."""
    for name, value in fields.items():
        if isinstance(value, str) and name != "exception":
            text = value if len(value) <= _VALUE_CHARS else value[:_VALUE_CHARS] + "…"
            fields[name] = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
    return fields


class _StderrFactory:
    """Makes loggers that write to stderr and shrug when nobody reads it any more."""

    def __call__(self, *_args: Any) -> _StderrLogger:
        return _StderrLogger()


class _StderrLogger:
    def msg(self, message: str) -> None:
        try:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # a closed pipe must not stop the work it was told about

    debug = info = warning = error = critical = log = msg
