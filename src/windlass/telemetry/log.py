"""Log lines: structured, one a line, on stderr. Must never block or kill what it tells of."""

from __future__ import annotations

import atexit
import logging
import math
import queue
import sys
import threading
import time
from typing import Any

import structlog

from windlass.telemetry import vocabulary as words

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_VALUE_CHARS = 2_048
_EXCEPTION_CHARS = 16_384
_ITEMS = 100
_LINES_WAITING = 10_000

Logger = Any
"""A structlog logger: `log.info("event.name", field=value)`."""


def configure(*, level: str, style: str) -> None:
    """Set up logging for the process: `style` is `console`, `json`, or `auto` (console on a terminal)."""
    is_terminal = _is_terminal()
    console = style == "console" or (style == "auto" and is_terminal)
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=is_terminal, pad_event_to=24)
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


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _tame(_logger: object, _method: str, fields: Any) -> Any:
    """Cap long values and escape control characters, so that a line stays one line and no terminal is steered."""
    for name, value in fields.items():
        if name == "exception":
            fields[name] = _tame_exception(value)
        elif isinstance(value, list | tuple):
            fields[name] = [_tame_value(item) for item in value[:_ITEMS]]  # pyright: ignore[reportUnknownVariableType]
        else:
            fields[name] = _tame_value(value)
    return fields


def _tame_value(value: Any) -> Any:
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else repr(value)
    return _escape(text if len(text) <= _VALUE_CHARS else text[:_VALUE_CHARS] + "…")


def _tame_exception(text: str) -> str:
    """Keep the lines of a traceback, the first and the last where they are too many."""
    if len(text) > _EXCEPTION_CHARS:
        half = _EXCEPTION_CHARS // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    return "\n".join(map(_escape, text.split("\n")))


def _escape(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class _Writer:
    """Writes lines to stderr from a thread of its own, so that a reader who has stopped reading stops nobody.

    LIMIT: what nobody reads is dropped beyond a bound, and counted.
    """

    def __init__(self) -> None:
        self._lines: queue.Queue[str] = queue.Queue(_LINES_WAITING)
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def put(self, line: str) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._write, name="windlass-log", daemon=True)
                    self._thread.start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def flush(self, within_s: float) -> None:
        """Give the lines that wait so long to be written."""
        give_up_at = time.monotonic() + within_s
        while self._lines.unfinished_tasks and time.monotonic() < give_up_at:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            try:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
                if self._dropped and self._lines.empty():
                    dropped, self._dropped = self._dropped, 0
                    get_logger().warning(words.LOG_DROPPED, lines=dropped)
            except (AttributeError, OSError, ValueError):
                continue  # no stderr, or a closed one, must not stop the work it was told about
            finally:
                self._lines.task_done()


_writer = _Writer()


def flush(within_s: float = 1.0) -> None:
    """Give the lines logged so far so long to be written, in seconds. Blocks."""
    _writer.flush(within_s)


atexit.register(flush)


class _StderrFactory:
    """Makes loggers that hand their lines to the writer."""

    def __call__(self, *_args: Any) -> _StderrLogger:
        return _StderrLogger()


class _StderrLogger:
    def msg(self, message: str) -> None:
        _writer.put(message)

    debug = info = warning = error = critical = log = msg
