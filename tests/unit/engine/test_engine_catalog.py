"""The kinds a server knows: which versions count, what fits them, and what is said of what does not."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from windlass.app.app import App
from windlass.core.kind import Isolation, Kind
from windlass.engine.catalog import Catalog
from windlass.errors import ConfigError, InputError, NotReadyError


def kind_of(function: Any, *, app: str = "tasks:app", version: str = "1", name: str | None = None) -> Kind:
    """Describe the kind of a handler as a worker announces it."""
    made = App(version=version)
    made.task(name)(function)
    return made.kinds(app=app)[0]


def refusal(catalog: Catalog, name: str, payload: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    with pytest.raises(InputError) as refused:
        catalog.check(name, payload)
    return refused.value.errors


def unknown(catalog: Catalog, name: str) -> InputError:
    with pytest.raises(InputError) as refused:
        catalog.find(name, all_have_said_hello=True)
    return refused.value


async def report(customer: int, month: str = "2026-01") -> None: ...


async def report_by_name(customer: str) -> None: ...


# ── versions ───────────────────────────────────────────────────────


def test_a_kind_is_live_while_a_worker_announces_it():
    catalog = Catalog()
    assert not catalog.is_live("report")
    catalog.announce("tasks:app", [kind_of(report)])
    assert catalog.is_live("report")
    catalog.announce("other:app", [kind_of(report_by_name, app="other:app")])
    assert catalog.is_live("report")
    catalog.announce("tasks:app", [])
    assert not catalog.is_live("report")
    assert [(each.kind.name, each.is_live) for each in catalog.statuses()] == [
        ("report", False),
        ("report_by_name", True),
    ]


def test_a_kind_remembered_by_the_store_is_known_and_not_live():
    catalog = Catalog()
    newer, older = kind_of(report, version="2"), kind_of(report_by_name, version="1", name="report")
    catalog.load([newer, older])
    assert catalog.find("report", all_have_said_hello=False) == newer
    assert not catalog.is_live("report")
    catalog.check("report", {"customer": 1})
    assert refusal(catalog, "report", {"customer": "one"})[0][0] == "/payload/customer"


def test_a_new_version_takes_the_place_of_the_one_before():
    catalog = Catalog()
    catalog.load([kind_of(report, version="1")])
    newer = kind_of(report_by_name, version="2", name="report")
    catalog.announce("tasks:app", [newer])
    assert catalog.find("report", all_have_said_hello=True) == newer
    assert [(each.kind.version, each.is_live) for each in catalog.statuses()] == [("2", True)]
    catalog.check("report", {"customer": "one"})
    assert refusal(catalog, "report", {"customer": 1})


def test_the_same_version_announced_again_is_live_once():
    catalog = Catalog()
    for _ in range(3):
        catalog.announce("tasks:app", [kind_of(report)])
    assert len(catalog.statuses()) == 1
    catalog.announce("tasks:app", [])
    assert not catalog.is_live("report")


def test_a_payload_fits_when_any_live_version_takes_it_and_otherwise_the_newest_says_why():
    catalog = Catalog()
    older = kind_of(report, version="1")
    newer = kind_of(report_by_name, version="2", name="report")
    catalog.announce("tasks:app", [older, newer])  # both live, as while one replaces the other
    catalog.check("report", {"customer": 1})
    catalog.check("report", {"customer": "one"})
    [(pointer, code, detail)] = refusal(catalog, "report", {"customer": None})
    assert (pointer, code) == ("/payload/customer", "invalid_value")
    assert "string" in detail


def test_a_live_version_goes_before_a_newer_one_that_is_not():
    catalog = Catalog()
    newer, older = kind_of(report_by_name, version="2", name="report"), kind_of(report, version="1")
    catalog.load([newer])
    catalog.announce("tasks:app", [older])
    assert catalog.find("report", all_have_said_hello=True) == older
    assert refusal(catalog, "report", {"customer": "one"})


def test_a_schema_that_cannot_be_used_changes_nothing_and_names_its_kind():
    async def coded(code: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]+\Z")]) -> None: ...

    catalog = Catalog()
    catalog.announce("tasks:app", [kind_of(report)])
    with pytest.raises(ConfigError, match="the schema of the kind 'coded'") as refused:
        catalog.announce("tasks:app", [kind_of(report_by_name), kind_of(coded)])
    assert r"\\A[a-z]+\\Z" in refused.value.detail
    assert catalog.is_live("report")
    assert [each.kind.name for each in catalog.statuses()] == ["report"]


# ── unknown kinds ──────────────────────────────────────────────────


def test_an_unknown_kind_is_refused_with_the_nearest_name():
    catalog = Catalog()
    catalog.announce("tasks:app", [kind_of(report), kind_of(report_by_name)])
    error = unknown(catalog, "raport")
    assert (error.code, error.errors[0][0]) == ("unknown_kind", "/kind")
    assert error.detail == "there is no kind 'raport'; did you mean 'report'?"


def test_an_unknown_kind_like_no_other_is_refused_with_all_names():
    catalog = Catalog()
    assert unknown(catalog, "x").detail == "there is no kind 'x'; known: none"
    catalog.announce("tasks:app", [kind_of(report_by_name), kind_of(report)])
    assert unknown(catalog, "zzzz").detail == "there is no kind 'zzzz'; known: report, report_by_name"


def test_an_unknown_kind_may_still_come_before_every_app_has_said_hello():
    with pytest.raises(NotReadyError) as refused:
        Catalog().find("x" * 1_000, all_have_said_hello=False)
    assert refused.value.details["retry_after_s"] > 0
    assert len(refused.value.detail) < 200


def test_no_more_of_an_unknown_name_is_echoed_than_may_be_shown():
    catalog = Catalog()
    catalog.announce("tasks:app", [kind_of(report)])
    assert len(unknown(catalog, "n" * 100_000).detail) < 200


# ── payloads ───────────────────────────────────────────────────────


class Address(msgspec.Struct, forbid_unknown_fields=True):
    city: str
    lines: Annotated[list[str], msgspec.Meta(max_length=3)] = []


async def ship(
    customer: int,
    to: Address,
    tags: dict[str, Annotated[int, msgspec.Meta(ge=0)]] | None = None,
    note: Annotated[str, msgspec.Meta(max_length=20, pattern="^[a-z ]*$")] = "",
) -> None: ...


@pytest.fixture
def catalog() -> Catalog:
    made = Catalog()
    made.announce("tasks:app", [kind_of(ship)])
    return made


GOOD = {"customer": 1, "to": {"city": "Ulm", "lines": ["a"]}, "tags": {"a/b": 1}, "note": "fine"}


def test_a_payload_that_fits_is_taken(catalog: Catalog):
    catalog.check("ship", GOOD)
    catalog.check("ship", {"customer": 1, "to": {"city": ""}})
    catalog.check("ship", GOOD | {"tags": None})


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"customer": "1"}, "/payload/customer", "invalid_value"),
        ({"customer": None}, "/payload/customer", "invalid_value"),
        ({"customer": True}, "/payload/customer", "invalid_value"),
        ({"to": {}}, "/payload/to/city", "missing_field"),
        ({"to": {"city": 5}}, "/payload/to/city", "invalid_value"),
        ({"to": {"city": "x", "lines": ["a", 2]}}, "/payload/to/lines/1", "invalid_value"),
        ({"to": {"city": "x", "lines": ["a"] * 4}}, "/payload/to/lines", "invalid_value"),
        ({"to": {"city": "x", "zip": 1}}, "/payload/to/zip", "unknown_field"),
        ({"note": "x" * 21}, "/payload/note", "invalid_value"),
        ({"note": "\x1b[2J"}, "/payload/note", "invalid_value"),
        ({"a/b~c": 1}, "/payload/a~1b~0c", "unknown_field"),
        ({"": 1}, "/payload/", "unknown_field"),
    ],
)
def test_what_does_not_fit_is_named_by_its_pointer_and_a_code(
    catalog: Catalog, change: dict[str, Any], pointer: str, code: str
):
    assert [error[:2] for error in refusal(catalog, "ship", GOOD | change)] == [(pointer, code)]


def test_every_broken_rule_is_named(catalog: Catalog):
    errors = refusal(catalog, "ship", {"custmer": 1, "to": {"lines": 5}})
    assert {error[:2] for error in errors} == {
        ("/payload/custmer", "unknown_field"),
        ("/payload/customer", "missing_field"),
        ("/payload/to/city", "missing_field"),
        ("/payload/to/lines", "invalid_value"),
    }
    assert ("/payload/custmer", "unknown_field", "ship takes no 'custmer'; did you mean 'customer'?") in errors


def test_a_field_like_no_other_is_refused_with_all_fields(catalog: Catalog):
    [(_, _, detail)] = refusal(catalog, "ship", GOOD | {"zzz": 1})
    assert detail == "ship takes no 'zzz'; it takes customer, note, tags, to"


def test_a_kind_without_fields_takes_an_empty_payload_alone():
    async def ping() -> None: ...

    catalog = Catalog()
    catalog.announce("tasks:app", [kind_of(ping)])
    catalog.check("ping", {})
    [(_, _, detail)] = refusal(catalog, "ping", {"x": 1})
    assert detail == "ping takes no 'x'; it takes no fields"


def test_no_more_of_a_payload_is_echoed_than_may_be_shown(catalog: Catalog):
    long = "secret " * 10_000
    for payload in (GOOD | {"note": long}, GOOD | {"customer": long}, GOOD | {long: 1}, GOOD | {"tags": {long: -1}}):
        for pointer, _, detail in refusal(catalog, "ship", payload):
            assert len(pointer) < 200
            assert len(detail) < 300


@pytest.mark.parametrize(
    "payload",
    [
        {f"field {n}": n for n in range(1_000)},
        {"customer": 1, "to": {"city": "x"}, "tags": {f"tag {n}": -1 for n in range(1_000)}},
        {f"{n}" + "x" * 100_000: n for n in range(9)},
    ],
    ids=["unknown fields", "broken values", "long names"],
)
def test_so_many_broken_rules_are_named_and_no_more(catalog: Catalog, payload: dict[str, Any]):
    errors = refusal(catalog, "ship", payload)
    assert 1 <= len(errors) <= 20
    assert sum(len(pointer) + len(detail) for pointer, _, detail in errors) < 10_000


def test_a_schema_of_another_making_is_understood():
    plain = Kind(
        name="plain",
        app="a:b",
        version="1",
        schema=b'{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}',
        isolation=Isolation.SHARED,
    )
    catalog = Catalog()
    catalog.announce("a:b", [plain])
    catalog.check("plain", {"n": 1, "more": True})
    assert [error[:2] for error in refusal(catalog, "plain", {})] == [("/payload/n", "missing_field")]


CHOICES = msgspec.json.encode(
    {
        "type": "object",
        "properties": {
            "files": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"type": "string", "minLength": 1},
                        {
                            "type": "object",
                            "properties": {"url": {"type": "string"}, "size": {"type": "integer"}},
                            "required": ["url"],
                            "additionalProperties": False,
                        },
                    ]
                },
            }
        },
    }
)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ({"url": "hunter2", "nam": 1}, ("/payload/files/0/nam", "unknown_field", "an object here takes no 'nam'")),
        (
            {"url": "hunter2", "size": "hunter2"},
            ("/payload/files/0/size", "invalid_value", 'this is not of type "integer"'),
        ),
        ("", ("/payload/files/0", "invalid_value", "this is shorter than 1 character")),
        (3, ("/payload/files/0", "invalid_value", "this is none of: string, object")),
    ],
)
def test_a_choice_is_explained_by_the_alternative_that_fits_and_echoes_nothing(
    item: object, problem: tuple[str, str, str]
):
    catalog = Catalog()
    kind = Kind(name="get", app="tasks:app", version="1", schema=CHOICES, isolation=Isolation.SHARED)
    catalog.announce("tasks:app", [kind])
    with pytest.raises(InputError) as refused:
        catalog.check("get", {"files": [item]})
    assert refused.value.errors == (problem,)


# ── other servers ──────────────────────────────────────────────────


def test_a_kind_that_lives_elsewhere_is_known_and_live_until_it_does_no_more():
    catalog = Catalog()
    catalog.follow([kind_of(report)], elsewhere=["report"])
    assert catalog.is_live("report")
    assert catalog.find("report", all_have_said_hello=True).name == "report"
    assert catalog.ours() == []
    catalog.follow([kind_of(report)], elsewhere=[])
    assert not catalog.is_live("report")
    assert [each.is_live for each in catalog.statuses()] == [False]


def test_what_lives_here_stays_live_whatever_the_store_lists():
    catalog = Catalog()
    catalog.announce("tasks:app", [kind_of(report)])
    for kinds in ([], [kind_of(report)], [kind_of(report_by_name, name="report", version="2"), kind_of(report)]):
        catalog.follow(kinds, elsewhere=[])
        assert catalog.ours() == ["report"]
        assert catalog.find("report", all_have_said_hello=True) == kind_of(report)
        assert refusal(catalog, "report", {"customer": "one"})


def test_a_payload_fits_when_the_version_here_or_the_newest_elsewhere_takes_it():
    catalog = Catalog()
    catalog.announce("tasks:app", [kind_of(report)])
    newer = kind_of(report_by_name, name="report", version="2")
    catalog.follow([newer, kind_of(report)], elsewhere=["report"])
    catalog.check("report", {"customer": 1})
    catalog.check("report", {"customer": "one"})
    assert refusal(catalog, "report", {"customer": None})


def test_a_newer_version_elsewhere_takes_the_place_of_the_one_before():
    catalog = Catalog()
    catalog.follow([kind_of(report)], elsewhere=["report"])
    newer = kind_of(report_by_name, name="report", version="2")
    catalog.follow([newer, kind_of(report)], elsewhere=["report"])
    assert catalog.find("report", all_have_said_hello=True) == newer
    assert refusal(catalog, "report", {"customer": 1})


def test_a_kind_of_another_server_whose_schema_cannot_be_used_is_left_out():
    catalog = Catalog()
    odd = msgspec.structs.replace(kind_of(report), name="odd", schema=b'{"pattern":"("}')
    catalog.follow([odd, kind_of(report)], elsewhere=["odd", "report"])
    assert [each.kind.name for each in catalog.statuses()] == ["report"]
