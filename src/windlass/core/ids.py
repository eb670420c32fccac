"""Typed names of tasks, attempts and servers, and their spelling.

Makes none of them: a pure module has no clock and no randomness (see `contracts.clock.Ids`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NewType

TaskId = NewType("TaskId", str)
"""A UUIDv7 in canonical spelling; public, unguessable enough to share, sorted by creation."""

Token = NewType("Token", str)
"""The unguessable name of one lease: 32 hex digits, new at every claim, named by every write of the attempt."""

ServerId = NewType("ServerId", str)
"""The name of one run of a server: a UUIDv7, new at every start."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def parse_task_ref(text: str) -> TaskId | int | None:
    """Read what a person or client calls a task by: its UUID or its number; None when it is neither.

    >>> parse_task_ref("17")
    17
    >>> parse_task_ref("0192E4A0-0000-7000-8000-000000000001")
    '0192e4a0-0000-7000-8000-000000000001'
    >>> parse_task_ref("../etc") is None
    True
    """
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    lowered = text.lower()
    return TaskId(lowered) if _UUID.fullmatch(lowered) else None


@lru_cache(maxsize=1024)
def is_name(text: str) -> bool:
    """Whether a queue, kind or tag may be called so: 1-64 of letters, digits, dot, underscore, hyphen.

    >>> is_name("reports.daily"), is_name("../x"), is_name("")
    (True, False, False)
    """
    return _NAME.fullmatch(text) is not None
