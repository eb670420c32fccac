"""Decides whether what is on disk may be continued, and what an answer to that question means. Pure.

Bytes of two representations are never mixed: where there is doubt, the file starts again from 0.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

import msgspec

from windlass.errors import WindlassError
from windlass.outbound.failure import FailureClass, TransferFailed
from windlass.outbound.head import Head, parse_date

SETTLED = timedelta(seconds=60)
"""A Last-Modified younger than this may be shared by two versions of one second. Source: RFC 9110 § 8.8.2.2."""


class Validator(msgspec.Struct, frozen=True):
    """What names one representation beyond doubt: a strong ETag, or a Last-Modified that is old enough."""

    field: Literal["etag", "last-modified"]
    value: str


class Answer(msgspec.Struct, frozen=True):
    """What the head of an answer means for the bytes on disk."""

    action: Literal["restart", "continue", "complete"]
    size: int | None
    validator: Validator | None


class RangeRefused(WindlassError):
    """The answer to a range does not fit what was asked: start again without one."""

    code = "bad_range"
    retryable = True


def validator_of(head: Head) -> Validator | None:
    """Give what the representation can be recognised by later; None when nothing is strong enough."""
    if (head.get("accept-ranges") or "").strip().lower() == "none":
        return None
    etag = head.get("etag")
    if etag is not None:
        # A weak one says that bytes may differ; then a date says no more.
        return Validator("etag", etag) if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]*"', etag) else None
    modified, now = parse_date(head.get("last-modified")), parse_date(head.get("date"))
    if modified is None or now is None or now - modified < SETTLED:
        return None
    return Validator("last-modified", head.get("last-modified") or "")


def conditions(offset: int, validator: Validator | None) -> tuple[tuple[str, str], ...]:
    """Give the headers that ask for the rest from `offset`, and for everything if the file has changed."""
    if not offset or validator is None:
        return ()
    return ("Range", f"bytes={offset}-"), ("If-Range", validator.value)


def read_answer(head: Head, *, host: str, offset: int, size: int | None, validator: Validator | None) -> Answer:
    """Judge the head of an answer; `offset` is 0 when no range was asked for.

    Raises:
        RangeRefused: it does not continue the bytes on disk, nor replace them.
        TransferFailed: `bad_response`; a range came that nobody asked for.
    """
    if head.status == 200:
        return Answer("restart", head.content_length, validator_of(head))
    if not offset or validator is None:
        raise TransferFailed(
            f"{host} sent a part of the file when all of it was asked for",
            code="bad_response",
            kind=FailureClass.PERMANENT,
        )
    if not _is_same(head, validator):
        raise RangeRefused(f"{host} sent a part of another version of the file")
    if head.status == 416:
        match = re.fullmatch(r"bytes \*/([0-9]{1,18})", head.get("content-range") or "")
        if match is None or int(match[1]) != offset or size not in (None, offset):
            raise RangeRefused(f"{host} has no bytes from {offset:,} on")
        return Answer("complete", offset, validator)
    total = _total(head, offset)
    if total is None or size not in (None, total):
        raise RangeRefused(f"{host} sent another part of the file than was asked for")
    return Answer("continue", total, validator)


def _is_same(head: Head, validator: Validator) -> bool:
    """Whether the answer carries the validator; a 206 may leave a date out, an ETag it may not.

    Source: RFC 9110 § 15.3.7.
    """
    value = head.get(validator.field)
    if value is None:
        return validator.field == "last-modified" and head.status == 206
    return value == validator.value


def _total(head: Head, offset: int) -> int | None:
    """Read the whole size out of a 206; None when it is not the part from `offset` on, or says different things."""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", head.get("content-range") or "")
    if match is None:
        return None
    first, last, total = map(int, match.groups())
    length = head.content_length
    fits = first == offset <= last < total and length in (None, last - first + 1)
    return total if fits else None
