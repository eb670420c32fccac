"""What a handler takes: parameters as a payload, the context beside them, and what is refused at once."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta

from windlass.app.context import AsyncContext, BuiltinContext, Context
from windlass.app.signature import Signature, read_signature
from windlass.errors import ConfigError

unhurried = settings(max_examples=60, deadline=None, database=None)


class Format(enum.StrEnum):
    """A choice among words."""

    PDF = "pdf"
    CSV = "csv"


class Address(msgspec.Struct):
    """Where a report goes."""

    city: str
    zip: Annotated[str, Meta(pattern="^[0-9]{5}$")]


@dataclasses.dataclass
class Window:
    """A span of months."""

    first: int
    last: int = 12


class Customer:
    """A model as pydantic has them, as far as windlass looks: two methods, and errors that are ValueErrors."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def model_json_schema(cls, *, ref_template: str) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {"name": {"$ref": ref_template.format(model="CustomerName")}},
            "required": ["name"],
            "$defs": {"CustomerName": {"type": "string", "minLength": 1}},
        }

    @classmethod
    def model_validate(cls, value: Any) -> Customer:
        if not value.get("name"):
            raise ValueError("1 validation error for Customer: name is missing")
        return cls(value["name"])


def build_report(
    customer_id: int,
    month: Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}$")],
    *,
    format: Format = Format.PDF,  # noqa: A002
    copies: Annotated[int, Meta(ge=1, le=9)] = 1,
    note: str | None = None,
    ctx: Context,
) -> None:
    """Build the report of one customer.

    And more words that no list shows.
    """


def decoded(signature: Signature, payload: Any) -> dict[str, Any]:
    """Decode a payload as the worker does."""
    return signature.decode(msgspec.json.encode(payload))


def fits(signature: Signature, payload: Any) -> bool:
    """Say whether the server would take the payload: it has nothing but the schema."""
    return jsonschema_rs.validator_for(json.loads(signature.schema)).is_valid(payload)


def refusal(function: Callable[..., Any]) -> str:
    """Give the words with which a function is refused."""
    with pytest.raises(ConfigError) as refused:
        read_signature(function)
    return refused.value.detail


def nothing() -> None:
    """Take nothing."""


async def nothing_async() -> None:
    """Take nothing, in a loop."""


# ── payload ────────────────────────────────────────────────────────

REPORT = read_signature(build_report)

PAYLOADS: list[tuple[dict[str, Any], bool]] = [
    ({"customer_id": 7, "month": "2026-11"}, True),
    ({"customer_id": 7, "month": "2026-11", "format": "csv", "copies": 9, "note": "soon"}, True),
    ({"customer_id": 7, "month": "2026-11", "note": None}, True),
    ({}, False),
    ({"customer_id": 7}, False),
    ({"customer_id": "7", "month": "2026-11"}, False),
    ({"customer_id": 7.5, "month": "2026-11"}, False),
    ({"customer_id": None, "month": "2026-11"}, False),
    ({"customer_id": True, "month": "2026-11"}, False),
    ({"customer_id": 7, "month": "November"}, False),
    ({"customer_id": 7, "month": "2026-11", "format": "doc"}, False),
    ({"customer_id": 7, "month": "2026-11", "copies": 0}, False),
    ({"customer_id": 7, "month": "2026-11", "copies": 10}, False),
    ({"customer_id": 7, "month": "2026-11", "copies": None}, False),
    ({"customer_id": 7, "month": "2026-11", "mnoth": "2026-12"}, False),
    ({"customer_id": 7, "month": "2026-11", "ctx": {}}, False),
]


@pytest.mark.parametrize(("payload", "is_right"), PAYLOADS, ids=[json.dumps(payload) for payload, _ in PAYLOADS])
def test_the_server_takes_exactly_what_the_handler_can_be_called_with(payload: dict[str, Any], is_right: bool) -> None:
    assert fits(REPORT, payload) is is_right
    if is_right:
        assert set(decoded(REPORT, payload)) == {"customer_id", "month", "format", "copies", "note"}
    else:
        with pytest.raises(msgspec.ValidationError):
            decoded(REPORT, payload)


