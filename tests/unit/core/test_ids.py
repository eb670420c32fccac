"""How tasks are referred to, and what things may be called."""

from __future__ import annotations

import string
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windlass.core.ids import is_name, parse_task_ref
from windlass.wire.v1 import SubmitRequest

from .making import unhurried

PLAIN = string.ascii_letters + string.digits
NAME_CHARACTERS = PLAIN + "._-"
names = st.builds(str.__add__, st.sampled_from(PLAIN), st.text(alphabet=NAME_CHARACTERS, max_size=63))


@unhurried
@given(st.uuids(), st.sampled_from([str.lower, str.upper, str.title]))
def test_a_uuid_is_read_in_any_case_and_spelt_in_one(uuid: UUID, spell: object) -> None:
    assert callable(spell)
    assert parse_task_ref(spell(str(uuid))) == str(uuid)


@unhurried
@given(st.integers(0, 10**18 - 1))
def test_a_number_is_read_as_one(number: int) -> None:
    assert parse_task_ref(str(number)) == number


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+1", "1.0", "1e3", "0x10", "1 ", " 1", "1\n", "1_000", "²", "٣"),
        "9" * 19,
        "9" * 5_000,
        "0192e4a0-0000-7000-8000-00000000000",
        "0192e4a0-0000-7000-8000-0000000000011",
        "0192e4a0-0000-7000-8000-000000000001\n",
        "{0192e4a0-0000-7000-8000-000000000001}",
        "urn:uuid:0192e4a0-0000-7000-8000-000000000001",
        "0192e4a0000070008000000000000001",
        "0192e4a0-0000-7000-8000-00000000000g",
        "../../etc/passwd",
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_is_neither_names_no_task(text: str) -> None:
    assert parse_task_ref(text) is None


@unhurried
@given(st.text())
def test_whatever_is_read_fits_the_store(text: str) -> None:
    ref = parse_task_ref(text)
    if isinstance(ref, int):
        assert 0 <= ref < 2**63
    elif ref is not None:
        assert str(UUID(ref)) == ref


@unhurried
@given(names)
def test_letters_digits_dot_underscore_and_hyphen_make_a_name(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "../x", ".hidden", "-option", "a/b", "a\\b", "a b", " a", "a\n", "a\x00", "é", "a²", "a" * 65],
    ids=repr,
)
def test_what_could_lead_elsewhere_is_no_name(text: str) -> None:
    assert not is_name(text)


@unhurried
@example("a\n")
@given(names | st.text(alphabet=NAME_CHARACTERS + "/\n\x00 é", max_size=66) | st.text(max_size=5))
def test_a_request_may_name_exactly_what_is_a_name(text: str) -> None:
    body = msgspec.json.encode({"kind": "k", "queue": text, "tags": {text: ""}})
    try:
        accepted = msgspec.json.decode(body, type=SubmitRequest).queue == text
    except msgspec.ValidationError:
        accepted = False
    assert accepted == is_name(text)
