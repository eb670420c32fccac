"""Cursors: read back where they were made, refused everywhere else."""

from __future__ import annotations

import base64
import string
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.query import Order, TaskQuery, decode_cursor, encode_cursor
from windlass.errors import InputError

from .making import unhurried

LARGEST = 2**63 - 1
URL_SAFE = string.ascii_letters + string.digits + "-_"
orders = st.sampled_from(Order)
numbers = st.integers(0, LARGEST)
instants = st.datetimes(timezones=st.just(UTC))


def forged(*content: object) -> str:
    """Spell a cursor of any content."""
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).decode().rstrip("=")


def made(order: Order, after: int, at: datetime) -> str:
    """Make a cursor as a page in that order would."""
    return encode_cursor(order, after, at if order is Order.ENDED_LAST else None)


@unhurried
@given(orders, numbers, instants)
def test_a_cursor_reads_back_as_it_was_made(order: Order, after: int, at: datetime) -> None:
    place = decode_cursor(made(order, after, at), order)
    assert place == (after, at if order is Order.ENDED_LAST else None)


@unhurried
@given(orders, numbers, instants)
def test_a_cursor_needs_no_escaping_in_a_url(order: Order, after: int, at: datetime) -> None:
    assert set(made(order, after, at)) <= set(URL_SAFE)


def test_a_cursor_of_a_list_sorted_the_other_way_is_refused() -> None:
    for order in (Order.OLDEST, Order.ENDED_LAST):
        with pytest.raises(InputError, match="ordered by -number") as refused:
            decode_cursor(encode_cursor(Order.NEWEST, 5), order)
        assert refused.value.code == "bad_cursor"


@pytest.mark.parametrize(
    ("order", "cursor"),
    [
        (Order.ENDED_LAST, forged("-finished_at", 5)),
        (Order.ENDED_LAST, forged("-finished_at", 5, "2026-11-20T15:00:00")),
        (Order.NEWEST, forged("-number", 5, "2026-11-20T15:00:00Z")),
    ],
)
def test_a_cursor_has_a_time_where_the_order_has_one(order: Order, cursor: str) -> None:
    with pytest.raises(InputError, match="no cursor of a list"):
        decode_cursor(cursor, order)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "=",
        "5",
        "a",
        "é",
        "\ud800",
        "../../etc/passwd",
        forged(),
        forged("-number"),
        forged("-number", "5"),
        forged("-number", 5.5),
        forged("-number", None),
        forged("-number", 5, 6),
        forged("-finished_at", 5),
        forged({"order": "-number", "after": 5}),
        forged("-number", -1),
        base64.urlsafe_b64encode(b'["-number",9223372036854775808]').decode(),
        base64.urlsafe_b64encode(b'["-number",1' + b"0" * 4_000 + b"]").decode(),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        encode_cursor(Order.NEWEST, 5) + "!",
        " " + encode_cursor(Order.NEWEST, 5),
        encode_cursor(Order.NEWEST, 5) + "\n",
        encode_cursor(Order.NEWEST, 5)[:4] + "!!!!" + encode_cursor(Order.NEWEST, 5)[4:],
        forged("-number", 5) + "====",
    ],
    ids=lambda cursor: repr(cursor[:24]),
)
def test_what_is_no_cursor_of_ours_is_refused(cursor: str) -> None:
    with pytest.raises(InputError) as refused:
        decode_cursor(cursor, Order.NEWEST)
    assert [(pointer, code) for pointer, code, _ in refused.value.errors] == [("/cursor", "bad_cursor")]


@unhurried
@given(st.text() | st.text(alphabet=URL_SAFE), orders)
def test_garbage_is_refused_and_breaks_nothing(text: str, order: Order) -> None:
    with pytest.raises(InputError):
        decode_cursor(text, order)


@unhurried
@given(orders, numbers, st.data())
def test_a_damaged_cursor_is_refused_or_names_a_row_that_can_be(order: Order, after: int, data: st.DataObject) -> None:
    cursor = made(order, after, datetime(2026, 11, 20, tzinfo=UTC))
    at = data.draw(st.integers(0, len(cursor) - 1))
    damaged = cursor[:at] + data.draw(st.characters()) + cursor[at + 1 :]
    try:
        number = decode_cursor(damaged, order).after
    except InputError:
        return
    assert 0 <= number <= LARGEST


def test_a_query_asks_for_the_newest_fifty_unless_told() -> None:
    query = TaskQuery()
    assert (query.order, query.limit, query.after) == ("-number", 50, None)
