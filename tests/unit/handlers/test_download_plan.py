"""Plans, digests, answers to ranges, and the budget of tries: the rules of the downloader without a network."""

from __future__ import annotations

import base64
import doctest
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.limits import RESULT_BYTES
from windlass.errors import InputError, WindlassError
from windlass.handlers.download import digest as digest_module
from windlass.handlers.download.budget import PROGRESS_BYTES, TRIES, RetryBudget
from windlass.handlers.download.digest import LENGTHS, new_hash, read_repr_digest
from windlass.handlers.download.handler import fit
from windlass.handlers.download.plan import FileRequest, check_headers, plan_files
from windlass.handlers.download.resume import (
    Answer,
    RangeRefused,
    Validator,
    conditions,
    read_answer,
    validator_of,
)
from windlass.outbound.failure import FailureClass, TransferFailed
from windlass.outbound.head import Head
from windlass.wire.codec import encode_json

V1 = Validator("etag", '"v1"')


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(digest_module).failed == 0


# ── plans ──────────────────────────────────────────────────────────


def test_a_plan_names_each_file_once_and_the_same_every_time() -> None:
    files = ["http://a/x", FileRequest(url="http://b/y", name="X", digest="md5:" + "AB" * 16, max_bytes=5), "http://c/"]
    plans = plan_files(files)
    assert [plan.name for plan in plans] == ["x", "X (1)", "file_2"]
    assert (plans[1].digest, plans[1].max_bytes) == ("md5:" + "ab" * 16, 5)
    assert plan_files(files) == plans
    assert plans[0].fingerprint != plans[1].fingerprint


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pw@host/a@b", "http://***@host/a@b"),
        ("ftp://user:p@w@host", "ftp://***@host"),
        ("http://host/?q=a@b", "http://host/?q=a@b"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert plan_files([url])[0].shown_url == shown


def test_headers_pass_when_they_are_the_callers_to_set() -> None:
    assert check_headers(None) == ()
    given_headers = {"Authorization": " Basic abc ", "X-Own": "a b"}
    assert check_headers(given_headers) == (("Authorization", "Basic abc"), ("X-Own", "a b"))


@pytest.mark.parametrize(
    "headers",
    [
        {"HOST": "a"},
        {"Transfer-Encoding": "chunked"},
        {"If-Range": "x"},
        {"Proxy-Connection": "x"},
        {"X Y": "a"},
        {"": "a"},
        {"X": ""},
        {"X": "a\nb"},
        {"X": "ü"},
        {"X": "a\0"},
        {"X": "a" * 9000},
    ],
)
def test_headers_of_the_connection_and_malformed_ones_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InputError) as refused:
        check_headers(headers)
    assert refused.value.errors[0][:2] == ("/headers", "header_not_allowed")


@pytest.mark.parametrize(("algorithm", "length"), LENGTHS.items())
def test_every_algorithm_has_the_length_it_is_said_to_have(algorithm: str, length: int) -> None:
    assert len(new_hash(algorithm).hexdigest()) == length


@given(content=st.binary(max_size=50))
def test_a_digest_of_the_server_is_found_among_others(content: bytes) -> None:
    raw = hashlib.sha256(content).digest()
    value = f"sha-512=:AA==: ,sha-256=:{base64.b64encode(raw).decode()}:"
    assert read_repr_digest(value) == f"sha256:{raw.hex()}"
    assert read_repr_digest("x" + value) == f"sha256:{raw.hex()}"


@pytest.mark.parametrize("value", [None, "", "sha-256=abc", "sha-256=:AA==:", "sha-256=:====:", "xsha-256=:AA==:"])
def test_a_digest_that_cannot_be_read_is_none(value: str | None) -> None:
    assert read_repr_digest(value) is None


def test_a_result_that_would_be_too_large_says_what_it_leaves_out() -> None:
    entries: list[dict[str, Any]] = [{"url": "http://a/" + "x" * 8000, "name": str(at)} for at in range(200)]
    result = fit(entries)
    assert len(encode_json(result)) <= RESULT_BYTES
    assert result["omitted"] == 200 - len(result["files"]) > 0
    assert fit(entries[:3]) == {"files": entries[:3]}


# ── answers ────────────────────────────────────────────────────────


def answer(status: int, /, **fields: str) -> Answer:
    head = Head(status, tuple((name.replace("_", "-"), value) for name, value in fields.items()))
    return read_answer(head, host="example.org", offset=50, size=100, validator=V1)


def test_only_what_can_be_recognised_is_asked_to_be_continued() -> None:
    assert conditions(50, V1) == (("Range", "bytes=50-"), ("If-Range", '"v1"'))
    assert conditions(0, V1) == conditions(50, None) == ()


def test_a_fitting_part_continues_and_everything_else_that_is_whole_restarts() -> None:
    assert answer(206, content_range="bytes 50-99/100", etag='"v1"') == Answer("continue", 100, V1)
    assert answer(206, content_range="bytes 50-59/100", etag='"v1"').action == "continue"
    assert answer(200, content_length="7", etag='"v2"') == Answer("restart", 7, Validator("etag", '"v2"'))


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 49-99/100",
        "bytes 50-100/100",
        "bytes 50-49/100",
        "bytes 50-99/101",
        "bytes 50-99/*",
        "bytes */100",
        "items 50-99/100",
        "bytes 50-99/100 ",
        "bytes=50-99/100",
        "bytes +50-99/100",
        "",
    ],
)
def test_a_part_that_is_not_exactly_the_rest_is_refused(content_range: str) -> None:
    with pytest.raises(RangeRefused):
        answer(206, content_range=content_range, etag='"v1"')


