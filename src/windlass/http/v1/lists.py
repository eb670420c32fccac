"""Lists of tasks over HTTP, and what filters mean. Parses, asks the engine, renders."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Meta

from windlass.core import limits
from windlass.core.query import Order, TaskQuery, decode_cursor, encode_cursor
from windlass.errors import InputError
from windlass.http.call import Call
from windlass.http.reply import Reply, json_reply
from windlass.wire.v1 import TaskList, view_task
from windlass.wire.v1_many import TaskFilter


class ListQuery(TaskFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks, in which order, and how many."""

    order: Annotated[Order, Meta(description="`-finished_at` needs an ended state")] = Order.NEWEST
    limit: Annotated[int, Meta(ge=1, le=limits.PAGE_MAX)] = limits.PAGE_DEFAULT
    cursor: Annotated[str, Meta(max_length=256, description="`next_cursor` of the page before")] | None = None


async def page(call: Call) -> Reply:
    """Give a page of tasks."""
    asked = call.query(ListQuery)
    if asked.order is Order.ENDED_LAST and (asked.state is None or not asked.state.has_ended):
        raise InputError(
            "only ended tasks are ordered by their end: ask for state=succeeded, failed or cancelled with it",
            code="invalid_value",
            pointer="/order",
        )
    query = msgspec.structs.replace(query_of(asked), order=asked.order, limit=asked.limit)
    if asked.cursor is not None:
        place = decode_cursor(asked.cursor, asked.order)
        query = msgspec.structs.replace(query, after=place.after, after_at=place.after_at)
    found = await call.engine.page(query)
    now = call.services.clock.now()
    views = [view_task(task, now=now, waiting=call.engine.waiting(task)) for task in found.tasks]
    if found.after is None:
        return json_reply(200, TaskList(tasks=views, next_cursor=None))
    cursor = encode_cursor(asked.order, found.after, found.after_at)
    return json_reply(200, TaskList(tasks=views, next_cursor=cursor), [_link(call, cursor)])


def query_of(asked: TaskFilter, *, below: str = "") -> TaskQuery:
    """Say to the engine which tasks are meant; `below`: where the filter stands in what was sent.

    Raises:
        InputError: a tag of another form.
    """
    return TaskQuery(
        state=asked.state,
        kind=asked.kind,
        queue=asked.queue,
        key=asked.key,
        tag=None if asked.tag is None else _tag(asked.tag, f"{below}/tag"),
        waiting=asked.waiting,
        created_after=asked.created_after,
        created_before=asked.created_before,
        finished_after=asked.finished_after,
        finished_before=asked.finished_before,
        q=asked.q,
    )


def _tag(text: str, pointer: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise InputError("a tag is asked for as name:value", code="invalid_value", pointer=pointer)
    return name, value


def _link(call: Call, cursor: str) -> tuple[bytes, bytes]:
    """Name the next page (RFC 8288): the same query with another cursor."""
    pairs = parse_qsl(call.scope["query_string"].decode(), keep_blank_values=True)
    query = urlencode([*(pair for pair in pairs if pair[0] != "cursor"), ("cursor", cursor)])
    return b"link", f'</v1/tasks?{query}>; rel="next"'.encode()
