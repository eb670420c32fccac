"""Why a queued task does not run yet, and what would start it. Computed, never stored."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from windlass.core.queue import Queue, slots_left
from windlass.core.state import Reason, State
from windlass.core.task import Task


class Waiting(StrEnum):
    """What a queued task waits for."""

    SLOT = "slot"
    UNTIL = "until"
    RETRY = "retry"
    HOLD = "hold"
    PAUSED = "paused"
    LIMIT = "limit"
    NO_WORKER = "no_worker"


_AFTER_A_FAILURE = frozenset({Reason.ERROR, Reason.TIMED_OUT, Reason.LOST})


def waiting_for(
    task: Task, *, now: datetime, is_kind_live: bool, queue: Queue | None = None, running: int = 0
) -> Waiting | None:
    """Say what `task` waits for; None when it is not queued. `is_kind_live`: some live worker knows its kind; `queue`:
    what is kept of its queue, of whose tasks so many are `running`.
    """
    if task.state is not State.QUEUED:
        return None
    if task.held:
        return Waiting.HOLD
    if task.run_at > now:
        return Waiting.RETRY if task.reason in _AFTER_A_FAILURE else Waiting.UNTIL
    if queue is not None and queue.is_paused:
        return Waiting.PAUSED
    if not is_kind_live:
        return Waiting.NO_WORKER
    is_full = queue is not None and slots_left(queue, running=running) == 0
    return Waiting.LIMIT if is_full else Waiting.SLOT
