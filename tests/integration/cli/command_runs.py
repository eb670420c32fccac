"""How a command was run, and how it ended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

WINDLASS = Path(sys.executable).with_name("windlass")
"""The installed command."""


class Ended(NamedTuple):
    """How a command has ended, and what it wrote."""

    code: int
    out: str
    err: str
