"""Words of the command line become values, or are refused with the option's name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from windlass.cli import options
from windlass.core.limits import BATCH_BYTES
from windlass.errors import InputError


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        (["submit", "k", "--wait"], ["submit", "k", "--wait=forever"]),
        (["submit", "k", "--wait", "30"], ["submit", "k", "--wait", "30"]),
        (["submit", "k", "--wait", "1h30m"], ["submit", "k", "--wait", "1h30m"]),
        (["submit", "k", "--wait", "a=1"], ["submit", "k", "--wait=forever", "a=1"]),
        (["submit", "k", "--wait", "--json"], ["submit", "k", "--wait=forever", "--json"]),
        (["submit", "k", "--wait=5"], ["submit", "k", "--wait=5"]),
        (["submit", "k", "-"], ["submit", "k", "--stdin"]),
        (["submit", "k", "--", "-", "--wait"], ["submit", "k", "--", "-", "--wait"]),
        (["wait", "17", "-"], ["wait", "17", "-"]),
        ([], []),
    ],
)
def test_the_short_spellings_of_submit_are_spelled_out_and_nothing_else(words: list[str], spelled: list[str]) -> None:
    assert options.spell_out(words) == spelled


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("7.5", 7.5),
        ("true", True),
        ("null", None),
        ('"7"', "7"),
        ("[1, 2]", [1, 2]),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}),
        ("2026-11", "2026-11"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("a=b=c", "a=b=c"),
        ("", ""),
        ("{half", "{half"),
        ("1e999", "1e999"),
        ("\udcff", "\udcff"),
    ],
)
def test_a_fields_value_is_json_where_it_can_be_and_else_text(text: str, value: object) -> None:
    assert options.parse_fields([f"x={text}"]) == {"x": value}


@pytest.mark.parametrize(("words", "rule"), [(["a"], "name=value"), (["=1"], "name=value"), (["a=1", "a=2"], "twice")])
def test_a_field_that_cannot_be_meant_is_refused(words: list[str], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        options.parse_fields(words)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "123456789012345678901"])
def test_a_value_that_is_almost_json_is_refused_rather_than_taken_as_text(text: str) -> None:
    with pytest.raises(InputError):
        options.parse_fields([f"x={text}"])


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"7", b"\xff", b'{"a":1,"a":2}'])
def test_stdin_must_hold_a_json_object(raw: bytes) -> None:
    with pytest.raises(InputError, match="stdin"):
        options.parse_document(raw)
    assert options.parse_document(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(("text", "seconds"), [("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("1h30m", 5400.0)])
def test_a_bare_number_on_the_command_line_is_seconds(text: str, seconds: float) -> None:
    assert options.parse_seconds(text, "--delay") == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 minutes", "-3", "1e99", "99999d"])
def test_what_is_no_duration_is_refused_with_the_options_name(text: str) -> None:
    with pytest.raises(InputError) as caught:
        options.parse_seconds(text, "--delay")
    assert caught.value.errors[0][0] == "--delay"


def test_to_wait_without_a_time_is_to_wait_for_as_long_as_it_takes() -> None:
    assert options.parse_wait(options.FOREVER) is None
    assert options.parse_wait("5m") == 300.0


NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2h", datetime(2026, 11, 20, 13, tzinfo=UTC)),
        ("30d", datetime(2026, 10, 21, 15, tzinfo=UTC)),
        ("2026-11-20T14:00:00Z", datetime(2026, 11, 20, 14, tzinfo=UTC)),
        ("2026-11-20T14:00:00+01:00", datetime(2026, 11, 20, 13, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_instant_or_how_long_ago(text: str, instant: datetime) -> None:
    assert options.parse_instant(text, "--created-after", now=NOW) == instant


@pytest.mark.parametrize("text", ["", "90", "yesterday", "2026-11-20", "2026-11-20T15:00:00", "-2h", "999999999d"])
def test_what_is_no_time_is_refused_with_the_options_name(text: str) -> None:
    with pytest.raises(InputError, match="is no time") as caught:
        options.parse_instant(text, "--created-after", now=NOW)
    assert caught.value.errors[0][0] == "--created-after"


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        (["submit", "--batch", "-"], ["submit", "--batch=-"]),
        (["submit", "--batch", "tasks.ndjson"], ["submit", "--batch", "tasks.ndjson"]),
        (["submit", "k", "-", "--batch"], ["submit", "k", "--stdin", "--batch"]),
    ],
)
def test_a_hyphen_after_batch_is_its_file(words: list[str], spelled: list[str]) -> None:
    assert options.spell_out(words) == spelled


def test_a_batch_that_no_server_would_take_is_not_even_read_whole(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * (BATCH_BYTES + 1))
    with pytest.raises(InputError, match="33,554,432 bytes"):
        options.read_lines(str(tmp_path / "large"))
    (tmp_path / "fits").write_bytes(b" " * BATCH_BYTES)
    assert len(options.read_lines(str(tmp_path / "fits"))) == BATCH_BYTES
