"""Instants as whole microseconds since 1970, the form in which stores keep and compare them. Reads no clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(at: datetime) -> int:
    """Count the microseconds of an aware instant, exactly.

    >>> to_micros(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    """Give the instant, in UTC, that `to_micros` counted.

    >>> from_micros(86_400_000_001).isoformat()
    '1970-01-02T00:00:00.000001+00:00'
    """
    return _EPOCH + timedelta(microseconds=micros)
