"""A loop of the engine as a thing that is started, watched and stopped. Holds no rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()

OnFailure = Callable[[BaseException], None]


class Service:
    """Runs one coroutine until it is stopped; its failure is told once, never swallowed.

    Concurrency: of one event loop; start and stop in any order, any number of times.
    """

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], on_failure: OnFailure) -> None:
        self._name = name
        self._run = run
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Start it, unless it runs."""
        if not self.is_running:
            self._task = asyncio.create_task(self._guard(), name=f"windlass-{self._name}")

    async def stop(self) -> None:
        """Cancel it and wait for its end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _guard(self) -> None:
        try:
            await self._run()
        except Exception as error:  # noqa: BLE001 the last one to see it: a loop that ends silently stalls the server
            _log.error(words.LOOP_FAILED, loop=self._name, error=repr(error), exc_info=error)
            self._on_failure(error)
