"""What a list of tasks may be asked for, and the cursor that leads to its next page. Reads no store."""

from __future__ import annotations

import base64
from datetime import datetime
from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from windlass.core.limits import PAGE_DEFAULT
from windlass.core.state import State
from windlass.core.task import Task
from windlass.errors import InputError


class Order(StrEnum):
    """How a list is sorted."""

    NEWEST = "-number"
    OLDEST = "number"
    ENDED_LAST = "-finished_at"
    """Only with an ended state."""


class TaskQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A filter over tasks, all of whose set fields must match, and a page of it. Bounds of time are exclusive.

    `waiting` is one of those that a row tells alone: until, retry, dependencies, hold. `q` is an id, number or key,
    or the beginning of a name. `after` is the number of the last row the page before has examined, `after_at` its
    finished_at in that order; None for the first page. `origin` is the dialect it came through; `is_hidden`: whether
    that knows of it no more.
    """

    state: State | None = None
    kind: str | None = None
    queue: str | None = None
    key: str | None = None
    tag: tuple[str, str] | None = None
    waiting: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    q: str | None = None
    origin: str | None = None
    is_hidden: bool | None = None
    order: Order = Order.NEWEST
    limit: int = PAGE_DEFAULT
    after: int | None = None
    after_at: datetime | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some tasks, and the number, in the order of endings also the time, to go on after; None at the end.

    A page may hold fewer tasks than asked for and still have a next one: it examines a bounded number of rows.
    """

    tasks: list[Task]
    after: int | None
    after_at: datetime | None = None


class Place(NamedTuple):
    """Where in a list a page has ended: `after` and `after_at` as in TaskQuery."""

    after: int
    after_at: datetime | None = None


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True, omit_defaults=True):
    order: Order
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    after_at: Annotated[datetime, Meta(tz=True)] | None = None


_decoder = msgspec.json.Decoder(_Cursor)


def encode_cursor(order: Order, after: int, after_at: datetime | None = None) -> str:
    """Spell the place after a row so that a client can hand it back; its form is no contract.

    >>> decode_cursor(encode_cursor(Order.OLDEST, 41), Order.OLDEST)
    Place(after=41, after_at=None)
    """
    raw = msgspec.json.encode(_Cursor(order, after, after_at))
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(text: str, order: Order) -> Place:
    """Read a cursor that `encode_cursor` made for the same order.

    Raises:
        InputError: it is no cursor of ours, or belongs to a list sorted the other way.
    """
    try:
        cursor = _decoder.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, msgspec.MsgspecError):
        raise _no_cursor() from None
    if cursor.order is not order:
        raise InputError(
            f"this cursor belongs to a list ordered by {cursor.order}; ask for that order, or begin without a cursor",
            code="bad_cursor",
            pointer="/cursor",
        )
    if (cursor.after_at is not None) != (order is Order.ENDED_LAST):
        raise _no_cursor()
    return Place(cursor.after, cursor.after_at)


def _no_cursor() -> InputError:
    return InputError("this is no cursor of a list; leave it out to begin", code="bad_cursor", pointer="/cursor")
