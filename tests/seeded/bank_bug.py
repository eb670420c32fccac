"""What a seeded bug is. Holds none."""

from __future__ import annotations

from typing import NamedTuple


class Bug(NamedTuple):
    """Put `new` in the place of `old`, which stands in `file` once, and one of `tests` fails."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    needs_strace: bool = False
