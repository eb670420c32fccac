"""Pages of tasks on PostgreSQL: which statement reads which page, and with what. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from windlass.core.limits import NAME_CHARS
from windlass.core.query import Order, Page, TaskQuery
from windlass.core.task import Task
from windlass.store import pages
from windlass.store.instants import from_micros, to_micros
from windlass.store.pages import Search, ended_page_of, endings_of, page_of, search_of, stretch, up_to
from windlass.store.postgres import page_statements as sql
from windlass.store.postgres.driver import Connection, Values
from windlass.store.postgres.rows import task_of

_BY_KEY: Final = {Order.NEWEST: sql.PAGE_NEWEST_BY_KEY, Order.OLDEST: sql.PAGE_OLDEST_BY_KEY}
_FOUND: Final = {Order.NEWEST: sql.PAGE_NEWEST_FOUND, Order.OLDEST: sql.PAGE_OLDEST_FOUND}
_STRETCH: Final = {Order.NEWEST: sql.PAGE_NEWEST, Order.OLDEST: sql.PAGE_OLDEST}

_OF_ORIGIN: Final = {Order.NEWEST: sql.PAGE_NEWEST_OF_ORIGIN, Order.OLDEST: sql.PAGE_OLDEST_OF_ORIGIN}
_LAST_OF_ORIGIN: Final = {Order.NEWEST: sql.LAST_OF_ORIGIN_NEWEST, Order.OLDEST: sql.LAST_OF_ORIGIN_OLDEST}

_ABOVE_ALL_NAMES: Final = chr(0x10FFFF) * (NAME_CHARS + 1)
_FIRST: Final = to_micros(datetime.min.replace(tzinfo=UTC))
_LAST: Final = to_micros(datetime.max.replace(tzinfo=UTC))
"""LIMIT: of the instants that can be bound."""


async def read_page(query: TaskQuery, connection: Connection) -> Page:
    """Read a page of tasks; all its statements must see one moment."""
    search = None if query.q is None else search_of(query.q)
    values = _values(query, search)
    if query.order is Order.ENDED_LAST:
        return await _ended_page(query, values, connection)
    is_narrow = search is not None and not await _has_many_names(search, connection)
    span = await connection.fetchrow(sql.SPAN)
    assert span is not None
    is_of_origin = query.origin is not None and query.key is None and not is_narrow
    examined = stretch(query, low=span[0], high=span[1], is_narrow=is_narrow or is_of_origin)
    if is_of_origin:
        place = (query.origin, examined.low, examined.high, pages.PAGE_SCAN_ROWS - 1)
        last = await connection.fetchval(_LAST_OF_ORIGIN[query.order], *place)
        examined = up_to(examined, query, last)
    by = _BY_KEY if query.key is not None else _FOUND if is_narrow else _OF_ORIGIN if is_of_origin else _STRETCH
    found = await _tasks(by[query.order], (*values, examined.low, examined.high), connection)
    return page_of(found, query, examined)


async def _ended_page(query: TaskQuery, values: Values, connection: Connection) -> Page:
    (low_at, low_number), (top_at, top_number) = endings_of(query)
    low, top = (_instant(low_at), low_number), (_instant(top_at), top_number)
    place = (query.state, low[0], *top, pages.PAGE_SCAN_ROWS - 1)
    last = await connection.fetchrow(sql.LAST_EXAMINED, *place)
    found = await _tasks(sql.PAGE_ENDED_LAST, (*values, *top, *(last or low)), connection)
    return ended_page_of(found, query, None if last is None else (to_micros(last[0]), last[1]))


async def _has_many_names(search: Search, connection: Connection) -> bool:
    """Whether more names match than a page may examine."""
    values = (search.text, _beyond(search), pages.PAGE_SCAN_ROWS)
    return await connection.fetchval(sql.MANY_NAMES, *values) is not None


def _values(query: TaskQuery, search: Search | None) -> Values:
    """Lay out what tasks must match, and how many to read."""
    tag, value = query.tag or (None, None)
    sought: tuple[Any, ...] = (None, None, None, None)
    if search is not None:
        sought = (search.text, search.number, search.id, _beyond(search))
    return (
        query.state,
        query.kind,
        query.queue,
        query.key,
        tag,
        value,
        query.waiting,
        _bound(query.created_after),
        _bound(query.created_before),
        _bound(query.finished_after),
        _bound(query.finished_before),
        *sought,
        query.origin,
        query.is_hidden,
        query.limit + 1,
    )


def _beyond(search: Search) -> str:
    return _ABOVE_ALL_NAMES if search.beyond is None else search.beyond


def _bound(at: datetime | None) -> datetime | None:
    """Give an instant in UTC, where the first and the last day of all have no other zone."""
    return None if at is None else _instant(to_micros(at))


def _instant(micros: int) -> datetime:
    return from_micros(max(_FIRST, min(micros, _LAST)))


async def _tasks(statement: str, values: Values, connection: Connection) -> Sequence[Task]:
    return [task_of(row) for row in await connection.fetch(statement, *values)]
