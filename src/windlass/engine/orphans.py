"""Directories of files that no task knows: how they are told from others, and their removal once nobody wants them.

Touches nothing whose name is not a task's id: what else lies there is nobody's business.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

from windlass.contracts.tasks import Tasks
from windlass.core.ids import TaskId, parse_task_ref
from windlass.core.limits import ORPHAN_KEEP_S
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()
_PART = 100
"""Directories looked at by one visit to a thread."""


def directories_of(files: Path) -> Iterator[TaskId]:
    """Name the directories in `files` that are called like a task."""
    try:
        for entry in files.iterdir():
            ref = parse_task_ref(entry.name)
            if isinstance(ref, str) and ref == entry.name and entry.is_dir():
                yield ref
    except FileNotFoundError:
        return


async def is_orphan(tasks: Tasks, name: TaskId) -> bool:
    """Whether the directory called `name` belongs neither to a task nor to one that is still being removed."""
    if await tasks.get(name) is not None:
        return False
    tombstone = await tasks.tombstone(name)
    return tombstone is None or tombstone.is_swept


async def remove_orphans(tasks: Tasks, files: Path, *, now: datetime) -> None:
    """Remove the directories in `files` that no task knows and in which nothing was made for long.

    Concurrency: beside anything: the task of a directory is in the store before the directory is there. Idempotent.
    """
    names = directories_of(files)
    removed = left = 0
    while part := await asyncio.to_thread(lambda: list(islice(names, _PART))):
        orphans = [files / name for name in part if await is_orphan(tasks, name)]
        old = await asyncio.to_thread(_remove_old, orphans, now.timestamp() - ORPHAN_KEEP_S)
        removed, left = removed + old, left + len(orphans) - old
    if removed or left:
        _log.info(words.ORPHANS_FOUND, removed=removed, left=left, keep_s=ORPHAN_KEEP_S)


def _remove_old(directories: list[Path], before: float) -> int:
    """Remove those of `directories` in which nothing was made since `before`, seconds since 1970; give how many."""
    removed = 0
    for directory in directories:
        try:
            if _changed_at(directory) < before:
                shutil.rmtree(directory)
                removed += 1
        except OSError as error:
            _log.warning(words.REMAINS_KEPT, error=str(error), task_id=directory.name)
    return removed


def _changed_at(directory: Path) -> float:
    """Say when a name was last made in or taken from `directory`; of one that is gone, never."""
    try:
        return directory.stat().st_mtime
    except OSError:
        return math.inf