def test_nothing_more_to_send_is_complete_only_at_the_known_size() -> None:
    head = Head(416, (("content-range", "bytes */50"), ("etag", '"v1"')))
    whole = read_answer(head, host="h", offset=50, size=None, validator=V1)
    assert (whole.action, whole.size) == ("complete", 50)
    for size, fields in ((100, head.fields), (None, head.fields[:1]), (None, head.fields[1:])):
        with pytest.raises(RangeRefused):
            read_answer(Head(416, fields), host="h", offset=50, size=size, validator=V1)


def test_a_date_may_be_left_out_of_a_part_but_must_not_differ() -> None:
    dated = Validator("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT")
    fields = (("content-range", "bytes 50-99/100"),)
    assert read_answer(Head(206, fields), host="h", offset=50, size=100, validator=dated).action == "continue"
    other = (*fields, ("last-modified", "Tue, 14 Nov 2023 22:13:21 GMT"))
    with pytest.raises(RangeRefused):
        read_answer(Head(206, other), host="h", offset=50, size=100, validator=dated)


def test_a_weak_etag_is_not_made_up_for_by_a_date() -> None:
    dates = (("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT"), ("date", "Wed, 15 Nov 2023 22:13:20 GMT"))
    assert validator_of(Head(200, dates)) == Validator("last-modified", dates[0][1])
    assert validator_of(Head(200, (*dates, ("etag", 'W/"v1"')))) is None


# ── the budget ─────────────────────────────────────────────────────


def failed(kind: FailureClass, retry_after_s: float | None = None) -> TransferFailed:
    return TransferFailed("no", code="x", kind=kind, retry_after_s=retry_after_s)


TRANSIENT = failed(FailureClass.TRANSIENT)
UNREACHABLE = failed(FailureClass.UNREACHABLE)


def spend(
    budget: RetryBudget, error: WindlassError, *, received: int = 0, tried_s: float = 0.1, silent_s: float = 0.1
) -> float | None:
    return budget.next_delay_s(error, received=received, tried_s=tried_s, silent_s=silent_s, roll=0.5)


def delays(error: WindlassError, *, received: int = 0, tried_s: float = 0.1) -> list[float]:
    """Spend a fresh budget on one failure over and over."""
    budget, spent = RetryBudget(stall_s=600), list[float]()
    while (delay_s := spend(budget, error, received=received, tried_s=tried_s, silent_s=tried_s)) is not None:
        spent.append(delay_s)
        assert len(spent) < 100
    return spent


def test_each_class_has_its_own_number_of_tries() -> None:
    assert delays(TRANSIENT) == [0.75, 1.5, 3.0, 6.0]
    assert delays(failed(FailureClass.PERMANENT)) == []
    assert delays(failed(FailureClass.DISK)) == []
    assert delays(InputError("bad url")) == []
    assert delays(failed(FailureClass.INTEGRITY)) == [0.0]


@pytest.mark.parametrize("tried_s", [0.0, 1.0, 2.0, 4.0, 5.0, 9.0])
def test_a_host_that_cannot_be_reached_is_given_up_within_ten_seconds(tried_s: float) -> None:
    waited = delays(UNREACHABLE, tried_s=tried_s)
    assert len(waited) <= 2
    assert sum(waited) + tried_s * (len(waited) + 1) < 10


def test_a_host_that_gave_bytes_already_is_waited_for() -> None:
    assert len(delays(UNREACHABLE, received=1)) == TRIES - 1


def test_progress_renews_the_tries_and_a_byte_is_no_progress() -> None:
    budget = RetryBudget(stall_s=600)
    assert all(spend(budget, TRANSIENT, received=PROGRESS_BYTES * step) for step in range(1, 50))
    furthest = PROGRESS_BYTES * 49
    rest = [spend(budget, TRANSIENT, received=furthest + step) for step in range(1, 6)]
    assert rest[-1] is None


def test_bytes_fetched_again_from_the_start_are_no_progress() -> None:
    budget = RetryBudget(stall_s=600)
    assert [spend(budget, TRANSIENT, received=10**9) is None for _ in range(6)] == [False] * 4 + [True] * 2


def test_a_wish_for_time_is_granted_and_does_not_count_as_silence() -> None:
    budget = RetryBudget(stall_s=60)
    asked = failed(FailureClass.TRANSIENT, 3000.0)
    assert [spend(budget, asked) for _ in range(4)] == [3000.0] * 4


def test_a_file_that_stays_silent_for_too_long_is_given_up() -> None:
    budget = RetryBudget(stall_s=60)
    assert spend(budget, TRANSIENT, tried_s=30, silent_s=30) is not None
    assert spend(budget, TRANSIENT, tried_s=40, silent_s=40) is None
    moving = RetryBudget(stall_s=60)
    assert all(spend(moving, TRANSIENT, tried_s=50, silent_s=5) for _ in range(4))
