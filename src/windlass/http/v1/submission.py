"""What a client asks for into what the engine is asked: every field checked, every broken rule named at once.

Knows no kinds: whether the payload fits is the engine's to say.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from windlass.contracts.engine_api import Submission
from windlass.core import limits
from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy
from windlass.core.ids import is_name
from windlass.errors import InputError
from windlass.http.inputs import Fault, find_faults
from windlass.wire.codec import echo, pointer_to
from windlass.wire.durations import parse_duration
from windlass.wire.v1 import CancelRequest, RetryOptions, SubmitRequest

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def read_submission(document: Any, *, now: datetime) -> Submission:
    """Read the body of a submit.

    Raises:
        InputError: names every field that breaks a rule.
    """
    faults: list[Fault] = []
    request = _shape(document, faults)
    submission = Submission(
        kind=request.kind,
        payload=request.payload,
        queue=request.queue,
        priority=request.priority,
        key=request.key,
        run_at=_instant(request.run_at, now, faults),
        delay_s=_seconds(request.delay, "/delay", limits.DELAY_MAX_S, faults),
        timeout_s=_timeout(request, faults),
        grace_s=_seconds(request.grace, "/grace", limits.GRACE_MAX_S, faults),
        max_attempts=request.max_attempts,
        retry=None if request.retry is None else _retry(request.retry, faults),
        recovery=request.recovery,
        name=request.name,
        description=request.description,
        tags=request.tags,
    )
    if request.run_at is not None and request.delay is not None:
        faults.append(("/delay", "exclusive_fields", "give run_at or delay, not both"))
    if not is_name(request.kind):
        faults.append(
            ("/kind", "unknown_kind", f"{echo(request.kind)} is no kind: GET /v1/kinds lists those there are")
        )
    faults += _text_faults(request)
    if faults:
        raise InputError.of(tuple(faults))
    return submission


def check_cancel(request: CancelRequest) -> None:
    """Check what the shape of a cancel request does not say.

    Raises:
        InputError: the reason holds control characters.
    """
    if request.reason is not None and _CONTROL.search(request.reason):
        raise InputError("a reason is one line of text", code="invalid_text", pointer="/reason")


def _shape(document: Any, faults: list[Fault]) -> SubmitRequest:
    """Read the fields that are sound, so that what they break besides can be named together with the others."""
    try:
        return msgspec.convert(document, SubmitRequest)
    except msgspec.ValidationError:
        faults += find_faults(document, SubmitRequest)
    try:
        return msgspec.convert({"kind": "unread", **_without(document, faults)}, SubmitRequest)
    except msgspec.ValidationError:  # there are more faults than are looked for
        raise InputError.of(tuple(faults)) from None


def _without(document: Any, faults: list[Fault]) -> dict[str, Any]:
    """Copy what of `document` no fault points at."""
    if not isinstance(document, dict):
        return {}
    sound = copy.deepcopy(cast("dict[str, Any]", document))
    for pointer, _, _ in faults:
        *above, last = (step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
        holder: Any = sound
        for step in above:
            holder = holder.get(step, {})
        holder.pop(last, None)
    return sound


def _seconds(value: float | str | None, pointer: str, max_s: float, faults: list[Fault]) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(value, pointer=pointer, max_s=max_s)
    except InputError as error:
        faults += error.errors
        return None


def _timeout(request: SubmitRequest, faults: list[Fault]) -> float | None:
    """Left out: the kind's own. Null or 0: none, which the engine calls 0."""
    if request.timeout is msgspec.UNSET:
        return None
    if request.timeout is None:
        return 0.0
    return _seconds(request.timeout, "/timeout", limits.TIMEOUT_MAX_S, faults)


def _instant(value: datetime | None, now: datetime, faults: list[Fault]) -> datetime | None:
    if value is None:
        return None
    try:
        instant = value.astimezone(UTC)
        if instant <= now + timedelta(seconds=limits.DELAY_MAX_S):
            return instant
    except OverflowError:  # at either end of the calendar, seen from another offset
        pass
    faults.append(("/run_at", "invalid_value", f"must be within {limits.DELAY_MAX_S / 86_400:.0f} days from now"))
    return None


def _retry(options: RetryOptions, faults: list[Fault]) -> RetryPolicy:
    base_s = _seconds(options.base, "/retry/base", limits.DELAY_MAX_S, faults)
    cap_s = _seconds(options.cap, "/retry/cap", limits.DELAY_MAX_S, faults)
    return RetryPolicy(
        base_s=DEFAULT_RETRY.base_s if base_s is None else base_s,
        factor=DEFAULT_RETRY.factor if options.factor is None else options.factor,
        cap_s=DEFAULT_RETRY.cap_s if cap_s is None else cap_s,
        jitter=DEFAULT_RETRY.jitter if options.jitter is None else options.jitter,
    )


def _text_faults(request: SubmitRequest) -> Iterator[Fault]:
    lines = {"/key": request.key, "/name": request.name}
    lines |= {pointer_to("/tags", name): value for name, value in request.tags.items()}
    for pointer, text in lines.items():
        if text is not None and _CONTROL.search(text):
            yield pointer, "invalid_text", "must be one line of text, without control characters"
    if request.description is not None and _CONTROL_BUT_LINES.search(request.description):
        yield "/description", "invalid_text", "must be text, without control characters but tabs and newlines"
