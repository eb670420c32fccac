"""Where the items of a batch begin and end, whatever stands in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.errors import InputError
from windlass.wire.batch import NotABatch, items_of_document, items_of_lines

LARGE = 1 << 20

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
spaces = st.sampled_from(["", " ", "\r\n", "\t \n"])
items = st.lists(st.tuples(values, spaces, spaces), max_size=5)
few = settings(max_examples=60, deadline=None, database=None)


@few
@given(items, spaces, spaces, st.booleans())
def test_every_item_of_a_document_comes_out_as_it_went_in(items: Any, left: str, right: str, ascii_: bool) -> None:
    spelled = [json.dumps(value, ensure_ascii=ascii_).encode("utf-8", "surrogatepass") for value, _, _ in items]
    inner = b",".join(
        before.encode() + text + after.encode() for text, (_, before, after) in zip(spelled, items, strict=True)
    )
    document = f'{left}{{{right}"tasks"{left}:{right}['.encode() + inner + f"]{left}}}{right}".encode()
    assert list(items_of_document(document, max_bytes=LARGE)) == spelled


@few
@given(items)
def test_every_line_comes_out_as_it_went_in(items: Any) -> None:
    spelled = [json.dumps(value).encode() for value, _, _ in items]
    body = b"".join(
        before.encode() + text + after.encode() + b"\n" for text, (_, before, after) in zip(spelled, items, strict=True)
    )
    assert list(items_of_lines(body, max_bytes=LARGE)) == spelled


@few
@given(st.binary())
def test_garbage_is_split_or_refused_and_breaks_nothing(garbage: bytes) -> None:
    for body in (garbage, b'{"tasks":[' + garbage + b"]}"):
        try:
            for item in items_of_document(body, max_bytes=LARGE):
                assert item in body
        except NotABatch:
            pass
    assert all(line in garbage for line in items_of_lines(garbage, max_bytes=LARGE))


@pytest.mark.parametrize("split", [items_of_document, items_of_lines])
def test_an_item_may_be_as_large_as_is_said_and_no_larger(split: Any) -> None:
    fitting, larger = b'{"a":"xx"}', b'{"a":"xxx"}'
    frame = b'{"tasks":[%b,%b]}' if split is items_of_document else b"%b\n%b"
    assert list(split(frame % (fitting, fitting), max_bytes=10)) == [fitting, fitting]
    items = split(frame % (fitting, larger), max_bytes=10)
    assert next(items) == fitting
    with pytest.raises(InputError, match="10 bytes") as refused:
        next(items)
    assert refused.value.code == "body_too_large"


def test_what_never_ends_is_given_up_at_the_size_of_an_item() -> None:
    """Not at the end of the body, which may be 32 times as far."""
    for endless in (b"[" * 5_000, b'{"a":' * 5_000, b'["x",' * 5_000):
        with pytest.raises(InputError, match="1,000 bytes"):
            list(items_of_document(b'{"tasks":[' + endless, max_bytes=1_000))


def test_items_are_found_one_at_a_time() -> None:
    items = items_of_document(b'{"tasks":[1,2,{"a"', max_bytes=LARGE)
    assert (next(items), next(items)) == (b"1", b"2")
    with pytest.raises(NotABatch, match=r"too early \(byte 18\)"):
        next(items)
