"""Figures, spans, instants and foreign text as people read them on a terminal. Pure: knows no clock and no stream."""

from __future__ import annotations

import unicodedata
from datetime import datetime

_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
# Control characters steer terminals; format characters (bidi among them) make text look like what it is not.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(text: str, *, keep: str = "") -> str:
    r"""Escape what could steer a terminal or mislead its reader; `keep` lists control characters to let through.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSAFE and char not in keep else char
        for char in text
    )


def size(count: float) -> str:
    """Say a number of bytes.

    >>> size(0), size(999), size(12_345), size(3_200_000_000)
    ('0 B', '999 B', '12.3 kB', '3.2 GB')
    """
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if count < 999.95:
            break
        count, unit = count / 1000, larger
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def span(seconds: float) -> str:
    """Say how long, in the two largest units that count.

    >>> span(0.25), span(6.24), span(200), span(90_000)
    ('250 ms', '6.2 s', '3 min 20 s', '1 d 1 h')
    """
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    left, words = round(seconds), list[str]()
    for unit_s, word in _SPANS:
        whole, left = divmod(left, unit_s)
        if whole:
            words.append(f"{whole} {word}")
        elif words:
            break
    return " ".join(words[:2])


def ago(at: datetime, *, now: datetime) -> str:
    """Say an instant in relation to `now`.

    >>> from datetime import timedelta, timezone
    >>> now = datetime(2026, 11, 20, 15, tzinfo=timezone.utc)
    >>> ago(now, now=now), ago(now - timedelta(minutes=3), now=now), ago(now + timedelta(hours=2), now=now)
    ('just now', '3 min ago', 'in 2 h')
    """
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    largest = " ".join(span(float(round(abs(seconds)))).split(" ")[:2])
    return f"{largest} ago" if seconds > 0 else f"in {largest}"


def instant(at: datetime, *, now: datetime) -> str:
    """Say an instant in local time, and in relation to `now`."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S} ({ago(at, now=now)})"


def figure(value: float, unit: str | None) -> str:
    """Say one figure of a progress in its unit.

    >>> figure(12, None), figure(12.5, "rows"), figure(12_345, "bytes")
    ('12', '12.5 rows', '12.3 kB')
    """
    if unit == "bytes":
        return size(value)
    number = f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
    return f"{number} {printable(unit)}" if unit else number


def amount(done: float, total: float | None, unit: str | None) -> str:
    """Say how much of how much.

    >>> amount(12, 100, "rows"), amount(12_345, 3_200_000, "bytes"), amount(7, None, None)
    ('12/100 rows', '12.3 kB/3.2 MB', '7')
    """
    if total is None:
        return figure(done, unit)
    return f"{figure(done, unit if unit == 'bytes' else None)}/{figure(total, unit)}"
