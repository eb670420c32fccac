"""The `simulate` kind: work of a known length that does nothing, to try queues, clients and failures on.

Uses no resource but time.
"""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Any, Literal

import msgspec

from windlass.app.context import BuiltinContext
from windlass.app.signals import Fail
from windlass.core.limits import TIMEOUT_MAX_S

REPORT_S = 0.25

Seconds = Annotated[float, msgspec.Meta(ge=0, le=TIMEOUT_MAX_S)]
Range = Annotated[list[Seconds], msgspec.Meta(min_length=2, max_length=2)]
Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Steps = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class SimulatedFailure(Exception):
    """The failure that was asked for, by `failure_rate`; retried like any other."""


async def simulate(
    duration_s: Seconds | Range = 1.0,
    failure_rate: Rate = 0.0,
    *,
    fail: str | None = None,
    hang: bool | Literal["stubborn"] = False,
    steps: Steps = 100,
    echo: Any = None,
    ctx: BuiltinContext,
) -> dict[str, Any]:
    """Work for a while, or a random while between two, and then succeed, fail or hang as asked.

    Fails for good with the message `fail`, or by chance with `failure_rate`, which is retried. `hang` never ends by
    itself; when it is "stubborn", not on being told to stop either. Progress counts `steps`. `echo` comes back in the
    result.
    """
    settings = ctx.settings.simulate
    slept_s = await _work(_pick(settings.duration_s or duration_s), steps, ctx)
    while hang:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if hang != "stubborn":
                raise
    if fail is not None:
        raise Fail(fail or "failed as asked", code="simulated")
    rate = failure_rate if settings.failure_rate is None else settings.failure_rate
    if random.random() < rate:  # noqa: S311 chance, not a secret
        raise SimulatedFailure(f"failed by chance, at a rate of {rate:g}")
    return {"slept_s": round(slept_s, 3), "echo": echo}


def _pick(duration: float | list[float]) -> float:
    """Choose the duration; of two given in either order, one between them."""
    if not isinstance(duration, list):
        return duration
    return random.uniform(duration[0], duration[-1])  # noqa: S311 chance, not a secret


async def _work(duration_s: float, steps: int, ctx: BuiltinContext) -> float:
    """Sleep `duration_s` and report progress on the way; give the time it took."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    ctx.progress(0, steps, unit="steps")
    while (left_s := began_at + duration_s - loop.time()) > 0:
        await asyncio.sleep(min(left_s, REPORT_S))
        share = min(1.0, (loop.time() - began_at) / duration_s)
        ctx.progress(int(share * steps), steps, unit="steps")
    ctx.progress(steps, steps, unit="steps")
    return loop.time() - began_at
