"""What commands have in common: where the server is, and how words of the command line become values.

Sends nothing and prints nothing.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from windlass.core.limits import BATCH_BYTES, DELAY_MAX_S, KIB, TIMEOUT_MAX_S
from windlass.errors import InputError
from windlass.wire.codec import decode_strict
from windlass.wire.durations import parse_duration

if TYPE_CHECKING:
    from windlass.client.sync import Client

DEFAULT_URL = "http://127.0.0.1:8080"

KEY_VARIABLE = "WINDLASS_KEY"
"""Holds the key to the server. No option does: every user of the machine can read a command line."""

FOREVER = "forever"
"""What `--wait` without a time stands for."""

_AGO_MAX_S = 100 * 366 * 86_400.0

_COMMON = Group("Common", sort_key=9)


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """The options of every command that talks to a server."""

    url: Annotated[
        str, Parameter(group=_COMMON, env_var="WINDLASS_URL", help="Address of the server.", metavar="URL")
    ] = DEFAULT_URL
    key_file: Annotated[
        Path | None,
        Parameter(
            group=_COMMON,
            env_var="WINDLASS_KEY_FILE",
            help="File that holds the key to the server; without it, the variable WINDLASS_KEY does.",
        ),
    ] = None
    json: Annotated[
        bool, Parameter(group=_COMMON, negative="", show_default=False, help="Print JSON, lists one per line.")
    ] = False

    def client(self) -> Client:
        """Make a client of that server, to be closed by the caller."""
        from windlass.client.sync import Client

        key = os.environ.get(KEY_VARIABLE) if self.key_file is None else _read_key_file(self.key_file)
        return Client(self.url, key=key or None)


def _read_key_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            others = os.fstat(file.fileno()).st_mode & stat.S_IROTH
            text = file.read(KIB)
    except OSError as error:
        detail = f"{path} cannot be read: {error.strerror}"
        raise InputError(detail, code="bad_key_file", pointer="--key-file") from None
    if others:
        raise InputError(
            f"every user of this machine may read {path}, and what it holds is secret: chmod o-r {path}",
            code="bad_key_file",
            pointer="--key-file",
        )
    return text.decode("ascii", "replace").strip()


COMMON = Common()
"""The options as they are when none of them is given."""


def parse_seconds(text: str, option: str, *, max_s: float = TIMEOUT_MAX_S) -> float:
    """Read a duration of the command line, where a bare number is seconds.

    Raises:
        InputError: it is no duration.

    >>> parse_seconds("90", "--wait"), parse_seconds("1h30m", "--wait")
    (90.0, 5400.0)
    """
    value = float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else text
    return parse_duration(value, pointer=option, max_s=max_s)


def parse_instant(text: str, option: str, *, now: datetime) -> datetime:
    """Read an instant: as such, with its time zone, or as how long before `now`.

    Raises:
        InputError: it is neither.

    >>> from datetime import UTC
    >>> now = datetime(2026, 11, 20, 15, tzinfo=UTC)
    >>> f"{parse_instant('2h', '--after', now=now)} {parse_instant('2026-11-20T14:00+01:00', '--after', now=now)}"
    '2026-11-20 13:00:00+00:00 2026-11-20 14:00:00+01:00'
    """
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None:
        try:
            return now - timedelta(seconds=parse_duration(text, pointer=option, max_s=_AGO_MAX_S))
        except InputError:
            pass
    elif instant.tzinfo is not None:
        return instant
    raise InputError(
        f"'{text[:32]}' is no time: write an instant like 2026-11-20T15:00:00Z, or how long ago, like 90s or 2h",
        code="bad_instant",
        pointer=option,
    )


def parse_wait(text: str | None) -> float | None:
    """Read how long to wait; None for as long as it takes."""
    return None if text is None or text == FOREVER else parse_seconds(text, "--wait", max_s=DELAY_MAX_S)


def parse_pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """Read words of the form `name=value`.

    Raises:
        InputError: a word is not of that form, or names the same twice.
    """
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise InputError(f"'{word}' is not of the form name=value", code="bad_pair", pointer=option)
        if name in pairs:
            raise InputError(f"'{name}' is given twice", code="bad_pair", pointer=option)
        pairs[name] = value
    return pairs


def parse_fields(words: Iterable[str]) -> dict[str, Any]:
    """Read the fields of a payload: what is JSON is taken as such, anything else is text.

    >>> parse_fields(["id=7", "month=2026-11", 'tags=["a"]', 'code="7"', "on=true"])
    {'id': 7, 'month': '2026-11', 'tags': ['a'], 'code': '7', 'on': True}
    """
    return {name: _parse_value(text) for name, text in parse_pairs(words, "payload").items()}


def parse_document(raw: bytes) -> dict[str, Any]:
    """Read a whole payload.

    Raises:
        InputError: it is no JSON object.
    """
    try:
        document = decode_strict(raw)
    except InputError as error:
        raise InputError(f"what stdin holds cannot be used: {error}", code=error.code, pointer="payload") from None
    if not isinstance(document, dict):
        raise InputError("what stdin holds is no JSON object", code="invalid_json", pointer="payload")
    return document  # pyright: ignore[reportUnknownVariableType]


def read_lines(source: str) -> bytes:
    """Read the lines of a batch from a file, or from stdin where that is `-`.

    Raises:
        InputError: there are more than a server takes.
        OSError: the file cannot be read.
    """
    if source == "-":
        lines = sys.stdin.buffer.read(BATCH_BYTES + 1)
    else:
        with Path(source).open("rb") as file:
            lines = file.read(BATCH_BYTES + 1)
    if len(lines) > BATCH_BYTES:
        raise InputError(f"a batch may have {BATCH_BYTES:,} bytes: split it", code="batch_too_large", pointer="--batch")
    return lines


def spell_out(words: Sequence[str]) -> list[str]:
    """Give the short spellings of `submit` their long form: `-` for stdin, and `--wait` without a time.

    >>> spell_out(["submit", "--wait", "build", "-"]), spell_out(["submit", "build", "--wait", "5m"])
    (['submit', '--wait=forever', 'build', '--stdin'], ['submit', 'build', '--wait', '5m'])
    >>> spell_out(["submit", "--batch", "-"])
    ['submit', '--batch=-']
    """
    if not words or words[0] != "submit":
        return list(words)
    spelled: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return [*spelled, *words[index:]]
        if word == "-" and spelled[-1] == "--batch":
            spelled[-1] = "--batch=-"
        elif word == "-":
            spelled.append("--stdin")
        elif word == "--wait" and not _is_duration(words[index + 1 : index + 2]):
            spelled.append(f"--wait={FOREVER}")
        else:
            spelled.append(word)
    return spelled


def _is_duration(words: Sequence[str]) -> bool:
    try:
        return bool(words) and (words[0] == FOREVER or parse_seconds(words[0], "--wait") >= 0)
    except InputError:
        return False


def _parse_value(text: str) -> Any:
    try:
        return decode_strict(text.encode())
    except UnicodeError:
        return text
    except InputError as error:
        # What is almost JSON (a key twice, a number too large) was hardly meant as text.
        if error.code in ("invalid_json", "non_finite_number"):
            return text
        raise
