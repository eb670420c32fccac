"""Heads of responses, read line by line."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from windlass.outbound import head as module
from windlass.outbound.failure import FailureClass, TransferFailed, TransferStopped, class_of
from windlass.outbound.guard import DestinationBlocked
from windlass.outbound.head import Head, HeadReader, parse_date

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


def read(*lines: str) -> Head:
    reader = HeadReader("example.org")
    heads = [reader.feed(line.encode("latin-1") + b"\r\n") for line in lines]
    assert heads[:-1] == [None] * (len(lines) - 1)
    assert heads[-1] is not None
    return heads[-1]


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(module).failed == 0


def test_a_head_is_complete_at_its_empty_line() -> None:
    head = read("HTTP/1.1 206 Partial", "Content-Length:  7 ", "X-A: b", "x-a: c", "")
    assert (head.status, head.content_length, head.get("x-a"), head.get("y")) == (206, 7, "b, c", None)


@pytest.mark.parametrize(
    ("raw", "location"),
    [(b"/\xc3\xbc", "/\u00fc"), (b"/\xfc", "/\u00fc"), (b"/plain", "/plain"), (b"", "")],
)
def test_a_location_is_read_as_utf8_or_else_latin1(raw: bytes, location: str) -> None:
    assert read("HTTP/1.1 302 Found", "Location: " + raw.decode("latin-1"), "").location == location
    assert read("HTTP/1.1 302 Found", "").location == ""


def test_interim_heads_are_skipped() -> None:
    assert read("HTTP/1.1 103 Early", "Link: x", "", "HTTP/1.0 200", "A: b", "").fields == (("a", "b"),)


def test_trailers_are_not_taken_for_a_head() -> None:
    reader = HeadReader("example.org")
    for line in (b"HTTP/1.1 200 OK\r\n", b"\r\n", b"Digest: x\r\n", b"\r\n"):
        head = reader.feed(line)
    assert head is None


def test_a_body_in_chunks_has_no_length() -> None:
    assert read("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked", "").content_length is None


@pytest.mark.parametrize(
    "lines",
    [
        ("HTTP/1.1 20 OK",),
        ("ICY 200 OK",),
        ("HTTP/1.1 200 OK", "no colon"),
        ("HTTP/1.1 200 OK", ": empty"),
        ("HTTP/1.1 200 OK", "bad name: x"),
        ("HTTP/1.1 200 OK", "Content-Length: 0x7", ""),
        ("HTTP/1.1 200 OK", "Content-Length: \xb2", ""),
        ("HTTP/1.1 200 OK", "Content-Length: 1", "Content-Length: 2", ""),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: identity", ""),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Content-Length: 1", ""),
        ("HTTP/1.1 101 Switching", ""),
        ("HTTP/1.1 100 Continue", "") * 11,
        ("HTTP/1.1 200 OK", *("A: b",) * 102),
        ("HTTP/1.1 200 OK", *("A: " + "b" * 8000,) * 9),
    ],
)
def test_a_head_that_is_malformed_or_too_large_is_a_bad_response(lines: tuple[str, ...]) -> None:
    with pytest.raises(TransferFailed, match=r"^example\.org sent ") as failure:
        read(*lines)
    assert (failure.value.code, failure.value.kind) == ("bad_response", FailureClass.PERMANENT)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("999999", 3600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 400, None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_read_leniently_and_capped_at_an_hour(value: str, seconds: float | None) -> None:
    assert Head(503, (("retry-after", value),)).retry_after_s(NOW) == seconds


def test_a_date_without_a_zone_is_taken_as_utc() -> None:
    assert parse_date("Thu, 01 Oct 2026 12:00:00 -0000") == NOW
    assert parse_date(None) is None


def test_every_failure_has_its_class() -> None:
    assert class_of(DestinationBlocked("no")) is FailureClass.PERMANENT
    slow = TransferFailed("slow", code="too_slow", kind=FailureClass.TRANSIENT)
    assert class_of(slow) is FailureClass.TRANSIENT
    assert slow.retryable
    assert TransferStopped("stop").retryable
