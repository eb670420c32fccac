"""Names of files as labels that are safe on any disk. Pure; never trusts what a url or a caller calls a file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

NAME_BYTES = 150
"""LIMIT: leaves room under the 255 of file systems for what stands around a name while it is being fetched."""
PART = ".part"
EXTENSION_BYTES = 20
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?:\..*)?", re.IGNORECASE)


def label(wanted: str | None, url: str, index: int) -> str:
    r"""Give the label of a file: from the name its caller wants, else the url's last segment, else its index.

    >>> label(None, "https://example.org/a/b%20c.iso?x=1#y", 0)
    'b c.iso'
    >>> label("..\\..\\etc/passwd", "https://example.org/", 0), label(None, "https://example.org/", 3)
    ('passwd', 'file_3')
    """
    if wanted is None:
        path = re.split(r"[?#]", url.partition("://")[2], maxsplit=1)[0].partition("/")[2]
        wanted = unquote(path.rpartition("/")[2], errors="replace")
    return clean(wanted) or f"file_{index}"


def clean(text: str) -> str:
    """Make a label of any text; empty when nothing of it can stay.

    >>> clean("  .bashrc. "), clean("CON.txt"), clean("a:b?.iso"), clean("...")
    ('bashrc', '_CON.txt', 'a_b_.iso', '')
    """
    parts = [part for part in re.split(r"[/\\]", unicodedata.normalize("NFC", text)) if part.strip(". ")]
    kept = "".join(character for character in (parts[-1] if parts else "") if _is_plain(character))
    kept = re.sub(r'[:*?"<>|]', "_", kept).lstrip(". ").rstrip(". ")
    if kept.lower().endswith(PART):
        kept = kept[: -len(PART)] + "_" + kept[1 - len(PART) :]
    if _RESERVED.fullmatch(kept):
        kept = "_" + kept
    return _shorten(kept, "")


def distinct(labels: Iterable[str]) -> list[str]:
    """Number the labels that a file system might take for one another, in their order.

    >>> distinct(["a.iso", "A.ISO", "a.iso", "a (1).iso"])
    ['a.iso', 'A (1).ISO', 'a (2).iso', 'a (1) (1).iso']
    """
    taken: set[str] = set()
    counts: dict[str, int] = {}
    names: list[str] = []
    for wanted in labels:
        name, first = wanted, _fold(wanted)
        while _fold(name) in taken:
            counts[first] = counts.get(first, 0) + 1
            name = _shorten(wanted, f" ({counts[first]})")
        taken.add(_fold(name))
        names.append(name)
    return names


def _is_plain(character: str) -> bool:
    """Whether the character shows as itself: no control, no direction mark, no half of a pair, no separator."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _shorten(name: str, mark: str) -> str:
    """Put `mark` before the extension and cut what stands before it until all fits."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > EXTENSION_BYTES:
        stem, dot, extension = name, "", ""
    tail = mark + dot + extension
    room = NAME_BYTES - len(tail.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(". ") + tail
