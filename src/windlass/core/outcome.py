"""The closed union of ways an attempt can end. What that makes of the task is `decide`'s business."""

from __future__ import annotations

import msgspec

from windlass.core.task import Error


class Succeeded(msgspec.Struct, frozen=True, tag=True):
    """The handler returned; `result` is canonical JSON."""

    result: bytes


class Errored(msgspec.Struct, frozen=True, tag=True):
    """The handler raised, or returned what cannot be kept."""

    error: Error
    retryable: bool = True
    retry_after_s: float | None = None


class Snoozed(msgspec.Struct, frozen=True, tag=True):
    """The handler asked to be called again later; that uses no budget."""

    delay_s: float


class TimedOut(msgspec.Struct, frozen=True, tag=True):
    """The attempt was stopped because it ran longer than its timeout."""

    error: Error


class Interrupted(msgspec.Struct, frozen=True, tag=True):
    """The attempt ended through nothing it did: a drain, the end of its server, a neighbour's crash, a claim that
    no worker acknowledged. `isolate`: it shared a worker that died, and runs alone next time.
    """

    error: Error
    isolate: bool = False


class Lost(msgspec.Struct, frozen=True, tag=True):
    """The attempt's worker died with it, it alone inside, while the server lived on."""

    error: Error


Outcome = Succeeded | Errored | Snoozed | TimedOut | Interrupted | Lost
