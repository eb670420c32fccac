"""What each setting says of itself, and how text becomes its value."""

from __future__ import annotations

import doctest
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from windlass.config import fields
from windlass.config.fields import fields_of, sections_of, spell
from windlass.config.schema import Settings

SETTINGS = fields_of(Settings)


class Inner(msgspec.Struct, frozen=True):
    """A section."""

    switch: Annotated[bool, Meta(description="On or off.")] = False
    mode: Annotated[Literal["b", "a"], Meta(description="A word.")] = "a"
    ratio: Annotated[float, Meta(gt=0, le=1, description="A part.")] = 0.5
    counts: Annotated[list[int], Meta(description="Some numbers.")] = []
    word: Annotated[str, Meta(description="Anything.")] = "x"
    free: Annotated[int, Meta(description="Any number.")] = 0
    maybe: Annotated[Annotated[int, Meta(ge=1, le=9)] | None, Meta(description="One or none.")] = None


class Tree(msgspec.Struct, frozen=True):
    """The whole."""

    inner: Inner = Inner()


INNER = fields_of(Tree)


def test_every_setting_has_a_meaning_of_one_line_and_a_type_with_words():
    for name, field in SETTINGS.items():
        assert field.description.endswith("."), name
        assert "\n" not in field.description, name
        assert field.expected, name


def test_every_section_says_what_it_is_about():
    dialects = ["downloads", "workmate", "check_result", "tasktrack", "enqueue"]
    assert list(sections_of(Settings)) == [
        *("workers", "outbound", "downloads", "simulate", "retention", "dialects"),
        *(f"dialects.{name}" for name in dialects),
        *("lease", "postgres"),
    ]
    for meaning in sections_of(Settings).values():
        assert meaning.endswith(".")
        assert "\n" not in meaning


def test_the_walk_finds_every_setting_with_its_default():
    def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in tree.items():
            found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        return found

    assert {name: field.default for name, field in SETTINGS.items()} == leaves(msgspec.to_builtins(Settings()))


def test_every_default_is_a_value_of_its_setting_as_itself_and_as_it_is_spelt():
    for field in SETTINGS.values():
        assert field.check(field.default) == field.default
        assert field.parse(spell(field.default)) == field.default


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("switch", "true or false"),
        ("mode", "one of a, b"),
        ("ratio", "a number above 0, at most 1"),
        ("counts", "a list of whole numbers"),
        ("word", "text"),
        ("free", "a whole number"),
        ("maybe", "a whole number from 1 to 9, or none"),
    ],
)
def test_the_type_of_a_setting_is_told_in_words(name: str, expected: str):
    assert INNER[f"inner.{name}"].expected == expected


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("switch", "true", True),
        ("switch", " TRUE ", True),
        ("switch", "1", True),
        ("switch", "false", False),
        ("switch", "False", False),
        ("switch", "0", False),
        ("mode", " a ", "a"),
        ("ratio", "1", 1.0),
        ("ratio", "5e-1", 0.5),
        ("counts", "1, 2,,3 ,", [1, 2, 3]),
        ("counts", "", []),
        ("free", " -7\n", -7),
        ("maybe", "none", None),
        ("maybe", "9", 9),
        ("word", "none", "none"),
        ("word", "a, b", "a, b"),
    ],
)
def test_text_is_read_as_the_setting_is_meant(name: str, text: str, value: Any):
    found = INNER[f"inner.{name}"].parse(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("switch", "yes"),
        ("switch", "on"),
        ("switch", "2"),
        ("switch", ""),
        ("mode", "A"),
        ("ratio", "0"),
        ("ratio", "nan"),
        ("ratio", "inf"),
        ("ratio", "0,5"),
        ("ratio", "1 0"),
        ("counts", "1,x"),
        ("counts", "1;2"),
        ("free", "1.5"),
        ("free", "1_000"),
        ("free", "1 000"),
        ("free", "0x10"),
        ("free", "10s"),
        ("free", "٣"),
        ("free", "none"),
        ("maybe", "0"),
        ("maybe", ""),
        ("word", " "),
    ],
)
def test_text_that_is_no_value_is_refused_with_what_is_wanted(name: str, text: str):
    field = INNER[f"inner.{name}"]
    with pytest.raises(ValueError, match="must be") as refused:
        field.parse(text)
    assert field.expected in str(refused.value)
    assert repr(text.strip()) in str(refused.value) or str(refused.value).startswith("is empty, ")


@pytest.mark.parametrize(
    ("name", "value"), [("switch", 1), ("free", True), ("free", "1"), ("counts", "1"), ("word", 1)]
)
def test_a_value_with_a_type_is_taken_as_that_type_alone(name: str, value: Any):
    with pytest.raises(ValueError, match="must be"):
        INNER[f"inner.{name}"].check(value)


def test_a_long_or_unprintable_value_is_told_short_and_escaped():
    with pytest.raises(ValueError, match="must be") as refused:
        INNER["inner.free"].parse("\x1b[2J\n" * 100)
    assert len(str(refused.value)) < 120
    assert str(refused.value).isprintable()


def test_the_examples_hold():
    assert doctest.testmod(fields) == (0, 2)
