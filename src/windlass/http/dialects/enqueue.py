"""The dialect `enqueue`: messages with an id of the sender's, retried as often as they say, at `/enqueue`.

Translates alone; its `GET /healthz` is the server's own.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from windlass.core.access import AccessScope
from windlass.core.backoff import RetryPolicy
from windlass.core.limits import KEY_CHARS, MAX_ATTEMPTS_MAX
from windlass.core.task import Task
from windlass.errors import InputError, KeyConflict
from windlass.http.call import Call
from windlass.http.dialects.dialect import Dialect, given_in, read_body, submission_of
from windlass.http.reply import Reply, json_reply
from windlass.http.route import Response, Route

NAME: Final = "enqueue"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FACTOR: Final = 2.0


class EnqueueRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A message; the same id with the same content again is the same message."""

    id: Annotated[str, Meta(min_length=1, max_length=KEY_CHARS)]
    payload: str = ""
    max_retries: Annotated[int, Meta(ge=0, le=MAX_ATTEMPTS_MAX)] = 0


class EnqueueAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """The message is queued, or was before."""

    status: Literal["queued"] = "queued"


async def enqueue(call: Call) -> Reply:
    """Queue a message, once.

    Raises:
        KeyConflict: the id is that of a message with other content.
    """
    message = await read_body(call, EnqueueRequest)
    if _CONTROL.search(message.id):
        raise InputError("must be one line of text, without control characters", pointer="/id")
    settings = call.services.dialects.enqueue
    submission = submission_of(
        NAME,
        settings,
        {"id": message.id, "payload": message.payload},
        key=message.id,
        max_attempts=message.max_retries + 1,
        retry=RetryPolicy(base_s=settings.retry_base_s, factor=_FACTOR, cap_s=settings.retry_cap_s),
    )
    try:
        await call.engine.submit(submission)
    except KeyConflict as conflict:
        first = conflict.details.get("task")
        if not isinstance(first, Task) or not is_same(message, first, await call.engine.payload(first)):
            raise KeyConflict("this id is that of a message with another payload or max_retries") from None
    return json_reply(202, EnqueueAccepted())


def is_same(message: EnqueueRequest, task: Task, payload: bytes) -> bool:
    """Whether `task` was made of this very message; settings that have changed since do not make it another."""
    is_alike = given_in(task, payload).get("payload") == message.payload
    return is_alike and task.max_attempts == message.max_retries + 1


DIALECT: Final = Dialect(
    NAME,
    (
        Route(
            method="POST",
            path="/enqueue",
            scope=AccessScope.SUBMIT,
            summary="Queue a message, once",
            handler=enqueue,
            request=EnqueueRequest,
            query=None,
            responses={202: Response("Queued, now or before", EnqueueAccepted)},
            problems=(409, 503, 507),
            examples={"one": {"id": "order-17", "payload": "hello", "max_retries": 3}},
            dialect=NAME,
        ),
    ),
)
