"""Log lines: structured, one a line, on stderr. Must never block or kill what it tells of."""

from __future__ import annotations

import atexit
import logging
import math
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import structlog

from windlass.telemetry import vocabulary as words
from windlass.telemetry.writer import Writer

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_VALUE_CHARS = 2_048
_EXCEPTION_CHARS = 16_384
_ITEMS = 100
_PLAIN_CHARS = 1_024
"""A line no longer than this in which every character can be printed needs no taming."""
_INT_BITS = 63

Logger = Any
"""A structlog logger: `log.info("event.name", field=value)`."""
Fields = dict[str, Any]
"""What a line says, its name as `event`."""

T = TypeVar("T")


def configure(*, level: str, style: str) -> None:
    """Set up logging for the process: `style` is `console`, `json`, or `auto` (console on a terminal)."""
    is_terminal = _is_terminal()
    console = style == "console" or (style == "auto" and is_terminal)
    renderer: Any = structlog.dev.ConsoleRenderer(colors=is_terminal, pad_event_to=24) if console else _to_json
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
    _batches.are_told = _LEVELS[level] <= logging.INFO
    _batches.render = (lambda fields: renderer(None, "info", _tame(None, "info", fields))) if console else _plain_json


def get_logger() -> Logger:
    """Give the logger; may be called before `configure`."""
    return structlog.get_logger()


def tell_each(things: Sequence[T], words_for: Callable[[T], Fields]) -> None:
    """Log a line of level info for each of `things`, which must not change any more, in the words of `words_for`.

    Costs the caller one hand-over for all of them: words and lines are made in the thread that writes.
    """
    if things and _batches.are_told:
        at, render = f"{datetime.now(UTC).replace(tzinfo=None).isoformat()}Z", _batches.render

        def line(thing: T) -> str:
            fields = words_for(thing)
            fields["level"], fields["timestamp"] = "info", at
            return render(fields)

        _writer.put(things, line)


class _Batches:
    """What `configure` has chosen for lines that do not pass through structlog."""

    def __init__(self) -> None:
        self.are_told = False
        self.render: Callable[[Fields], str] = _plain_json


def _to_json(_logger: object, _method: str, fields: Fields) -> str:
    return msgspec.json.encode(fields).decode()


def _plain_json(fields: Fields) -> str:
    """Render fields that are most likely tame already."""
    try:
        line = msgspec.json.encode(fields).decode()
        if len(line) <= _PLAIN_CHARS and line.isprintable():
            return line
    except (TypeError, ValueError, OverflowError):
        pass
    return _to_json(None, "info", _tame(None, "info", fields))


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
    if value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and value.bit_length() <= _INT_BITS:
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


_batches = _Batches()


def _tell_of_dropped(lines: int) -> None:
    get_logger().warning(words.LOG_DROPPED, lines=lines)


_writer = Writer(_tell_of_dropped)


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
        _writer.put((message,), str)

    debug = info = warning = error = critical = log = msg