def test_arguments_come_with_the_types_of_the_parameters_and_their_defaults() -> None:
    assert decoded(REPORT, {"customer_id": 7, "month": "2026-11", "format": "csv"}) == {
        "customer_id": 7,
        "month": "2026-11",
        "format": Format.CSV,
        "copies": 1,
        "note": None,
    }


def test_the_schema_names_what_is_needed_and_what_is_meant_otherwise() -> None:
    schema = json.loads(REPORT.schema)
    [report] = [part for part in schema["$defs"].values() if "copies" in part.get("properties", {})]
    assert sorted(report["required"]) == ["customer_id", "month"]
    assert report["additionalProperties"] is False
    assert report["properties"]["copies"]["default"] == 1
    assert report["properties"]["format"]["default"] == "pdf"
    assert "ctx" not in report["properties"]


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"7", b'"x"', b'{"customer_id": 7'])
def test_what_is_no_object_fits_no_handler(payload: bytes) -> None:
    for signature in (REPORT, read_signature(nothing)):
        with pytest.raises(msgspec.DecodeError):
            signature.decode(payload)


def test_a_handler_without_parameters_takes_an_empty_object() -> None:
    signature = read_signature(nothing)
    assert decoded(signature, {}) == {}
    assert fits(signature, {})
    assert not fits(signature, {"x": 1})


def test_a_parameter_without_a_hint_takes_anything() -> None:
    def handler(x, y=3):
        return x, y

    signature = read_signature(handler)
    for value in (None, True, 1.5, "text", [1, {"a": None}], {}):
        assert fits(signature, {"x": value})
        assert decoded(signature, {"x": value}) == {"x": value, "y": 3}
    assert not fits(signature, {})


def test_structs_dataclasses_choices_and_times_are_read_as_what_they_are() -> None:
    def handler(to: Address, over: Window, at: datetime, how: Literal["fast", "well"], more: list[Address]) -> None: ...

    signature = read_signature(handler)
    address = {"city": "Bonn", "zip": "53111"}
    payload = {"to": address, "over": {"first": 3}, "at": "2026-11-20T15:00:00Z", "how": "well", "more": [address]}
    arguments = decoded(signature, payload)
    assert fits(signature, payload)
    assert arguments["to"] == Address("Bonn", "53111")
    assert arguments["more"] == [Address("Bonn", "53111")]
    assert arguments["over"] == Window(3, 12)
    assert arguments["at"].utcoffset() == timedelta(0)
    assert not fits(signature, payload | {"to": {"city": "Bonn", "zip": "x"}})
    assert not fits(signature, payload | {"how": "cheap"})


def test_a_mutable_default_is_not_shared_between_attempts() -> None:
    def handler(parts: list[int] = [1], tags: dict[str, str] = {}, seen: set[int] = {3}) -> None:  # noqa: B006
        ...

    signature = read_signature(handler)
    first = decoded(signature, {})
    first["parts"].append(2)
    first["tags"]["a"] = "b"
    first["seen"].clear()
    assert decoded(signature, {}) == {"parts": [1], "tags": {}, "seen": {3}}


def test_a_model_says_its_own_schema_and_checks_itself() -> None:
    def handler(customer: Customer, others: list[Customer] = []) -> None:  # noqa: B006
        ...

    signature = read_signature(handler)
    right = {"customer": {"name": "Ada"}, "others": [{"name": "Grace"}]}
    assert fits(signature, right)
    arguments = decoded(signature, right)
    assert isinstance(arguments["customer"], Customer)
    assert [other.name for other in (arguments["customer"], *arguments["others"])] == ["Ada", "Grace"]

    wrong = {"customer": {"name": ""}}
    assert not fits(signature, wrong)
    with pytest.raises(msgspec.ValidationError, match="name is missing"):
        decoded(signature, wrong)


@unhurried
@given(
    st.fixed_dictionaries(
        {"customer_id": st.integers(-(2**63), 2**63 - 1), "month": st.just("2026-11")},
        optional={
            "format": st.sampled_from(["pdf", "csv"]),
            "copies": st.integers(1, 9),
            "note": st.none() | st.text(),
        },
    )
)
def test_whatever_the_hints_allow_goes_through(payload: dict[str, Any]) -> None:
    assert fits(REPORT, payload)
    arguments = decoded(REPORT, payload)
    assert {name: arguments[name] for name in payload} == payload


