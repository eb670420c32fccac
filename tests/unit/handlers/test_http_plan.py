"""How the payload of a call becomes a request and its limits."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from windlass.errors import InputError
from windlass.handlers.app import app
from windlass.handlers.http_call.plan import Call, plan_limits, plan_request

TASK = "0192e4a0-0000-7000-8000-000000000001"
KIND = app.handlers["http"]


def plan(**payload: Any) -> Any:
    return plan_request(Call(url="http://h/", **payload), TASK)


def test_a_plain_call_carries_the_tasks_id_and_nothing_else():
    request = plan()
    assert (request.method, request.body, request.headers) == ("GET", None, (("Idempotency-Key", TASK),))
    assert request.takes_all


def test_json_goes_out_as_json_null_included():
    request = plan(method="POST", json={"b": [1, None], "a": "é"})
    assert request.body == '{"a":"é","b":[1,null]}'.encode()
    assert dict(request.headers)["Content-Type"] == "application/json"
    assert plan(method="POST", json=None).body == b"null"


def test_text_goes_out_as_text():
    request = plan(method="PUT", body="é")
    assert request.body == "é".encode()
    assert dict(request.headers)["Content-Type"] == "text/plain; charset=utf-8"


def test_headers_of_the_caller_go_before_ours_whatever_their_case():
    request = plan(method="POST", body="a=b", headers={"content-TYPE": "application/x-form", "idempotency-key": "mine"})
    assert request.headers == (("content-TYPE", "application/x-form"), ("idempotency-key", "mine"))


@pytest.mark.parametrize(
    "name", ["Host", "connection", "Transfer-Encoding", "Content-Length", "Proxy-Authorization", "Range", "If-Match"]
)
def test_a_header_that_is_the_connections_is_refused_without_its_value(name: str):
    with pytest.raises(InputError) as refusal:
        plan(headers={name: "s3cret"})
    assert refusal.value.code == "header_not_allowed"
    assert "s3cret" not in refusal.value.detail


@pytest.mark.parametrize(
    "headers", [{"A": "b\r\nC: d"}, {"A": "b\nc"}, {"A": "b\0"}, {"A\r\nB": "c"}, {"A": ""}, {"": "a"}, {"A": "é"}]
)
def test_a_header_that_could_end_its_line_is_refused(headers: dict[str, str]):
    with pytest.raises(InputError) as refusal:
        plan(headers=headers)
    assert refusal.value.code == "header_not_allowed"


@pytest.mark.parametrize(
    "payload", [{"method": "POST", "json": 1, "body": "a"}, {"json": {}}, {"method": "HEAD", "body": ""}]
)
def test_a_body_that_cannot_be_is_refused(payload: dict[str, Any]):
    with pytest.raises(InputError) as refusal:
        plan(**payload)
    assert refusal.value.code == "payload_invalid"


def test_a_call_ends_before_its_attempt_does():
    call = Call(url="http://h/", timeout_s=60)
    assert [plan_limits(call, left_s).total_s for left_s in (None, 900.0, 30.0, 0.5, -3.0)] == [60, 60, 29, 0.1, 0.1]
    assert plan_limits(call, 5.0).connect_s == 4
    assert plan_limits(call, None).low_speed_bytes_per_s == 0


@pytest.mark.parametrize(
    "payload",
    [
        b"{}",
        b'{"url": "ftp://h/"}',
        b'{"url": "http://"}',
        b'{"url": "http://user:s3cret@h/"}',
        b'{"url": "http://h/", "method": "CONNECT"}',
        b'{"url": "http://h/", "method": "get"}',
        b'{"url": "http://h/", "headers": {"A": 1}}',
        b'{"url": "http://h/", "timeout_s": 0}',
        b'{"url": "http://h/", "max_bytes": 600000}',
        b'{"url": "http://h/", "redirects": 6}',
        b'{"url": "http://h/", "proxy": "http://h/"}',
    ],
)
def test_a_payload_that_is_not_understood_is_refused_as_it_is_submitted(payload: bytes):
    with pytest.raises(msgspec.ValidationError):
        KIND.signature.decode(payload)


def test_the_payload_tells_null_from_nothing():
    assert KIND.signature.decode(b'{"url": "HTTPS://h?a=@"}')["json"] is msgspec.UNSET
    assert KIND.signature.decode(b'{"url": "http://h/", "json": null}')["json"] is None


def test_the_kind_says_what_it_does_and_when_it_gives_up():
    kind = KIND.kind
    assert (kind.name, kind.isolation, kind.queue, kind.timeout_s, kind.max_attempts) == (
        "http",
        "shared",
        "default",
        900.0,
        5,
    )
    assert "2xx is success" in kind.summary
    assert math.isclose(KIND.signature.decode(b'{"url": "http://h/"}')["timeout_s"], 60)
