"""What a payload shows of what is secret in it: nothing."""

from __future__ import annotations

import json

import pytest

from windlass.wire.secrets import mask_payload


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        (["http://user:hunter2@h/a"], ["http://***@h/a"]),
        ([{"url": "https://hunter2@h/a?x=@", "name": "a"}], [{"url": "https://***@h/a?x=@", "name": "a"}]),
        (["http://h/a@b", 3], ["http://h/a@b", 3]),
    ],
)
def test_user_and_password_of_an_url_are_masked(files: list[object], shown: list[object]):
    masked = json.loads(mask_payload("download", json.dumps({"files": files}).encode()))
    assert masked == {"files": shown}


def test_headers_of_a_download_keep_their_names_alone():
    payload = {"files": ["http://h/a"], "headers": {"Authorization": "Bearer hunter2", "Cookie": "hunter2"}}
    masked = mask_payload("download", json.dumps(payload).encode())
    assert b"hunter2" not in masked
    assert json.loads(masked)["headers"] == {"Authorization": "***", "Cookie": "***"}


def test_what_holds_no_secret_is_not_touched():
    plain = b'{"files":["http://h/a"]}'
    assert mask_payload("download", plain) is plain
    theirs = b'{"headers":{"a":"b"},"mail":"me@h"}'
    assert mask_payload("build_report", theirs) is theirs


def test_a_call_shows_neither_headers_nor_passwords_nor_tokens():
    payload = {
        "url": "https://u:hunter2@h/a?access_token=hunter2&page=2&apiKey=hunter2;X-Amz-Signature=hunter2#hunter",
        "headers": {"Authorization": "Bearer hunter2"},
        "json": {"a": "b@c"},
    }
    masked = mask_payload("http", json.dumps(payload).encode())
    assert json.loads(masked) == {
        "url": "https://***@h/a?access_token=***&page=2&apiKey=***;X-Amz-Signature=***#hunter",
        "headers": {"Authorization": "***"},
        "json": {"a": "b@c"},
    }


def test_a_call_that_holds_no_secret_is_not_touched():
    plain = b'{"json":{"keyword":1},"url":"http://h/a?"}'
    assert mask_payload("http", plain) is plain
    assert json.loads(mask_payload("http", b'{"url":"http://h/?design=1&keyword=2"}')) == {
        "url": "http://h/?design=1&keyword=2"
    }
