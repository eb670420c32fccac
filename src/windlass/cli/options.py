"""What commands have in common: where the server is, and how words of the command line become values.

Sends nothing and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from windlass.core.limits import DELAY_MAX_S, TIMEOUT_MAX_S
from windlass.errors import InputError
from windlass.wire.codec import decode_strict
from windlass.wire.durations import parse_duration

if TYPE_CHECKING:
    from windlass.client.sync import Client

DEFAULT_URL = "http://127.0.0.1:8080"

FOREVER = "forever"
"""What `--wait` without a time stands for."""

_COMMON = Group("Common", sort_key=9)


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """The options of every command that talks to a server."""

    url: Annotated[
        str, Parameter(group=_COMMON, env_var="WINDLASS_URL", help="Address of the server.", metavar="URL")
    ] = DEFAULT_URL
    json: Annotated[
        bool, Parameter(group=_COMMON, negative="", show_default=False, help="Print JSON, lists one per line.")
    ] = False

    def client(self) -> Client:
        """Make a client of that server, to be closed by the caller."""
        from windlass.client.sync import Client

        return Client(self.url)


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


def spell_out(words: Sequence[str]) -> list[str]:
    """Give the two short spellings of `submit` their long form: `-` for stdin, and `--wait` without a time.

    >>> spell_out(["submit", "--wait", "build", "-"]), spell_out(["submit", "build", "--wait", "5m"])
    (['submit', '--wait=forever', 'build', '--stdin'], ['submit', 'build', '--wait', '5m'])
    """
    if not words or words[0] != "submit":
        return list(words)
    spelled: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return [*spelled, *words[index:]]
        if word == "-":
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
