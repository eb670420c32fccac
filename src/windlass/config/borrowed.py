"""Variables that other services read, taken as settings of ours so that a deployment need not change.

Ranks nothing: `load` lets every name of ours win over them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_SETTINGS: Final = {
    "HTTP_HOST": "host",
    "HTTP_PORT": "port",
    "LOG_LEVEL": "log_level",
    "WORKERS": "dialects.enqueue.concurrency",
    "QUEUE_SIZE": "dialects.enqueue.capacity",
}
_MODE: Final = "APP_MODE"
_MODES: Final[Mapping[str, Mapping[str, str]]] = {
    "release": {},
    "debug": {"log_level": "debug", "log_format": "console"},
}
_LEVELS: Final = {"warn": "warning"}

# The mode comes first: a level of its own wins over the mode's.
BORROWED: Final = (_MODE, *_SETTINGS)
"""The names, in the order in which they count."""


def settings_of(variable: str, value: str) -> Mapping[str, str]:
    """Say which settings the variable gives, by their dotted names, each as the text that the setting reads.

    Raises:
        ValueError: it takes words of its own, and this is none of them.

    >>> settings_of("LOG_LEVEL", "WARN"), settings_of("QUEUE_SIZE", "8")
    ({'log_level': 'warning'}, {'dialects.enqueue.capacity': '8'})
    """
    if variable == _MODE:
        mode = value.strip().lower()
        if mode not in _MODES:
            raise ValueError(f"must be one of {', '.join(sorted(_MODES))}, not {value[:64]!r}")
        return _MODES[mode]
    if variable == "LOG_LEVEL":
        level = value.strip().lower()
        value = _LEVELS.get(level, level)
    return {_SETTINGS[variable]: value}
