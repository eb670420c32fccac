"""What the dialects share: reading without strictness, payloads, finding one's own tasks, lists.

Knows none of them: no path, no word and no shape of one stands here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from windlass.config.dialects import Dialect as DialectSettings
from windlass.config.dialects import SimulatedDialect
from windlass.contracts.engine_api import Submission
from windlass.core.ids import TaskId, parse_task_ref
from windlass.core.limits import PAGE_MAX
from windlass.core.query import Order, TaskQuery
from windlass.core.task import Task
from windlass.errors import InputError, NotFoundError
from windlass.http.call import Call
from windlass.http.inputs import find_faults
from windlass.http.route import Response, Route
from windlass.wire.codec import decode_json, encode_view

S = TypeVar("S", bound=msgspec.Struct)

SIMULATE: Final = "simulate"
"""The built-in kind that stands in for work; what a dialect was given it hands back as `echo`."""


FORGOTTEN: Final = Response("It will not start, or is being stopped; it is not found any more", None, "")
"""What a task that its client deletes comes to."""


class Dialect(msgspec.Struct, frozen=True):
    """A contract of another service. `name` is the origin of its tasks, their queue, and its section of the settings.

    The scope of a route is the one it needs where dialects need a key.
    """

    name: str
    routes: tuple[Route, ...]


# ── reading ────────────────────────────────────────────────────────


async def read_body(call: Call, kind: type[S]) -> S:
    """Read the body into `kind`; what it says besides is passed over, and so is its Content-Type.

    Raises:
        InputError: it is no JSON object, or names every field that breaks a rule.
    """
    document = await call.loose_json()
    if not isinstance(document, dict):
        raise InputError("the body must be a JSON object")
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    known: dict[str, Any] = {name: document[name] for name in names if name in document}
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError:
        raise InputError.of(tuple(find_faults(known, kind))) from None


def read_parameter(call: Call, name: str) -> str:
    """Read a parameter of the query: the first of that name; empty where there is none."""
    query = call.scope["query_string"].decode("utf-8", "replace")
    return next((value for key, value in parse_qsl(query, keep_blank_values=True) if key == name), "")


def parse_uuid(text: str) -> TaskId | None:
    """Read the UUID of a task; None when it is none."""
    ref = parse_task_ref(text)
    return None if isinstance(ref, int) else ref


# ── tasks ──────────────────────────────────────────────────────────


def submission_of(dialect: str, settings: DialectSettings, given: Mapping[str, Any], **options: Any) -> Submission:
    """Make the submission of what a client has given: to the dialect's queue, for the kind that the settings name."""
    payload = payload_of(settings, given)
    return Submission(kind=settings.kind, payload=payload, queue=dialect, origin=dialect, **options)


def payload_of(settings: DialectSettings, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make the payload: what was given; for simulated work, how long it is to take, and what was given as its echo."""
    if settings.kind != SIMULATE or not isinstance(settings, SimulatedDialect):
        return dict(given)
    shortest, longest = settings.duration_s[0], settings.duration_s[-1]
    work: dict[str, Any] = {"duration_s": [shortest, longest], "failure_rate": settings.failure_rate}
    return {**work, "echo": dict(given)} if given else work


def given_in(task: Task, payload: bytes) -> Mapping[str, Any]:
    """Read what was given from the payload of `task`, whatever the settings have become since."""
    said: Mapping[str, Any] = decode_json(payload)
    return said.get("echo") or {} if task.kind == SIMULATE else said


async def find_own(call: Call, ref: TaskId, *, origin: str, missing: str = "task not found") -> Task:
    """Find a task that came through `origin`.

    Raises:
        NotFoundError: says `missing`; there is none such, it is another's, or it was deleted there.
    """
    try:
        task = await call.engine.get(ref)
    except NotFoundError:
        raise NotFoundError(missing) from None
    if task.origin != origin or task.is_hidden:
        raise NotFoundError(missing)
    return task


async def list_own(call: Call, *, origin: str, view: Callable[[Task], msgspec.Struct]) -> AsyncIterator[bytes]:
    """Spell all tasks of `origin` as one JSON array, oldest first, a piece for each page: never all in memory."""
    query = TaskQuery(origin=origin, is_hidden=False, order=Order.OLDEST, limit=PAGE_MAX)
    opening = b"["
    while True:
        page = await call.engine.page(query)
        if page.tasks:
            yield opening + encode_view([view(task) for task in page.tasks])[1:-1]
            opening = b","
        if page.after is None:
            break
        query = msgspec.structs.replace(query, after=page.after)
    yield b"[]" if opening == b"[" else b"]"


def why_ended(task: Task) -> str:
    """Say why a task that has ended did not succeed, for people."""
    if task.error is not None:
        return task.error.message
    return task.cancel_reason or str(task.reason or task.state)
