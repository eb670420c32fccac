"""All attempts that run on this server: begun, woken, stopped together or one by one, and seen to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from windlass.contracts.tasks import Claimed
from windlass.core.stop import StopReason
from windlass.core.task import Task
from windlass.engine.alarm import Alarm
from windlass.engine.runner import Runner, RunnerDuties, RunnerTools
from windlass.engine.service import OnFailure
from windlass.telemetry import vocabulary as words
from windlass.telemetry.log import get_logger

_log = get_logger()


class Attempts:
    """The running attempts, and one alarm for all of them.

    Concurrency: of one event loop.
    """

    def __init__(self, tools: RunnerTools, *, on_failure: OnFailure) -> None:
        self._tools = tools
        self._on_failure = on_failure
        self._alarm = Alarm(tools.clock, self._wake)
        self._duties = RunnerDuties(self._alarm.set_by, self._see_off, self._see_broken)
        self._running: set[Runner] = set()
        self._by_number: dict[int, Runner] = {}
        self._none_running = asyncio.Event()
        self._stopping: StopReason | None = None
        self._is_fenced = False

    def begin(self, claimed: Claimed) -> None:
        """Start the attempt of a task just claimed."""
        runner = Runner(claimed, self._tools, self._duties)
        self._running.add(runner)
        self._by_number[runner.task.number] = runner
        runner.begin(is_fenced=self._is_fenced)  # RACE: claimed by the turn under way when the fence went up
        if self._stopping is not None:  # RACE: claimed by the turn that was under way when the drain began
            runner.stop(self._stopping)

    def cancel(self, number: int, *, grace_s: float | None) -> None:
        """Begin to stop the attempt of a task, if it runs here."""
        if (runner := self._by_number.get(number)) is not None:
            runner.stop(StopReason.CANCEL, grace_s=grace_s)

    def heed(self, tasks: Iterable[Task]) -> None:
        """Begin to stop the attempts of `tasks`, whose cancel requests another server may have taken."""
        for task in tasks:
            runner = self._by_number.get(task.number)
            if runner is not None and runner.task.token == task.token and not runner.is_cancelling:
                runner.stop(StopReason.CANCEL, grace_s=task.grace_s)

    def runs(self, number: int) -> bool:
        """Whether an attempt of the task runs here."""
        return number in self._by_number

    def knows(self, task: Task) -> bool:
        """Whether the attempt that `task` is in runs here, or ends here just now."""
        runner = self._by_number.get(task.number)
        return runner is not None and runner.task.token == task.token

    def fence(self, since: float) -> None:
        """Begin to stop every attempt, and begin none, because their lease was last renewed at `since`."""
        self._is_fenced = True
        for runner in list(self._running):
            runner.stop(StopReason.LOST_LEASE, since=since)

    def lift_fence(self) -> None:
        """Begin attempts again."""
        self._is_fenced = False

    def stop_all(self, reason: StopReason) -> None:
        """Begin to stop every attempt, or hurry their stopping."""
        self._stopping = reason
        for runner in list(self._running):
            runner.stop(reason)

    async def wait(self) -> None:
        """Wait until every attempt has been settled."""
        while self._running:
            self._none_running.clear()
            await self._none_running.wait()
        self._alarm.clear()

    def _wake(self) -> None:
        """Wake those that are due. Looks at all of them: few dues come about, as most attempts end long before."""
        now = self._tools.clock.monotonic()
        for runner in list(self._running):
            if runner.due_at is not None and runner.due_at <= now:
                runner.wake(now)
        dues = [at for runner in self._running if (at := runner.due_at) is not None]
        if dues:
            self._alarm.set_by(min(dues))

    def _see_off(self, runner: Runner) -> None:
        self._running.discard(runner)
        # A task that has lost its lease may run anew already: then the entry is the new runner's.
        if self._by_number.get(runner.task.number) is runner:
            del self._by_number[runner.task.number]
        if not self._running:
            self._none_running.set()

    def _see_broken(self, runner: Runner, error: Exception) -> None:
        """An attempt without a settlement is stuck: have the server end."""
        _log.error(words.LOOP_FAILED, loop="runner", task_id=runner.task.id, error=repr(error), exc_info=error)
        self._on_failure(error)
        self._see_off(runner)
