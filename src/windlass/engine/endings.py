"""How an attempt ended, from its last word and how far it had been taken down the stop ladder. Pure.

What the ending makes of the task is decided in `core`.
"""

from __future__ import annotations

import msgspec

from windlass.contracts.link import Gone
from windlass.core.outcome import Errored, Interrupted, Lost, Outcome, Snoozed, Succeeded, TimedOut
from windlass.core.stop import Ladder, Stage, StopReason
from windlass.core.task import Error, Task
from windlass.errors import WorkerError
from windlass.wire.frames import Ended

SERVER_STOPS = frozenset({StopReason.DRAIN, StopReason.HURRY})
_NOT_ITS_DOING = SERVER_STOPS | {StopReason.LOST_LEASE}
"""Why a worker may be killed before its attempt was told anything."""


def conclude(word: Ended, task: Task, ladder: Ladder | None) -> Outcome:
    """Say what the word of a handler that is through means."""
    outcome = word.outcome
    if isinstance(outcome, Succeeded) or not word.stopped:
        return outcome
    error = outcome.error if isinstance(outcome, Errored) else Error(type="Stopped", message="told to stop")
    if ladder is None or ladder.stage is Stage.RUNNING:
        # Told by its worker, which retires because of a neighbour.
        return Interrupted(_named("its worker retired because of another attempt", error), isolate=True)
    return _stopped(outcome, error, task, ladder.reason)


def conclude_gone(gone: Gone, task: Task, ladder: Ladder | None, *, had_begun: bool) -> Outcome:
    """Say what the end of its worker means for an attempt."""
    if ladder is not None and (ladder.stage is not Stage.RUNNING or ladder.reason in _NOT_ITS_DOING):
        return _stopped(Lost(gone.error), gone.error, task, ladder.reason)
    if not had_begun:
        return Interrupted(gone.error)
    if gone.alone and not gone.discarded:
        return Lost(gone.error)
    return Interrupted(gone.error, isolate=True)


def not_begun(error: WorkerError) -> Interrupted:
    """Say what it means that no worker could be given the attempt."""
    return Interrupted(Error(type="NoWorker", message=f"the attempt did not begin: {error.detail}"))


def _stopped(outcome: Errored | Snoozed | Lost, error: Error, task: Task, reason: StopReason) -> Outcome:
    match reason:
        case StopReason.CANCEL:
            return outcome
        case StopReason.TIMEOUT:
            return TimedOut(_named(f"stopped after its timeout of {task.timeout_s:g} s", error))
        case StopReason.DRAIN | StopReason.HURRY:
            return Interrupted(_named("stopped because its server stops", error))
        case StopReason.LOST_LEASE:
            return Interrupted(_named("stopped because its server could not renew its lease", error))


def _named(what: str, error: Error) -> Error:
    """Put what happened to the attempt before what its handler made of it."""
    message = what if error.type == "Stopped" else f"{what}; then: {error.message}"
    return msgspec.structs.replace(error, message=message)
