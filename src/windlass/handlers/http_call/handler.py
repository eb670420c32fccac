"""The handler of the `http` kind: makes one request in a thread and tells how it went.

Decides nothing about trying again beyond saying that it is worth it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from windlass.app.context import BuiltinContext
from windlass.app.signals import Fail
from windlass.errors import InputError, WindlassError
from windlass.handlers.download.lanes import Lanes
from windlass.handlers.http_call.answer import Answer, AnswerFull, failure_of, judge
from windlass.handlers.http_call.plan import (
    KEPT_BYTES,
    TIMEOUT_S,
    Address,
    Call,
    Json,
    KeptBytes,
    Method,
    Redirects,
    Timeout,
    plan_limits,
    plan_request,
)
from windlass.outbound.guard import Guard, check_url
from windlass.outbound.request import Request
from windlass.outbound.transport import Limits, Transport

CALLS_AT_ONCE = 128
"""LIMIT: calls of one worker, each with a thread that waits; more stand in line, the hosts taking turns."""


async def http(  # noqa: PLR0913 the fields of the payload
    url: Address,
    method: Method = "GET",
    headers: dict[str, str] | None = None,
    *,
    json: Json = msgspec.UNSET,
    body: str | None = None,
    timeout_s: Timeout = TIMEOUT_S,
    max_bytes: KeptBytes = KEPT_BYTES,
    redirects: Redirects = 0,
    ctx: BuiltinContext,
) -> dict[str, Any]:
    """Call a url: 2xx is success, 408, 425, 429, 5xx and broken connections are tried again, all else is failure.

    Raises:
        Fail: the answer will not change, or the url or its address is not allowed.
        CallFailed: another try may do better; a delay that the other side asked for is kept.
    """
    call = Call(url=url, method=method, headers=headers, json=json, body=body, timeout_s=timeout_s, redirects=redirects)
    try:
        request = plan_request(call, ctx.task_id)
        host = check_url(url).host
    except InputError as error:
        raise Fail(error.detail, code=error.code) from None
    guard = Guard(ctx.settings.outbound.allow)
    answer = Answer(max_bytes)
    stopped = threading.Event()
    lanes = _lanes_of_this_loop()
    async with lanes.lane(host):
        left_s = None if ctx.deadline is None else (ctx.deadline - datetime.now(UTC)).total_seconds()
        limits = plan_limits(call, left_s)
        try:
            elapsed_s = await lanes.run(lambda: _fetch(guard, limits, request, answer, stopped), stopped.set)
        except WindlassError as error:
            raise failure_of(error) from None
    return judge(answer, elapsed_s, datetime.now(UTC))


def _fetch(guard: Guard, limits: Limits, request: Request, answer: Answer, stopped: threading.Event) -> float:
    """Make the request; give the seconds it took. Blocks."""
    began_at = time.monotonic()
    with suppress(AnswerFull):
        Transport(guard, limits).fetch(request, answer, stopped.is_set)
    return time.monotonic() - began_at


_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, Lanes] = WeakKeyDictionary()


def _lanes_of_this_loop() -> Lanes:
    """Give the places of the running loop; they are the calls' own, so that downloads keep theirs."""
    loop = asyncio.get_running_loop()
    lanes = _lanes.get(loop)
    if lanes is None:
        lanes = _lanes[loop] = Lanes(CALLS_AT_ONCE)
    return lanes
