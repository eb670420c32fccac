"""JSON at the border: what is refused, how it is named, and that nothing else is."""

from __future__ import annotations

import enum
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from windlass.core.limits import JSON_DEPTH, JSON_KEYS_PER_OBJECT, JSON_NODES, STRING_BYTES
from windlass.errors import InputError
from windlass.wire.codec import decode_json, decode_strict, echo, encode_json, encode_view, pointer_to

unhurried = settings(max_examples=200, deadline=None, database=None)


def _refusal(raw: bytes) -> tuple[str, str]:
    """Give the code and the pointer of what `decode_strict` says."""
    with pytest.raises(InputError) as caught:
        decode_strict(raw)
    [(pointer, code, _)] = caught.value.errors
    return code, pointer


@pytest.mark.parametrize(
    ("raw", "offset"),
    [
        (b"", 0),
        (b" \n\t", 0),
        (b"\xef\xbb\xbf{}", 0),
        ("{}".encode("utf-16"), 0),
        ("{}".encode("utf-16-be"), 0),
        (b'{"a":"\xff"}', 6),
        (b'{"a":"\xc0\xaf"}', 6),
        (b'{"a":"\xed\xa0\x80"}', 6),
        (b"{} x", 3 + 1),
        (b"{}{}", 2 + 1),
        (b"[1,]", 3),
        (b'{"a":1,}', 7),
        (b"{'a':1}", 1),
        (b"[1", 2),
        (b"01", 1),
        (b"+1", 0),
        (b"1.", 2),
        (b"// note\n1", 0),
        (b'"\x01"', 1),
    ],
)
def test_what_is_no_json_is_refused_with_its_byte(raw: bytes, offset: int):
    with pytest.raises(InputError) as caught:
        decode_strict(raw)
    assert caught.value.code == "invalid_json"
    assert abs(caught.value.details["offset"] - offset) <= 1
    assert f"(byte {caught.value.details['offset']})" in caught.value.detail


@pytest.mark.parametrize(
    ("raw", "code", "pointer"),
    [
        (b"NaN", "non_finite_number", ""),
        (b'{"a":[NaN]}', "non_finite_number", ""),
        (b"[Infinity]", "non_finite_number", ""),
        (b"[-Infinity]", "non_finite_number", ""),
        (b'{"a":[0,1e999]}', "non_finite_number", "/a/1"),
        (b'{"a":-1e400}', "non_finite_number", "/a"),
        (b"[" + b"9" * 400 + b".5]", "non_finite_number", "/0"),
        (b'{"a":1,"a":1}', "duplicate_key", "/a"),
        (b'{"a":{"b":1 , "\\u0062" : 2}}', "duplicate_key", "/a/b"),
        (b'[{"a":1},{"x:y":1,"x:y":2}]', "duplicate_key", "/1/x:y"),
        (b'{"a":"\\":","b":1,"b":2}', "duplicate_key", "/b"),
        (b'{"a":":8080","b":1,"b":2}', "duplicate_key", "/b"),
        (b'{"a\\\\":1,"a\\\\":2}', "duplicate_key", "/a\\"),
        (b'{"":1,"":2}', "duplicate_key", "/"),
        (b"9223372036854775808", "number_out_of_range", ""),
        (b'{"n":-9223372036854775809}', "number_out_of_range", "/n"),
        (b"[" + b"1" * 5_000 + b"]", "number_out_of_range", "/0"),
        (b"[" + b"1" * 1_000_000 + b"]", "number_out_of_range", "/0"),
        (b'{"a":"\\u0000"}', "invalid_text", "/a"),
        (b'{"a\\u0000":1}', "invalid_text", ""),
        (b'["\\ud800"]', "invalid_text", "/0"),
        (b'["\\uDC00x"]', "invalid_text", "/0"),
        (b'["\\ud800\\u0041"]', "invalid_text", "/0"),
        (b"[" * 65 + b"]" * 65, "too_deep", "/0" * 64),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep", "/a" * 64),
        (b"[" * 1_000_000, "too_deep", "/0" * 64),
        (b'["[[[",' * 65 + b"1" + b"]" * 65, "too_deep", "/1" * 64),
        (b'["\\"[",' * 65 + b"1" + b"]" * 65, "too_deep", "/1" * 64),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_code_and_place(raw: bytes, code: str, pointer: str):
    assert _refusal(raw) == (code, pointer)


def test_a_document_may_be_as_large_as_its_limits_and_no_larger():
    keys = [f'"{index}":0' for index in range(JSON_KEYS_PER_OBJECT + 1)]
    assert decode_strict(("{" + ",".join(keys[1:]) + "}").encode())
    assert _refusal(('[{"a":{' + ",".join(keys) + "}}]").encode()) == ("too_many_keys", "/0/a")
    assert decode_strict(b"[" + b"0," * (JSON_NODES - 2) + b"0]")
    assert _refusal(b"[" + b"0," * (JSON_NODES - 1) + b"0]") == ("too_many_values", f"/{JSON_NODES - 1}")
    assert decode_strict(b'["' + b"x" * STRING_BYTES + b'"]')
    assert _refusal(b'["' + b"x" * (STRING_BYTES + 1) + b'"]') == ("string_too_long", "/0")
    assert _refusal(b'["' + b"\\\\" * (STRING_BYTES + 1) + b'"]') == ("string_too_long", "/0")
    assert _refusal(b'{"' + "é".encode() * (STRING_BYTES // 2 + 1) + b'":1}')[0] == "string_too_long"
    assert decode_strict(b"[" * JSON_DEPTH + b"]" * JSON_DEPTH)
    assert decode_strict(b"[" + b"[[]]," * 500 + b'"[[["]')


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"-0", 0),
        (b" [ 1 , 2 ] ", [1, 2]),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b'["1234567890123456789012345"]', ["1234567890123456789012345"]),
        (b"[1234567890123456789.25]", [1234567890123456789.25]),
        (b'["\\ud83d\\ude00"]', ["😀"]),
        (b'["\\\\u0000"]', ["\\u0000"]),
        (b'{"__proto__":1,"constructor":2,"__class__":3}', {"__proto__": 1, "constructor": 2, "__class__": 3}),
        (b'{"a":"{\\"a\\":1,\\"a\\":2}"}', {"a": '{"a":1,"a":2}'}),
        (b'{"a":":","b":" : "}', {"a": ":", "b": " : "}),
        (b"1e-999", 0.0),
    ],
)
def test_what_is_odd_but_right_is_read(raw: bytes, value: Any):
    assert decode_strict(raw) == value


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
_INT64 = st.integers(-(2**63), 2**63 - 1)
_DATA = st.recursive(
    st.none() | st.booleans() | _INT64 | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=30,
)


