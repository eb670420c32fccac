"""Pages of tasks on SQLite: which statement reads which page, and with what. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from windlass.core.query import Order, Page, TaskQuery
from windlass.core.task import Task
from windlass.store import pages
from windlass.store.pages import Search, ended_page_of, endings_of, page_of, search_of, stretch, up_to
from windlass.store.sqlite import page_statements as sql
from windlass.store.sqlite.driver import Connection, Row
from windlass.store.sqlite.rows import id_blob, optional_micros, task_of
from windlass.store.sqlite.statements import SPAN

_BY_KEY: Final = {Order.NEWEST: sql.PAGE_NEWEST_BY_KEY, Order.OLDEST: sql.PAGE_OLDEST_BY_KEY}
_FOUND: Final = {Order.NEWEST: sql.PAGE_NEWEST_FOUND, Order.OLDEST: sql.PAGE_OLDEST_FOUND}
_STRETCH: Final = {Order.NEWEST: sql.PAGE_NEWEST, Order.OLDEST: sql.PAGE_OLDEST}

_OF_ORIGIN: Final = {Order.NEWEST: sql.PAGE_NEWEST_OF_ORIGIN, Order.OLDEST: sql.PAGE_OLDEST_OF_ORIGIN}
_LAST_OF_ORIGIN: Final = {Order.NEWEST: sql.LAST_OF_ORIGIN_NEWEST, Order.OLDEST: sql.LAST_OF_ORIGIN_OLDEST}

_ABOVE_ALL_TEXT: Final = b""
"""SQLite sorts every blob behind every text."""


def read_page(query: TaskQuery, connection: Connection) -> Page:
    """Read a page of tasks."""
    search = None if query.q is None else search_of(query.q)
    values = _values(query, search)
    if query.order is Order.ENDED_LAST:
        return _ended_page(query, values, connection)
    is_narrow = search is not None and not _has_many_names(search, connection)
    low, high = connection.execute(SPAN).fetchall()[0]
    is_of_origin = query.origin is not None and query.key is None and not is_narrow
    examined = stretch(query, low=low, high=high, is_narrow=is_narrow or is_of_origin)
    if is_of_origin:
        place = (query.origin, examined.low, examined.high, pages.PAGE_SCAN_ROWS - 1)
        last = connection.execute(_LAST_OF_ORIGIN[query.order], place).fetchone()
        examined = up_to(examined, query, None if last is None else last[0])
    by = _BY_KEY if query.key is not None else _FOUND if is_narrow else _OF_ORIGIN if is_of_origin else _STRETCH
    found = _tasks(by[query.order], (*values, examined.low, examined.high), connection)
    return page_of(found, query, examined)


def _ended_page(query: TaskQuery, values: Row, connection: Connection) -> Page:
    low, top = endings_of(query)
    # RACE: where the stretch ends is found first; what ends or goes meanwhile lies inside it or not, as it stands.
    place = (query.state, low[0], *top, pages.PAGE_SCAN_ROWS - 1)
    last = connection.execute(sql.LAST_EXAMINED, place).fetchone()
    found = _tasks(sql.PAGE_ENDED_LAST, (*values, *top, *(last or low)), connection)
    return ended_page_of(found, query, None if last is None else (last[0], last[1]))


def _has_many_names(search: Search, connection: Connection) -> bool:
    """Whether more names match than a page may examine."""
    values = (search.text, _beyond(search), pages.PAGE_SCAN_ROWS)
    return connection.execute(sql.MANY_NAMES, values).fetchone() is not None


def _values(query: TaskQuery, search: Search | None) -> Row:
    """Lay out what tasks must match, and how many to read."""
    tag, value = query.tag or (None, None)
    sought: Row = (None, None, None, None)
    if search is not None:
        sought = (search.text, search.number, None if search.id is None else id_blob(search.id), _beyond(search))
    return (
        query.state,
        query.kind,
        query.queue,
        query.key,
        tag,
        value,
        query.waiting,
        optional_micros(query.created_after),
        optional_micros(query.created_before),
        optional_micros(query.finished_after),
        optional_micros(query.finished_before),
        *sought,
        query.origin,
        query.is_hidden,
        query.limit + 1,
    )


def _beyond(search: Search) -> str | bytes:
    return _ABOVE_ALL_TEXT if search.beyond is None else search.beyond


def _tasks(statement: str, values: Row, connection: Connection) -> Sequence[Task]:
    return [task_of(row) for row in connection.execute(statement, values)]
