"""All attempts that run on this server: begun, stopped together or one by one, and seen to their end."""

from __future__ import annotations

import asyncio

from windlass.contracts.tasks import Claimed
from windlass.core.stop import StopReason
from windlass.engine.runner import Runner, RunnerTools
from windlass.engine.service import OnFailure
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()


class Attempts:
    """The running attempts by task number.

    Concurrency: of one event loop.
    """

    def __init__(self, tools: RunnerTools, *, on_failure: OnFailure) -> None:
        self._tools = tools
        self._on_failure = on_failure
        self._runners: dict[int, Runner] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._stopping: StopReason | None = None

    def begin(self, claimed: Claimed) -> None:
        """Start the attempt of a task just claimed."""
        runner = Runner(claimed, self._tools)
        self._runners[claimed.task.number] = runner
        attempt = asyncio.create_task(self._run(runner), name=f"windlass-attempt-{claimed.task.number}")
        self._running.add(attempt)
        attempt.add_done_callback(self._running.discard)
        if self._stopping is not None:  # RACE: claimed by the turn that was under way when the drain began
            runner.stop(self._stopping)

    def cancel(self, number: int, *, grace_s: float | None) -> None:
        """Begin to stop the attempt of a task, if it runs here."""
        if (runner := self._runners.get(number)) is not None:
            runner.stop(StopReason.CANCEL, grace_s=grace_s)

    def stop_all(self, reason: StopReason) -> None:
        """Begin to stop every attempt, or hurry their stopping."""
        self._stopping = reason
        for runner in self._runners.values():
            runner.stop(reason)

    async def wait(self) -> None:
        """Wait until every attempt has been settled."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run(self, runner: Runner) -> None:
        try:
            await runner.run()
        except Exception as error:  # noqa: BLE001 an attempt without a settlement is stuck: the server must restart
            _log.error(words.LOOP_FAILED, loop="runner", task_id=runner.task.id, error=repr(error), exc_info=error)
            self._on_failure(error)
        finally:
            # RACE: settled, claimed again and begun anew before this line runs: then the entry is the new runner's.
            if self._runners.get(runner.task.number) is runner:
                del self._runners[runner.task.number]
