"""Durations as people write them: a number of seconds, or a string with units."""

from __future__ import annotations

import math
import re

from windlass.errors import InputError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)


def parse_duration(value: float | str, *, pointer: str, max_s: float) -> float:
    """Read a duration into seconds.

    Raises:
        InputError: no duration, without a unit, negative, or above `max_s`.

    >>> parse_duration("1h30m", pointer="/timeout", max_s=1e6), parse_duration(2.5, pointer="/delay", max_s=60)
    (5400.0, 2.5)
    """
    if isinstance(value, str):
        text = value.strip()
        parts = list(_PART.finditer(text))
        if not parts or "".join(part.group() for part in parts) != text:
            hint = f"; a bare number has no unit: write '{text}s'" if _PART.fullmatch(f"{text}s") else ""
            raise InputError(
                f"'{text[:32]}' is no duration: write seconds as a number, or a string like '90s', '5m', '1h30m'{hint}",
                code="bad_duration",
                pointer=pointer,
            )
        seconds = sum(float(part.group(1)) * _UNITS[part.group(2)] for part in parts)
    else:
        seconds = float(value)
    if not math.isfinite(seconds) or seconds < 0:
        raise InputError(
            "a duration must be a finite number of seconds, 0 or more", code="bad_duration", pointer=pointer
        )
    if seconds > max_s:
        raise InputError(f"a duration here is at most {max_s:g} seconds", code="bad_duration", pointer=pointer)
    return seconds
