"""Reads the head of a response, line by line, within limits.

Does no I/O; the body is none of its business.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from windlass.core.limits import KIB, RETRY_AFTER_MAX_S
from windlass.outbound.failure import FailureClass, TransferFailed

HEAD_BYTES = 64 * KIB
HEAD_FIELDS = 100
INTERIM_HEADS = 10
"""LIMIT: responses of the 1xx kind before the real one."""


class Head(msgspec.Struct, frozen=True):
    """Status and fields of a response; names in lower case, in the order they came."""

    status: int
    fields: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """Give the field's value, several of one name joined by commas; None when it is not there."""
        values = [value for key, value in self.fields if key == name]
        return ", ".join(values) if values else None

    @property
    def location(self) -> str:
        """The Location field, read as the UTF-8 that servers mean when they send more than ASCII; empty if missing."""
        value = self.get("location") or ""
        try:
            return value.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return value

    @property
    def content_length(self) -> int | None:
        """The body's announced length; None when it is not announced, or the body comes in chunks."""
        value = self.get("content-length")
        return None if value is None or self.get("transfer-encoding") is not None else int(value)

    def retry_after_s(self, now: datetime) -> float | None:
        """How long the server asks to be left alone, at most an hour; None when it does not say so readably.

        >>> Head(503, (("retry-after", "7"),)).retry_after_s(datetime.now(UTC))
        7.0
        """
        value = (self.get("retry-after") or "").strip()
        if re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
            return min(float(value), RETRY_AFTER_MAX_S)
        instant = parse_date(value)
        if instant is None:
            return None
        return min(max(0.0, (instant - now).total_seconds()), RETRY_AFTER_MAX_S)


def parse_date(text: str | None) -> datetime | None:
    """Read an HTTP date; None when it is none."""
    if not text:
        return None
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


class HeadReader:
    """Collects header lines into the final head; what comes after it (trailers) is counted and dropped."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._size = 0
        self._interim = 0
        self._status: int | None = None
        self._fields: list[tuple[str, str]] = []
        self._done = False

    def feed(self, line: bytes) -> Head | None:
        """Take in one line; give the head when this line ends it.

        Raises:
            TransferFailed: `bad_response`; it is malformed, or larger than a head may be.
        """
        self._size += len(line)
        if self._size > HEAD_BYTES or len(self._fields) > HEAD_FIELDS:
            raise self._bad(f"headers of more than {HEAD_FIELDS} fields or {HEAD_BYTES // KIB} KiB")
        if self._done:
            return None
        text = line.rstrip(b"\r\n").decode("latin-1")
        if self._status is None:
            self._status = self._read_status(text)
        elif text:
            name, colon, value = text.partition(":")
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise self._bad("a header that cannot be read")
            self._fields.append((name.lower(), value.strip(" \t")))
        else:
            return self._end(self._status)
        return None

    def _read_status(self, text: str) -> int:
        match = re.fullmatch(r"HTTP/[0-9](?:\.[0-9])? ([1-9][0-9]{2})(?: .*)?", text)
        if match is None:
            raise self._bad("a status line that cannot be read")
        return int(match[1])

    def _end(self, status: int) -> Head | None:
        if status == 101:
            raise self._bad("a switch of protocols that nobody asked for")
        if status < 200:
            self._interim += 1
            if self._interim > INTERIM_HEADS:
                raise self._bad("interim responses without end")
            self._status, self._fields = None, []
            return None
        self._done = True
        head = Head(status, tuple(self._fields))
        self._check_framing(head)
        return head

    def _check_framing(self, head: Head) -> None:
        length = head.get("content-length")
        if length is not None and not re.fullmatch(r"[0-9]{1,18}", length, re.ASCII):
            raise self._bad("a Content-Length that is no plain number")
        coding = head.get("transfer-encoding")
        if coding is not None and (coding.lower() != "chunked" or length is not None):
            raise self._bad("a length and chunks, or an unknown transfer coding")

    def _bad(self, what: str) -> TransferFailed:
        return TransferFailed(f"{self._host} sent {what}", code="bad_response", kind=FailureClass.PERMANENT)
