"""Figures and text as people read them."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta

import pytest

from windlass.cli import human, options

_NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)


@pytest.mark.parametrize("module", [human, options])
def test_the_examples_in_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (5e18, "5000.0 PB")],
)
def test_a_size_has_one_decimal_and_the_largest_unit_it_reaches(count: float, text: str) -> None:
    assert human.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.9996, "1 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (3_600, "1 h"),
        (3_605, "1 h"),
        (5_400, "1 h 30 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_a_span_names_its_two_largest_units(seconds: float, text: str) -> None:
    assert human.span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "just now"), (5, "5 s ago"), (59.7, "1 min ago"), (-30, "in 30 s"), (-7200, "in 2 h"), (90_000, "1 d ago")],
)
def test_an_instant_is_said_in_its_largest_unit(seconds: float, text: str) -> None:
    assert human.ago(_NOW - timedelta(seconds=seconds), now=_NOW) == text


def test_an_instant_is_spelled_in_local_time() -> None:
    local = _NOW.astimezone()
    assert human.instant(_NOW, now=_NOW) == f"{local:%Y-%m-%d %H:%M:%S} (just now)"


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "a\rb", "a\nb", "\u202egnp.exe", "\u200b", "\x9b2J", "\u2028", "\ud800", "\x00"]
)
def test_text_that_could_steer_a_terminal_is_escaped(text: str) -> None:
    shown = human.printable(text)
    assert shown.isprintable()
    assert "\\" in shown


def test_ordinary_text_of_any_language_stays_as_it_is() -> None:
    assert human.printable("Größe 大小 🚀 [bold]") == "Größe 大小 🚀 [bold]"


def test_only_what_is_asked_for_is_let_through() -> None:
    assert human.printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"
