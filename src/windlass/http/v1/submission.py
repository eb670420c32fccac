"""What a client asks for into what the engine is asked: every field checked, every broken rule named at once.

Knows no kinds: whether the payload fits is the engine's to say.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from windlass.contracts.engine_api import Changes, Submission
from windlass.core import limits
from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy
from windlass.core.ids import is_name
from windlass.errors import InputError
from windlass.http.inputs import Fault, find_faults, read_struct
from windlass.wire.codec import echo, pointer_to
from windlass.wire.durations import parse_duration
from windlass.wire.v1 import EditRequest, RetryOptions, SubmitRequest

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_TWO_TIMES = ("/delay", "exclusive_fields", "give run_at or delay, not both")
_NOT_ONE_LINE = ("invalid_text", "must be one line of text, without control characters")


def read_submission(document: Any, *, now: datetime) -> Submission:
    """Read the body of a submit.

    Raises:
        InputError: names every field that breaks a rule.
    """
    faults: list[Fault] = []
    return _submission(_shape(document, faults), now, faults)


def submission_of(request: SubmitRequest, *, now: datetime) -> Submission:
    """Take what has a submit's shape for one, by the rules that no shape says.

    Raises:
        InputError: names every field that breaks a rule.
    """
    return _submission(request, now, [])


def _submission(request: SubmitRequest, now: datetime, faults: list[Fault]) -> Submission:
    """Finish reading, where `faults` have been found before; asks of each field whether it is there, as few are."""
    submission = Submission(
        kind=request.kind,
        payload=request.payload,
        queue=request.queue,
        priority=request.priority,
        key=request.key,
        run_at=None if request.run_at is None else _instant(request.run_at, now, faults),
        delay_s=None if request.delay is None else _seconds(request.delay, "/delay", limits.DELAY_MAX_S, faults),
        timeout_s=None if request.timeout is UNSET else _timeout(request.timeout, faults),
        grace_s=None if request.grace is None else _seconds(request.grace, "/grace", limits.GRACE_MAX_S, faults),
        max_attempts=request.max_attempts,
        retry=None if request.retry is None else _retry(request.retry, faults),
        recovery=request.recovery,
        name=request.name,
        description=request.description,
        tags=request.tags,
    )
    if request.run_at is not None and request.delay is not None:
        faults.append(_TWO_TIMES)
    if not is_name(request.kind):
        faults.append(
            ("/kind", "unknown_kind", f"{echo(request.kind)} is no kind: GET /v1/kinds lists those there are")
        )
    if request.key is not None and _CONTROL.search(request.key):
        faults.append(("/key", *_NOT_ONE_LINE))
    if request.name is not None or request.description is not None or request.tags:
        faults += label_faults(request.name, request.description, request.tags)
    if faults:
        raise InputError.of(tuple(faults))
    return submission


def read_changes(document: Any, *, now: datetime) -> Changes:
    """Read what is to be changed of a task.

    Raises:
        InputError: names every field that breaks a rule.
    """
    request = read_struct(document, EditRequest)
    faults: list[Fault] = []
    run_at, delay_s = UNSET, UNSET
    if request.run_at is not UNSET:
        run_at = _instant(request.run_at, now, faults) or UNSET
    if request.delay is not UNSET:
        seconds = _seconds(request.delay, "/delay", limits.DELAY_MAX_S, faults)
        delay_s = UNSET if seconds is None else seconds
        if request.run_at is not UNSET:
            faults.append(_TWO_TIMES)
    tags = {} if request.tags is UNSET else request.tags
    faults += label_faults(request.name, request.description, tags)
    if faults:
        raise InputError.of(tuple(faults))
    return Changes(
        name=request.name,
        description=request.description,
        tags=request.tags,
        priority=request.priority,
        run_at=run_at,
        delay_s=delay_s,
        queue=request.queue,
    )


def check_reason(reason: str | None, *, pointer: str = "/reason") -> None:
    """Check what no shape says of why a task is cancelled or a queue paused.

    Raises:
        InputError: it holds control characters.
    """
    if reason is not None and _CONTROL.search(reason):
        raise InputError("a reason is one line of text", code="invalid_text", pointer=pointer)


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


def _timeout(value: float | str | None, faults: list[Fault]) -> float | None:
    """Null or 0: none, which the engine calls 0."""
    return 0.0 if value is None else _seconds(value, "/timeout", limits.TIMEOUT_MAX_S, faults)


def _instant(value: datetime, now: datetime, faults: list[Fault]) -> datetime | None:
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


def label_faults(
    name: str | UnsetType | None, description: str | UnsetType | None, tags: Mapping[str, str]
) -> Iterator[Fault]:
    """Name what of a task's labels is no text for people."""
    if isinstance(name, str) and _CONTROL.search(name):
        yield "/name", *_NOT_ONE_LINE
    for tag, value in tags.items():
        if _CONTROL.search(value):
            yield pointer_to("/tags", tag), *_NOT_ONE_LINE
    if isinstance(description, str) and _CONTROL_BUT_LINES.search(description):
        yield "/description", "invalid_text", "must be text, without control characters but tabs and newlines"
