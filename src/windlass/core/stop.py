"""The stop ladder: tell the handler, SIGTERM its group, SIGKILL its group; it always ends.

A state machine without a clock: instants are readings of a monotonic clock, in seconds, given as arguments.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from windlass.core.limits import LEASE_TTL_S


class StopReason(StrEnum):
    """Why an attempt is being stopped."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    DRAIN = "drain"
    HURRY = "hurry"
    """The second signal: the same as a drain, with no patience left."""
    LOST_LEASE = "lost_lease"


class Stage(IntEnum):
    """How far down the ladder an attempt has been taken."""

    RUNNING = 0
    TOLD = 1
    TERMINATED = 2
    KILLED = 3


class StopTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the ladder, in seconds. `stop_s` bounds a whole drain, `ttl_s` is the lease's."""

    kill_after_s: float = 5.0
    stop_s: float = 28.0
    hurry_s: float = 3.0
    ttl_s: float = LEASE_TTL_S
    fence_margin_s: float = 5.0


class Ladder(msgspec.Struct, frozen=True):
    """When each step is due, on the monotonic clock, and how far it has been taken."""

    reason: StopReason
    tell_at: float
    terminate_at: float
    kill_at: float
    stage: Stage = Stage.RUNNING


def ladder_for(reason: StopReason, *, now: float, grace_s: float, times: StopTimes) -> Ladder:
    """Set up the ladder for `reason`, asked for at `now`; for a lost lease `now` is when the last renewal was sent."""
    match reason:
        case StopReason.CANCEL | StopReason.TIMEOUT:
            return Ladder(reason, now, now + grace_s, now + grace_s + times.kill_after_s)
        case StopReason.DRAIN:
            # 20, 24 and 26 of 28 s; a shorter stop_s shrinks the steps, a longer one gives attempts more time to end.
            step = min(1.0, times.stop_s / 28.0)
            end = now + times.stop_s
            return Ladder(reason, end - 8.0 * step, end - 4.0 * step, end - 2.0 * step)
        case StopReason.HURRY:
            return Ladder(reason, now, now + times.hurry_s * 2 / 3, now + times.hurry_s)
        case StopReason.LOST_LEASE:
            return Ladder(
                reason, now + times.ttl_s / 2, now + times.ttl_s * 2 / 3, now + times.ttl_s - times.fence_margin_s
            )


def merge(current: Ladder | None, other: Ladder) -> Ladder:
    """Join two ladders: each step at the earlier of its two instants; steps already taken stay taken.

    The reason is that of the ladder which tells first: it is the one the handler dies of.
    """
    if current is None:
        return other
    told = current.stage is not Stage.RUNNING
    reason = current.reason if told or current.tell_at <= other.tell_at else other.reason
    return Ladder(
        reason,
        min(current.tell_at, other.tell_at),
        min(current.terminate_at, other.terminate_at),
        min(current.kill_at, other.kill_at),
        max(current.stage, other.stage),
    )


def due_at(ladder: Ladder) -> float | None:
    """Say when the next step is due; None when all have been taken."""
    match ladder.stage:
        case Stage.RUNNING:
            return ladder.tell_at
        case Stage.TOLD:
            return ladder.terminate_at
        case Stage.TERMINATED:
            return ladder.kill_at
        case Stage.KILLED:
            return None


def advance(ladder: Ladder, *, now: float) -> tuple[Ladder, Stage | None]:
    """Take the next step if it is due at `now`; None when it is not.

    A step that comes late, because the whole server stood still, moves those after it: a handler is not killed before
    it could answer. Only a lost lease waits for nobody: there the furthest step that is due is taken.
    """
    due = due_at(ladder)
    if due is None or now < due:
        return ladder, None
    if ladder.reason is StopReason.LOST_LEASE:
        stage = (
            Stage.KILLED if now >= ladder.kill_at else Stage.TERMINATED if now >= ladder.terminate_at else Stage.TOLD
        )
        stage = max(stage, Stage(ladder.stage + 1))
        return msgspec.structs.replace(ladder, stage=stage), stage
    late_s = now - due
    stage = Stage(ladder.stage + 1)
    later = msgspec.structs.replace(
        ladder, stage=stage, terminate_at=ladder.terminate_at + late_s, kill_at=ladder.kill_at + late_s
    )
    return later, stage
