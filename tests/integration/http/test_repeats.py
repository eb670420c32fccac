"""Idempotency-Key: a request that is sent again gets the answer it got, and stores nothing more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from live import LiveServer, running
from live_front import LATER, Answer, Live

NAMED = "idempotency-replayed"


def one(queue: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "simulate", "queue": queue, "delay": LATER, **fields}


def send(live: Live, body: Any, key: str, *, path: str = "/v1/tasks", **headers: str) -> Answer:
    return live.ask("POST", path, body, Idempotency_Key=key, **headers)


def test_a_hundred_at_once_are_one_task_and_one_answer(live: Live):
    body = one("hundred", payload={"duration_s": 1})
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: send(live, body, "hundred"), range(100)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sorted(answer.headers.get(NAMED, "") for answer in answers) == ["", *["true"] * 99]
    assert live.numbers("queue=hundred") == [answers[0].json["number"]]


def test_a_hundred_batches_at_once_are_one_batch(live: Live):
    body = {"tasks": [one("batches")] * 20}
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: send(live, body, "b", path="/v1/tasks/batch"), range(100)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    assert sum(NAMED in answer.headers for answer in answers) == 99
    assert len(live.numbers("queue=batches")) == 20


def test_another_body_under_the_same_key_is_refused(live: Live):
    assert send(live, one("other"), "other").status == 202
    answer = send(live, one("other", priority=1), "other")
    assert (answer.status, answer.json["code"], answer.json["stored"]) == (422, "idempotency_mismatch", "no")
    assert len(live.numbers("queue=other")) == 1


def test_how_a_body_is_spelled_makes_no_other_request_of_it(live: Live):
    first = send(live, b'{"kind": "simulate", "queue": "spelled", "delay": "1h"}', "s", Content_Type="application/json")
    again = send(live, b'{"delay":"1h","queue":"spelled","kind":"simulate"}', "s", Content_Type="application/json")
    assert (again.status, again.body, again.headers[NAMED]) == (202, first.body, "true")
    items = [one("spelled"), one("spelled", name="b")]
    lines = b"\n".join(msgspec.json.encode(item) for item in items)
    document = send(live, {"tasks": items}, "s", path="/v1/tasks/batch")
    by_line = send(live, lines, "s", path="/v1/tasks/batch", Content_Type="application/x-ndjson")
    assert NAMED not in document.headers
    assert (by_line.body, by_line.headers[NAMED]) == (document.body, "true")


def test_the_order_of_a_batch_belongs_to_its_content(live: Live):
    items = [one("order", name="a"), one("order", name="b")]
    assert send(live, {"tasks": items}, "order", path="/v1/tasks/batch").status == 202
    answer = send(live, {"tasks": items[::-1]}, "order", path="/v1/tasks/batch")
    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")


def test_a_refused_request_leaves_its_key_free(live: Live):
    assert send(live, one("refused", priority=999), "refused").status == 422
    assert send(live, one("refused", payload={"no": 1}), "refused").status == 422
    answer = send(live, one("refused"), "refused")
    assert (answer.status, NAMED in answer.headers) == (202, False)


def test_the_answer_stays_what_it_was_whatever_becomes_of_the_task(live: Live):
    body = {"kind": "simulate", "queue": "became", "payload": {"duration_s": 0}}
    first = send(live, body, "became")
    path = first.headers["location"]
    live.ask("GET", f"{path}?wait=0")
    while live.ask("GET", f"{path}?wait=5").json["state"] != "succeeded":
        pass
    assert send(live, body, "became").body == first.body
    assert live.ask("DELETE", path).status == 204
    again = send(live, body, "became")
    assert (again.status, again.body, again.headers[NAMED]) == (202, first.body, "true")
    assert live.ask("GET", path).status == 410


def test_what_met_a_key_is_answered_with_200_again(live: Live):
    live.submit(queue="met", key="met")
    first = send(live, one("met", key="met"), "met")
    again = send(live, one("met", key="met"), "met")
    assert (first.status, again.status, again.body) == (200, 200, first.body)


def test_a_repeat_that_would_wait_waits_for_the_task_as_it_is(live: Live):
    body = {"kind": "simulate", "queue": "waits", "payload": {"duration_s": 0.2}}
    first = send(live, body, "waits")
    assert (first.status, first.json["state"]) == (202, "queued")
    again = send(live, body, "waits", Prefer="wait=20")
    assert (again.status, again.json["state"], again.headers[NAMED]) == (200, "succeeded", "true")
    assert again.json["id"] == first.json["id"]
    assert live.ask("DELETE", first.headers["location"]).status == 204
    gone = send(live, body, "waits", Prefer="wait=20")
    assert (gone.status, gone.json["state"], gone.json["id"]) == (202, "queued", first.json["id"])


@pytest.mark.parametrize(
    ("one_way", "other_way"),
    [("abc", '"abc"'), ("8e03978e-40d5-43dd", '"8e03978e-40d5-43dd"'), ("a=b/c:d", '"a=b/c:d"')],
)
def test_a_key_may_stand_in_quotes_or_without(live: Live, one_way: str, other_way: str):
    first = send(live, one("quotes"), one_way)
    again = send(live, one("quotes"), other_way)
    assert (again.body, again.headers[NAMED]) == (first.body, "true")


@pytest.mark.parametrize(
    "key", ["", '""', '"a', "a b", "a,b", '"a" "b"', "é", '"a\tb"', "x" * 256, f'"{"x" * 256}"', '"\\a"']
)
def test_what_is_no_key_is_refused_before_anything_is_stored(live: Live, key: str):
    for path, body in (("/v1/tasks", one("no-key")), ("/v1/tasks/batch", {"tasks": [one("no-key")]})):
        answer = send(live, body, key.encode().decode("latin-1"), path=path)
        assert (answer.status, answer.faults) == (422, [("/Idempotency-Key", "invalid_value")]), key
    assert live.numbers("queue=no-key") == []


def test_keys_as_long_and_odd_as_they_may_be(live: Live):
    for key in ("x" * 255, '"a \\"b\\" \\\\ c"', '"a, b; c"'):
        assert send(live, one("odd"), key).status == 202
        assert send(live, one("odd"), key).headers[NAMED] == "true"


def test_the_answer_is_the_same_after_a_restart(tmp_path: Path):
    with running(tmp_path, WINDLASS_LOG_LEVEL="warning") as server:
        live = Live(server)
        single, batch = one("restart", key="k"), {"tasks": [one("restart")] * 3}
        first = send(live, single, "r"), send(live, batch, "r", path="/v1/tasks/batch")
        server.kill()
        restarted = Live(LiveServer.start(server))
        again = send(restarted, single, "r"), send(restarted, batch, "r", path="/v1/tasks/batch")
        assert [answer.body for answer in again] == [answer.body for answer in first]
        assert [answer.status for answer in again] == [202, 202]
        assert all(answer.headers[NAMED] == "true" for answer in again)
        assert len(restarted.numbers("queue=restart")) == 4
        assert server.stop() == 0