# ── ctx ────────────────────────────────────────────────────────────


def test_a_context_is_given_to_those_who_ask_for_one() -> None:
    def plain(x: int, ctx: Context) -> None: ...
    def bare(ctx) -> None: ...
    async def awaited(ctx: AsyncContext, x: int = 1) -> None: ...
    async def bare_async(*, ctx) -> None: ...
    async def builtin(ctx: BuiltinContext) -> None: ...

    wanted = {
        plain: Context,
        bare: Context,
        awaited: AsyncContext,
        bare_async: AsyncContext,
        builtin: BuiltinContext,
        nothing: None,
        nothing_async: None,
    }
    for function, context in wanted.items():
        signature = read_signature(function)
        assert signature.context is context
        assert b"ctx" not in signature.schema


def test_a_context_of_the_other_sort_is_refused_with_the_right_one() -> None:
    def blocks(ctx: AsyncContext) -> None: ...
    async def awaits(ctx: Context) -> None: ...
    def too_much(ctx: BuiltinContext) -> None: ...
    def other(ctx: int) -> None: ...

    assert "its ctx is a windlass.Context" in refusal(blocks)
    assert "its ctx is a windlass.AsyncContext" in refusal(awaits)
    assert "its ctx is a windlass.Context" in refusal(too_much)
    assert "its ctx is a windlass.Context" in refusal(other)


# ── what cannot be a handler ───────────────────────────────────────


def test_parameters_that_an_object_cannot_fill_are_refused_by_name() -> None:
    def positional(x: int, /) -> None: ...
    def many(*numbers: int) -> None: ...
    def named(**options: int) -> None: ...
    def positional_ctx(ctx: Context, /) -> None: ...
    def many_ctx(*ctx: Context) -> None: ...
    def named_ctx(**ctx: Context) -> None: ...

    for function, parameter in (
        (positional, "'x: int'"),
        (many, "'*numbers: int'"),
        (named, "'**options: int'"),
        (positional_ctx, "'ctx: Context'"),
        (many_ctx, "'*ctx: Context'"),
        (named_ctx, "'**ctx: Context'"),
    ):
        message = refusal(function)
        assert f"the handler {function.__name__} takes" in message
        assert parameter.replace("'", "") in message.replace("'", "")
        assert "passed by its name" in message


def test_a_generator_is_refused() -> None:
    def lazy() -> Any:
        yield 1

    async def lazy_async() -> Any:
        yield 1

    assert "the handler lazy is a generator" in refusal(lazy)
    assert "the handler lazy_async is a generator" in refusal(lazy_async)


@pytest.mark.parametrize("hint", ["Nowhere", "datetime.nowhere", "int[", "int[str]"])
def test_hints_that_cannot_be_read_are_refused(hint: str) -> None:
    def handler(x: Any) -> None: ...

    handler.__annotations__["x"] = hint
    assert "the type hints of the handler handler cannot be read" in refusal(handler)


@pytest.mark.parametrize("hint", [complex, Callable[[], int], Context, object, Address | Window | Customer])
def test_hints_that_no_json_fits_are_refused(hint: Any) -> None:
    def handler(x: Any) -> None: ...

    handler.__annotations__["x"] = hint
    assert "the parameters of the handler handler cannot be matched to JSON" in refusal(handler)


def test_a_type_without_a_schema_is_refused_with_what_can_be_used() -> None:
    def handler(x: complex) -> None: ...

    assert "complex'> has no JSON Schema; use plain types, dataclasses, msgspec or pydantic models" in refusal(handler)


@pytest.mark.parametrize("default", [object(), math.nan, print], ids=["object", "nan", "function"])
def test_a_default_that_no_json_spells_is_refused(default: Any) -> None:
    def handler(x: Any = default) -> None: ...

    assert "the parameters of the handler handler cannot be matched to JSON" in refusal(handler)


@pytest.mark.parametrize("thing", [7, max, len], ids=repr)
def test_what_has_no_signature_of_its_own_is_refused(thing: Any) -> None:
    assert "the handler" in refusal(thing)
