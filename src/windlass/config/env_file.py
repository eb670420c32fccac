"""The format of `.env`: lines of the form `NAME=value`, as shells write them.

Reads no file, expands nothing, and knows no settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LINE = re.compile(r"(?:export\s+)?([^\s=]+)\s*(=?)(.*)", re.DOTALL)
_COMMENT = re.compile(r"\s#")


class Line(NamedTuple):
    """A line that names something; `problem` says why it gives no value."""

    number: int
    name: str
    value: str
    problem: str = ""


def parse_lines(text: str) -> Iterator[Line]:
    r"""Give the lines that name something, in their order; blank lines and comments do not.

    A value ends at white space before a `#`, unless it is quoted; what is in quotes is taken as it stands. A bare name
    (`export NAME`) sets nothing.

    >>> [line[:3] for line in parse_lines("A=1 # one\n\n# B=2\nexport C='x # y'\nD\n")]
    [(1, 'A', '1'), (4, 'C', 'x # y')]
    """
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line.startswith("#") or (found := _LINE.match(line)) is None:
            continue
        name, equals, written = found.groups()
        if equals:
            yield Line(number, name, *_unquote(written))
        elif written:
            yield Line(number, name, "", "sets nothing: write NAME=value")


def _unquote(written: str) -> tuple[str, str]:
    """Give the value, and what is wrong with it."""
    text = written.strip()
    if not text.startswith(("'", '"')):
        return _COMMENT.split(written, maxsplit=1)[0].strip(), ""
    value, closing, rest = text[1:].partition(text[0])
    if not closing:
        return "", f"has an opening {text[0]} that is never closed"
    if rest and not _COMMENT.match(rest):
        return "", f"goes on after its closing {text[0]}: put the whole value into quotes of the other sort"
    return value, ""