@given(_DATA, st.sampled_from([None, 1]), st.booleans())
@example({"a": "\\", '"': '\\"'}, None, True)
@unhurried
def test_it_reads_every_good_document_as_the_standard_library_does(value: Any, indent: int | None, ascii_only: bool):
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert decode_strict(raw) == json.loads(raw)


_FRAGMENTS = st.lists(
    st.sampled_from(
        [*'{}[],:" \\', '"a"', '"a":', "1", "1e999", "9" * 20, "NaN", "\\u0000", "\\ud800", "[" * 40, "]" * 40, "true"]
    ),
    max_size=40,
).map(lambda parts: "".join(parts).encode())


@given(st.binary() | _FRAGMENTS)
@unhurried
def test_it_raises_nothing_but_input_errors(raw: bytes):
    with suppress(InputError):
        value = decode_strict(raw)
        assert json.loads(raw) == value
        assert decode_json(encode_json(value)) == value


@given(st.lists(st.sampled_from(["a", "b", 'c"', "d:"]), min_size=1, max_size=6), st.booleans())
@unhurried
def test_a_repeated_key_never_passes(keys: list[str], spaced: bool):
    pairs = [f"{json.dumps(key)}{' : ' if spaced else ':'}0" for key in keys]
    raw = ('{"x":{' + ",".join(pairs) + "}}").encode()
    if len(set(keys)) == len(keys):
        assert decode_strict(raw) == {"x": dict.fromkeys(keys, 0)}
    else:
        assert _refusal(raw)[0] == "duplicate_key"


class _Colour(str, enum.Enum):  # noqa: UP042  # users have these too
    RED = "red"


@dataclass
class _Point:
    x: float


class _Sub(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ({"b": 1, "a": [None, True, 1.5]}, b'{"a":[null,true,1.5],"b":1}'),
        ((1, (2,)), b"[1,[2]]"),
        (_Colour.RED, b'"red"'),
        ({_Sub("k"): _Sub("v")}, b'{"k":"v"}'),
        ([_Point(1.0)], b'[{"x":1.0}]'),
        (datetime(2026, 11, 20, tzinfo=UTC), b'"2026-11-20T00:00:00Z"'),
        (2**63 - 1, b"9223372036854775807"),
        ("1" * 30, b'"' + b"1" * 30 + b'"'),
        ({"a": "é😀"}, '{"a":"é😀"}'.encode()),
    ],
)
def test_data_is_spelled_in_one_way(value: Any, raw: bytes):
    assert encode_json(value) == raw


_LOOP: list[Any] = [1]
_LOOP.append({"again": _LOOP})


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        (math.nan, "at the top", "nan"),
        ({"rows": [1, math.inf]}, "at /rows/1", "inf"),
        ([_Point(math.nan)], "at /0/x", "nan"),
        ({"a": {1: 2}}, "at /a", "the key '1', which is no string"),
        ({"a": {None: 2}}, "at /a", "no string"),
        (_LOOP, "at /1/again", "holds itself"),
        (["\ud800"], "at /0", "surrogate"),
        ({"\udfff": 1}, "at the top", "surrogate"),
        ([2**63], "at /0", "64 bits"),
        ([-(2**63) - 1], "at /0", "64 bits"),
        ({"a": object()}, "at /a", "an object of type object"),
        ({"a": msgspec.Raw(b"1")}, "at /a", "an object of type Raw"),
        (json.loads("[" * 65 + "]" * 65), "at /0", "64 levels"),
    ],
)
def test_what_json_cannot_hold_is_refused_by_name_and_place(value: Any, where: str, what: str):
    with pytest.raises(InputError) as caught:
        encode_json(value)
    assert caught.value.code == "not_json"
    assert where in caught.value.detail
    assert what in caught.value.detail


class _Contrary:
    """Has a form in JSON through nothing, and will not be compared."""

    def __eq__(self, other: object) -> bool:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]


def test_an_object_that_will_not_be_compared_is_refused_all_the_same():
    with pytest.raises(InputError, match="_Contrary"):
        encode_json([1, _Contrary()])


@given(_DATA)
@unhurried
def test_what_is_written_is_read_back(value: Any):
    raw = encode_json(value)
    assert decode_json(raw) == decode_strict(raw) == value
    assert raw == encode_json(decode_json(raw))


def test_views_keep_the_order_of_their_fields():
    class View(msgspec.Struct):
        b: int
        a: int

    assert encode_view(View(1, 2)) == b'{"b":1,"a":2}'


def test_pointers_escape_and_echoes_are_cut():
    assert pointer_to(pointer_to("", "a/b"), "~") == "/a~1b/~0"
    assert echo("x" * 64) == "'" + "x" * 64 + "'"
    assert len(echo("x" * 65)) == 66
