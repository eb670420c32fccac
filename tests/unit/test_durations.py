"""Durations as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.errors import InputError
from windlass.wire.durations import parse_duration

unhurried = settings(max_examples=60, deadline=None, database=None)


def seconds(value: float | str, *, max_s: float = 1e9) -> float:
    return parse_duration(value, pointer="/timeout", max_s=max_s)


@pytest.mark.parametrize(
    ("written", "meant_s"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5_400),
        ("1h", 3_600),
        ("2d", 172_800),
        ("250ms", 0.25),
        ("5ms", 0.005),
        ("1.5h", 5_400),
        ("0.5s", 0.5),
        ("1d2h3m4s5ms", 93_784.005),
        ("0s", 0),
        (" 5m ", 300),
        (90, 90),
        (2.5, 2.5),
        (0, 0),
    ],
    ids=repr,
)
def test_a_duration_is_a_number_of_seconds_or_numbers_with_units(written: float | str, meant_s: float) -> None:
    assert seconds(written) == pytest.approx(meant_s)


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "s", "m5", "5 m", "5m 3s", "5x", "5M", "5 minutes", "1e3s", ".5s", "5.s", "-5s", "+5s", "1,5s"),
        *("5m3", "3 5m", "inf", "nan", "infs", "0x5s", "٣s", "²s", "5m\n5", "PT5M", "1:30"),
        "9" * 13 + "s",
        "1.1234567s",
        "9" * 5_000 + "s",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_what_is_no_duration_is_refused_with_examples(written: str) -> None:
    with pytest.raises(
        InputError, match=r"write seconds as a number, or a string like '90s', '5m', '1h30m'"
    ) as refused:
        seconds(written)
    assert [(pointer, code) for pointer, code, _ in refused.value.errors] == [("/timeout", "bad_duration")]
    assert "has no unit" not in refused.value.detail
    assert len(refused.value.detail) < 200


@pytest.mark.parametrize("written", ["90", "1.5", "0", " 90 "])
def test_a_bare_string_is_refused_with_the_unit_it_lacks(written: str) -> None:
    with pytest.raises(InputError, match=f"a bare number has no unit: write '{written.strip()}s'") as refused:
        seconds(written)
    assert refused.value.code == "bad_duration"


@pytest.mark.parametrize("written", ["5.", ".5", "²", "9" * 13, "٣"])
def test_the_hint_is_given_only_where_following_it_helps(written: str) -> None:
    with pytest.raises(InputError) as refused:
        seconds(written)
    assert "has no unit" not in refused.value.detail


@pytest.mark.parametrize("number", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_a_number_that_is_no_length_of_time_is_refused(number: float) -> None:
    with pytest.raises(InputError, match="must be a finite number of seconds, 0 or more") as refused:
        seconds(number)
    assert refused.value.errors[0][:2] == ("/timeout", "bad_duration")


def test_a_duration_over_its_bound_is_refused_with_the_bound() -> None:
    assert seconds("60s", max_s=60) == 60
    for written in ("61s", 60.001, "1h"):
        with pytest.raises(InputError, match="at most 60 seconds"):
            seconds(written, max_s=60)


@unhurried
@given(st.text() | st.text(alphabet="0123456789.smhd "))
def test_no_text_is_read_as_something_that_is_no_length_of_time(text: str) -> None:
    try:
        read = seconds(text)
    except InputError:
        return
    assert 0 <= read <= 1e9
    assert any(unit in text for unit in "smhd")


@unhurried
@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_parts_add_up(days: int, hours: int, minutes: int, secs: int, millis: int) -> None:
    read = seconds(f"{days}d{hours}h{minutes}m{secs}s{millis}ms")
    assert read == pytest.approx(days * 86_400 + hours * 3_600 + minutes * 60 + secs + millis / 1_000)
