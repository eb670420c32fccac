"""What each kind of answer makes of a call."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.app.signals import Fail
from windlass.core.limits import RESULT_BYTES
from windlass.errors import InputError, WindlassError
from windlass.handlers.http_call.answer import Answer, AnswerFull, CallFailed, failure_of, judge
from windlass.handlers.http_call.plan import KEPT_MAX_BYTES
from windlass.outbound.failure import FailureClass, TransferFailed
from windlass.outbound.guard import DestinationBlocked, check_url
from windlass.outbound.head import Head
from windlass.wire.codec import encode_json

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
JSON = ("content-type", "application/json; charset=utf-8")


def answered(status: int, content: bytes = b"", *fields: tuple[str, str], limit: int = KEPT_MAX_BYTES) -> Answer:
    answer = Answer(limit)
    answer.begin(Head(status, fields), check_url("https://api.example.org/a?token=s3cret&x=1"))
    try:
        answer.write(memoryview(content))
    except AnswerFull:
        assert answer.is_cut
    return answer


def result(status: int, content: bytes = b"", *fields: tuple[str, str], limit: int = KEPT_MAX_BYTES) -> dict[str, Any]:
    return judge(answered(status, content, *fields, limit=limit), 0.12345, NOW)


def refused(status: int, content: bytes = b"", *fields: tuple[str, str]) -> Fail | CallFailed:
    with pytest.raises((Fail, CallFailed)) as failure:
        judge(answered(status, content, *fields), 0.1, NOW)
    return failure.value


# ── success ────────────────────────────────────────────────────────


def test_an_answer_in_json_is_read():
    assert result(201, b'{"id": 7}', JSON, ("x-a", "1"), ("x-a", "2")) == {
        "status": 201,
        "headers": {"content-type": "application/json; charset=utf-8", "x-a": "1, 2"},
        "json": {"id": 7},
        "truncated": False,
        "url": "https://api.example.org/a?token=***&x=1",
        "elapsed_s": 0.123,
    }
    assert result(200, b"null", ("content-type", "application/problem+json"))["json"] is None


@pytest.mark.parametrize(
    "content", [b"{", b'{"a": 1, "a": 2}', b"NaN", b"[1e999]", b'"\\ud800"', b"[" * 65 + b"]" * 65, b""]
)
def test_json_that_is_none_or_too_much_is_kept_as_the_text_it_is(content: bytes):
    kept = result(200, content, JSON)
    assert "json" not in kept
    assert kept["body"] == content.decode()


def test_json_that_only_the_result_has_no_room_for_is_kept_as_text():
    deep = b"[" * 64 + b"]" * 64
    assert result(200, deep, JSON)["body"] == deep.decode()


def test_text_is_kept_as_text_and_bytes_as_base64():
    assert result(200, "naïve\n".encode())["body"] == "naïve\n"
    assert result(204)["body"] == ""
    for content in (b"\xff\xfe", b"a\0b", b"\x1b[31m", "é".encode("latin-1")):
        kept = result(200, content)
        assert "body" not in kept
        assert base64.b64decode(kept["body_base64"]) == content


def test_an_encoded_answer_is_never_decoded():
    kept = result(200, b"{}", JSON, ("content-encoding", "gzip"))
    assert kept["body_base64"] == "e30="


def test_an_answer_is_cut_at_its_limit_and_not_a_byte_before():
    assert (result(200, b"abcd", limit=4)["body"], result(200, b"abcd", limit=4)["truncated"]) == ("abcd", False)
    assert (result(200, b"abcde", limit=4)["body"], result(200, b"abcde", limit=4)["truncated"]) == ("abcd", True)
    assert result(200, "aé".encode(), limit=2)["body"] == "a"
    assert result(200, b"[1, 2]", JSON, limit=3)["body"] == "[1,"


@given(st.binary(max_size=64), st.integers(1, 20_000), st.sampled_from(["text/plain", "application/json"]))
def test_every_answer_makes_a_result_that_can_be_stored(content: bytes, times: int, media_type: str):
    fields = [("content-type", media_type), *((f"x-{index}", "\x01" * 600) for index in range(98))]
    kept = result(200, content * times, *fields)
    assert len(encode_json(kept)) <= RESULT_BYTES
    assert len({"json", "body", "body_base64"} & set(kept)) == 1


@pytest.mark.parametrize(
    "content", [b'"' * KEPT_MAX_BYTES, b"[" + b"1e15," * 100_000 + b"1]", b"\xff" * KEPT_MAX_BYTES]
)
def test_an_answer_that_grows_as_json_still_fits(content: bytes):
    assert len(encode_json(result(200, content, JSON))) <= RESULT_BYTES


def test_headers_are_bounded_and_cookies_are_nobodys_business():
    fields = [("set-cookie", "id=s3cret"), *((f"x-{index}", "v" * 500) for index in range(90))]
    headers = result(200, b"", *fields)["headers"]
    assert "set-cookie" not in headers
    assert 25 < len(headers) < 40


# ── no success ─────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [300, 301, 304, 307, 400, 401, 404, 409, 410, 422, 499])
def test_an_answer_that_will_not_change_fails_for_good(status: int):
    failure = refused(status, b"no")
    assert isinstance(failure, Fail)
    assert (failure.code, str(failure)) == ("http_status", f"HTTP {status} from api.example.org: no")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_an_answer_of_the_moment_is_tried_again(status: int):
    failure = refused(status)
    assert isinstance(failure, CallFailed)
    assert (failure.code, failure.after, str(failure)) == ("http_status", None, f"HTTP {status} from api.example.org")


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("86400", 3600.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("-5", None),
        ("soon", None),
        ("1e9", None),
    ],
)
def test_the_delay_that_is_asked_for_is_kept_up_to_an_hour(value: str, after: float | None):
    failure = refused(429, b"", ("retry-after", value))
    assert isinstance(failure, CallFailed)
    assert failure.after == after


def test_the_answer_shown_in_an_error_is_short_and_cannot_forge_a_line():
    told = str(refused(400, "a\r\n\x1b[31m\u202eé\0".encode() + b"\xff" + b"x" * 999))
    assert told.startswith("HTTP 400 from api.example.org: a\\r\\n\\x1b[31m\\u202eé\\x00\\xffxxx")
    assert told.isprintable()
    assert told.partition("ff")[2] == "x" * 241  # of 256 bytes


def test_nothing_of_the_url_but_its_host_is_told():
    assert "s3cret" not in str(refused(500)) + str(refused(404))


@pytest.mark.parametrize(
    ("error", "is_retried"),
    [
        (TransferFailed("slow", code="too_slow", kind=FailureClass.TRANSIENT), True),
        (TransferFailed("refused", code="not_connected", kind=FailureClass.UNREACHABLE), True),
        (TransferFailed("expired", code="tls_failed", kind=FailureClass.PERMANENT), True),
        (TransferFailed("garbage", code="bad_response", kind=FailureClass.PERMANENT), False),
        (TransferFailed("loop", code="too_many_redirects", kind=FailureClass.PERMANENT), False),
        (DestinationBlocked("inside"), False),
        (InputError("bad url", code="url_not_allowed"), False),
    ],
)
def test_a_call_without_an_answer_is_tried_again_unless_that_is_pointless(error: WindlassError, is_retried: bool):
    failure = failure_of(error)
    assert isinstance(failure, CallFailed if is_retried else Fail)
    assert (failure.code, str(failure)) == (error.code, error.detail)
