"""Who may write for a running task, and when a server must fence itself. No clock of its own."""

from __future__ import annotations

from windlass.core.ids import Token
from windlass.core.state import State
from windlass.core.stop import Ladder, StopReason, StopTimes, ladder_for
from windlass.core.task import Task
from windlass.errors import ConfigError


def may_write(task: Task | None, token: Token) -> bool:
    """Whether a write of the attempt named by `token` still applies: the task runs, and under this very token."""
    return task is not None and task.state is State.RUNNING and task.token == token


def fence(*, renewal_sent_at: float, times: StopTimes) -> Ladder:
    """Set up the ladder that ends every attempt before its lease can be given to anybody else.

    `renewal_sent_at` is the monotonic instant before the last successful renewal was sent: counting from the
    answer would trust a lease longer than its giver does.
    """
    return ladder_for(StopReason.LOST_LEASE, now=renewal_sent_at, grace_s=0.0, times=times)


def check_times(times: StopTimes) -> None:
    """Refuse settings under which the fence would end after the lease does.

    Raises:
        ConfigError: names the figures that do not fit.
    """
    ladder = fence(renewal_sent_at=0.0, times=times)
    if not 0.0 < ladder.tell_at <= ladder.terminate_at <= ladder.kill_at < times.ttl_s:
        raise ConfigError(
            f"a lease ttl of {times.ttl_s:g} s and a fence margin of {times.fence_margin_s:g} s do not fit: the margin "
            "must be above 0 s, and the ttl at least 3 times the margin"
        )


def is_wedged(*, loop_turned_at: float, now: float, times: StopTimes) -> bool:
    """Whether the engine's loop stood still for so long that the server must not keep its leases."""
    return now - loop_turned_at > times.ttl_s / 2
