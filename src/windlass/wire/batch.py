"""The body of a batch into its items, as bytes and one after the other: what is large is never read as a whole.

Says where an item ends, and nothing of whether it is right: that is found out by `codec`, item by item.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from windlass.errors import InputError

_OPENING = re.compile(rb'[ \t\r\n]*+\{[ \t\r\n]*+"tasks"[ \t\r\n]*+:[ \t\r\n]*+\[[ \t\r\n]*+')
_AFTER_ITEM = re.compile(rb"[ \t\r\n]*+([,\]])[ \t\r\n]*+")
_CLOSING = re.compile(rb"\}[ \t\r\n]*+")
_SCALAR = re.compile(rb"[^ \t\r\n,\[\]{}\"]++")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}"]', re.DOTALL)
_LINE = re.compile(rb"[^ \t\r\n][^\n]*+")
_QUOTE, _OPENERS = 0x22, b"[{"

_FORM: Final = 'a batch is an object with one field: {"tasks": [...]}'


class NotABatch(InputError):
    """What is around the items is not as it should be."""

    code = "invalid_value"


def items_of_document(body: bytes, *, max_bytes: int) -> Iterator[bytes]:
    """Give the items of `{"tasks": [...]}`.

    Raises:
        NotABatch: it has another form.
        InputError: an item has more than `max_bytes`; without its place, which the caller has counted.
    """
    opening = _OPENING.match(body)
    if opening is None:
        raise NotABatch(_FORM, code="invalid_value", pointer="/tasks")
    at = opening.end()
    if body[at : at + 1] == b"]":
        following = _AFTER_ITEM.match(body, at)
    else:
        following = None
        while following is None or following[1] == b",":
            end = _end_of_item(body, at, max_bytes)
            yield body[at:end]
            following = _AFTER_ITEM.match(body, end)
            if following is None:
                raise _no_json("a comma or the end of the list is missing", end)
            at = following.end()
    if following is None or _CLOSING.fullmatch(body, following.end()) is None:
        raise NotABatch(_FORM, code="invalid_value", pointer="")


def items_of_lines(body: bytes, *, max_bytes: int) -> Iterator[bytes]:
    """Give the lines of NDJSON; empty ones are passed over and not counted.

    Raises:
        InputError: a line has more than `max_bytes`.
    """
    for found in _LINE.finditer(body):
        line = found[0].rstrip(b" \t\r")
        if len(line) > max_bytes:
            raise _too_large(max_bytes)
        yield line


def _end_of_item(body: bytes, at: int, max_bytes: int) -> int:
    """Find where the value that begins at `at` ends: by its brackets, those inside strings left out."""
    if scalar := _SCALAR.match(body, at):
        return scalar.end()
    depth = 0
    for token in _TOKEN.finditer(body, at):
        end = token.end()
        if end - at > max_bytes:
            raise _too_large(max_bytes)
        mark = body[token.start()]
        if mark == _QUOTE:
            if end - token.start() == 1:
                raise _no_json("a string does not end", token.start())
        elif mark in _OPENERS:
            depth += 1
        else:
            depth -= 1
        if depth <= 0:
            return end
    raise _no_json("it ends too early", len(body))


def _too_large(max_bytes: int) -> InputError:
    return InputError(f"one task may have {max_bytes:,} bytes (the setting body_bytes)", code="body_too_large")


def _no_json(what: str, at: int) -> NotABatch:
    return NotABatch(f"this is no JSON: {what} (byte {at})", code="invalid_json", offset=at)
