"""What deleted tasks leave on the disk: removed, and then struck from the store's list of what is left.

Decides nothing about which tasks go: their rows are gone before it is asked.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence

from windlass.contracts.tasks import Sweep
from windlass.core.ids import TaskId
from windlass.engine.settler import Settler
from windlass.errors import WindlassError
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()

Gone = tuple[int, TaskId]
"""A deleted task: its number and its id, which names its directory."""


class Remains:
    """The directories of tasks that are no more; `files` is the directory of all tasks' directories.

    What cannot be removed, or not before the server ends, stays on the store's list.

    Concurrency: of one event loop.
    """

    def __init__(self, settler: Settler, *, files: str) -> None:
        self._settler = settler
        self.files = files
        self._removing: set[asyncio.Task[Sequence[int]]] = set()

    async def remove(self, gone: Sequence[Gone]) -> Sequence[int]:
        """Remove the directories of `gone`; give the numbers of those that are off the store's list.

        Concurrency: cancel-safe: one that leaves does not stop it. Idempotent.
        """
        removing = asyncio.create_task(self._remove(gone))
        self._removing.add(removing)
        removing.add_done_callback(self._removing.discard)
        # SHIELD: half a directory is of use to nobody.
        return await asyncio.shield(removing)

    async def wait(self) -> None:
        """Wait until nothing is being removed."""
        while self._removing:
            await asyncio.wait(self._removing)

    async def _remove(self, gone: Sequence[Gone]) -> Sequence[int]:
        numbers = await asyncio.to_thread(_remove_all, self.files, gone)
        try:
            if numbers:
                await self._settler.write(Sweep(tuple(numbers)))
        except WindlassError as error:
            _log.warning(words.REMAINS_KEPT, error=error.detail, tasks=len(numbers))
            return []
        return numbers


def _remove_all(files: str, gone: Sequence[Gone]) -> list[int]:
    """Remove directories, and say of which tasks nothing is left."""
    numbers: list[int] = []
    for number, task_id in gone:
        try:
            shutil.rmtree(os.path.join(files, task_id))  # noqa: PTH118 a string, as everywhere a directory is named
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning(words.REMAINS_KEPT, error=str(error), task_id=task_id)
            continue
        numbers.append(number)
    return numbers
