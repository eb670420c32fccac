"""How the lines of `.env` are read."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_cases import Load, refusal

from windlass.config import env_file
from windlass.config.env_file import Line, parse_lines


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("A=x", "x"),
        ("  A = x  ", "x"),
        ("A=x\r", "x"),
        ("export A=x", "x"),
        ("export\t A=x", "x"),
        ("exportA=x", None),
        ("A=", ""),
        ("A=b=c", "b=c"),
        ("A=one two", "one two"),
        ("A=x # why", "x"),
        ("A=x\t# why", "x"),
        ("A=x#y", "x#y"),
        ("A=#x", "#x"),
        ("A= # why", ""),
        ("A=x #", "x"),
        ("A=x # y # z", "x"),
        ('A="x y"', "x y"),
        ("A='x y'", "x y"),
        ("A=' x '", " x "),
        ('A=""', ""),
        ('A="x # y"', "x # y"),
        ('A="x" # why', "x"),
        ('A="it\'s"', "it's"),
        (r'A="a\nb"', r"a\nb"),
        ("A='$HOME'", "$HOME"),
        ("A=$HOME", "$HOME"),
        ("A=it's", "it's"),
    ],
)
def test_a_value_is_read_as_it_is_written(written: str, value: str | None):
    name = "A" if value is not None else "exportA"
    assert list(parse_lines(written)) == [Line(1, name, value if value is not None else "x")]


@pytest.mark.parametrize("line", ["", "   ", "# A=x", "  #A=x", "#", "A", "export A", "=", "= x", "\r"])
def test_a_line_that_gives_nothing_is_passed_over(line: str):
    assert list(parse_lines(line)) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("A='x", "has an opening ' that is never closed"),
        ("A=\"x'", 'has an opening " that is never closed'),
        ("A='it's'", "goes on after its closing ': put the whole value into quotes of the other sort"),
        ('A="x"#y', 'goes on after its closing ": put the whole value into quotes of the other sort'),
        ("A x", "sets nothing: write NAME=value"),
        ("A: x", "sets nothing: write NAME=value"),
        ("export A x", "sets nothing: write NAME=value"),
    ],
)
def test_a_line_that_cannot_be_meant_so_says_why(line: str, problem: str):
    (found,) = parse_lines(line)
    assert (found.name.rstrip(":"), found.value) == ("A", "")
    assert found.problem == problem


def test_lines_are_counted_as_editors_count_them():
    text = "# one\r\n\r\nA=\x0c1\u2028\x852\nB=3"
    assert [(line.number, line.name) for line in parse_lines(text)] == [(3, "A"), (4, "B")]


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="'"), max_size=20))
def test_what_stands_in_quotes_comes_back_as_it_is(value: str):
    assert list(parse_lines(f"A='{value}'")) == [Line(1, "A", value)]


@given(st.text(max_size=80))
def test_no_text_is_too_odd_to_be_read(text: str):
    assert all(1 <= line.number <= text.count("\n") + 1 for line in parse_lines(text))


def test_the_examples_hold():
    assert doctest.testmod(env_file).failed == 0


def test_of_lines_that_name_the_same_setting_the_last_counts(load: Load):
    assert load(env="WINDLASS_PORT=1\nexport WINDLASS_port='2' # mine\n").port == 2
    assert load(env="WINDLASS_PORT=many\nWINDLASS_PORT=3\n").port == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("WINDLASS_PORT='1", "port (WINDLASS_PORT in .env, line 2): has an opening ' that is never closed"),
        ("WINDLASS_PORT: 1", "port: (WINDLASS_PORT: in .env, line 2): sets nothing: write NAME=value"),
        ("WINDLASS_PORT 1", "port (WINDLASS_PORT in .env, line 2): sets nothing: write NAME=value"),
        ("WINDLASS_PROT='1", "prot (WINDLASS_PROT in .env, line 2): has an opening ' that is never closed"),
    ],
)
def test_a_broken_line_of_ours_is_refused_by_its_number(load: Load, line: str, said: str):
    assert refusal(load, env=f"# mine\n{line}\n") == said


def test_broken_lines_of_others_are_left_alone(load: Load):
    text = "KEY='one\ntwo'\nOTHER: x\nWINDLAS_PORT='\nDATABASE_URL=\"a\"b\nWINDLASS_PORT=9001\n"
    assert load(env=text).port == 9001
