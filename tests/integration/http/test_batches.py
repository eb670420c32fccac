"""Many tasks in one request: all of them or none, and what is wrong is named by its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from live_front import LATER, Live

MIB = 1024 * 1024
NDJSON = "application/x-ndjson"


def item(queue: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "simulate", "queue": queue, "delay": LATER, **fields}


def lines(items: list[Any]) -> bytes:
    return b"\n".join(msgspec.json.encode(item) for item in items)


def send(live: Live, items: list[Any], form: str) -> Any:
    if form == "lines":
        return live.ask("POST", "/v1/tasks/batch", lines(items), Content_Type=NDJSON)
    return live.ask("POST", "/v1/tasks/batch", {"tasks": items})


@pytest.mark.parametrize("form", ["document", "lines"])
def test_a_batch_is_stored_whole_and_in_its_order(live: Live, form: str):
    queue = f"whole-{form}"
    answer = send(live, [item(queue, name=f"n{place}") for place in range(500)], form)
    assert answer.status == 202
    placed = answer.json["tasks"]
    assert [set(task) for task in placed] == [{"id", "number", "state"}] * 500
    stored = live.list(f"queue={queue}&order=number&limit=500")
    assert [(task["id"], task["number"], task["state"]) for task in stored] == [
        (task["id"], task["number"], task["state"]) for task in placed
    ]
    assert [task["name"] for task in stored] == [f"n{place}" for place in range(500)]


def test_empty_lines_are_passed_over_and_not_counted(live: Live):
    body = b"\r\n\n" + lines([item("lines")]) + b"\r\n  \n\n" + lines([{"kind": "simulate", "nmae": "x"}]) + b"\n"
    answer = live.ask("POST", "/v1/tasks/batch", body, Content_Type=NDJSON)
    assert (answer.status, answer.faults) == (422, [("/tasks/1/nmae", "unknown_field")])


@pytest.mark.parametrize("form", ["document", "lines"])
@pytest.mark.parametrize(
    ("broken", "pointer", "code"),
    [
        ({"priority": 999}, "/priority", "invalid_value"),
        ({"payload": {"duration_s": -1}}, "/payload/duration_s", "invalid_value"),
        ({"kind": "simulat"}, "/kind", "unknown_kind"),
    ],
)
def test_one_bad_item_of_ten_thousand_stores_nothing_and_is_named(
    live: Live, form: str, broken: dict[str, Any], pointer: str, code: str
):
    queue = "bad-item"
    items = [item(queue) for _ in range(10_000)]
    items[7_317] |= broken
    answer = send(live, items, form)
    assert (answer.status, answer.json["stored"]) == (422, "no")
    assert answer.faults[0][0].startswith(f"/tasks/7317{pointer}")
    assert {fault[1] for fault in answer.faults} == {code}
    assert live.numbers(f"queue={queue}") == []


def test_ten_thousand_are_taken_and_one_more_is_not(live: Live):
    items = [item("many")] * 10_001
    refused = send(live, items, "lines")
    assert (refused.status, refused.json["code"], refused.json["stored"]) == (413, "batch_too_large", "no")
    assert len(send(live, items[:-1], "lines").json["tasks"]) == 10_000


def test_thirty_two_mib_are_read_and_one_byte_more_is_not(live: Live):
    refused = live.ask("POST", "/v1/tasks/batch", b" " * (32 * MIB + 1), Content_Type=NDJSON)
    assert (refused.status, refused.json["code"]) == (413, "body_too_large")
    large = item("large", payload={"echo": ["x" * 200_000] * 5})
    body = lines([large] * 31)
    taken = live.ask("POST", "/v1/tasks/batch", body.ljust(32 * MIB), Content_Type=NDJSON)
    assert (taken.status, len(taken.json["tasks"])) == (202, 31)


@pytest.mark.parametrize("form", ["document", "lines"])
def test_one_item_may_be_as_large_as_a_single_task(live: Live, form: str):
    large = item("large-item", payload={"echo": ["x" * 200_000] * 6})
    answer = send(live, [item("large-item"), large], form)
    assert (answer.status, answer.faults) == (413, [("/tasks/1", "body_too_large")])


def test_the_limits_of_json_are_those_of_each_item(live: Live):
    items = [item("values", payload={"echo": list(range(1_000))})] * 150
    assert send(live, items, "document").status == 202
    items[140] = item("values", payload={"echo": [0] * 100_000})
    refused = send(live, items, "document")
    assert (refused.status, refused.faults) == (422, [("/tasks/140/payload/echo/99994", "too_many_values")])


def test_broken_items_are_all_named_up_to_a_bound(live: Live):
    items: list[Any] = [item("bound") for _ in range(100)]
    items[3] = 7
    items[5] = {"kind": "simulate", "delay": "5", "queue": "!"}
    items[9] = {}
    answer = send(live, items, "document")
    assert answer.faults == [
        ("/tasks/3", "invalid_value"),
        ("/tasks/5/queue", "invalid_value"),
        ("/tasks/5/delay", "bad_duration"),
        ("/tasks/9/kind", "missing_field"),
    ]
    assert len(send(live, [{}] * 100, "document").faults) == 20


@pytest.mark.parametrize(
    ("body", "status", "pointer", "code"),
    [
        (b'{"tasks":[]}', 422, "/tasks", "invalid_value"),
        (b'{"tasks":{}}', 422, "/tasks", "invalid_value"),
        (b"{}", 422, "/tasks", "missing_field"),
        (b"[]", 422, "", "invalid_value"),
        (b"", 400, "", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate"}]', 400, "", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate"},]}', 400, "/tasks/1", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate"} {"kind":"simulate"}]}', 400, "", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate"}]}x', 400, "", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate"', 400, "", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate}]}', 400, "", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate",}]}', 400, "/tasks/0", "invalid_json"),
        (b'{"tasks":[{"kind":"simulate","kind":"simulate"}]}', 400, "/tasks/0/kind", "duplicate_key"),
        (b'{"tasks":[{"kind":"simulate"}],"tasks":[]}', 400, "/tasks", "duplicate_key"),
        (b'{"tasks":[{"kind":"simulate"}],"all":true}', 422, "/all", "unknown_field"),
        (b'{"tasks":[{"kind":"simulate","payload":{"echo":NaN}}]}', 400, "/tasks/0", "non_finite_number"),
        (b'{"tasks":[' + b"[" * 70 + b"]" * 70 + b"]}", 422, "/tasks/0" + "/0" * 64, "too_deep"),
    ],
)
def test_what_is_no_batch_is_refused(live: Live, body: bytes, status: int, pointer: str, code: str):
    answer = live.ask("POST", "/v1/tasks/batch", body, Content_Type="application/json")
    assert (answer.status, answer.faults) == (status, [(pointer, code)])


@pytest.mark.parametrize("body", [b"", b"\n \n"])
def test_no_lines_are_no_batch(live: Live, body: bytes):
    answer = live.ask("POST", "/v1/tasks/batch", body, Content_Type=NDJSON)
    assert (answer.status, answer.faults) == (422, [("/tasks", "invalid_value")])


def test_a_line_that_is_no_json_is_named_and_the_others_are_read(live: Live):
    answer = live.ask("POST", "/v1/tasks/batch", b'{"kind":\n{"kind":"nothing"}\n{"a":1}', Content_Type=NDJSON)
    assert answer.status == 400
    assert answer.faults == [
        ("/tasks/0", "invalid_json"),
        ("/tasks/2/a", "unknown_field"),
        ("/tasks/2/kind", "missing_field"),
    ]


@pytest.mark.parametrize("media", ["text/plain", "application/json-seq", ""])
def test_other_bodies_are_not_read(live: Live, media: str):
    assert live.ask("POST", "/v1/tasks/batch", b"{}", Content_Type=media).status == 415


def test_a_key_that_is_taken_names_its_place_and_stores_nothing(live: Live):
    taken = live.submit(queue="keys", key="taken")
    items = [item("keys"), item("keys", key="taken", payload={"duration_s": 9})]
    answer = send(live, items, "document")
    assert (answer.status, answer.json["code"], answer.json["stored"]) == (409, "key_conflict", "no")
    assert answer.faults == [("/tasks/1/key", "key_conflict")]
    assert answer.json["task"]["id"] == taken["id"]
    assert live.numbers("queue=keys") == [taken["number"]]


def test_the_same_key_and_content_is_the_same_task_in_a_batch_too(live: Live):
    known = live.submit(queue="met", key="met")
    items = [item("met", key="met"), item("met", key="new"), item("met", key="new")]
    first, second, third = send(live, items, "lines").json["tasks"]
    assert (first["id"], second["id"]) == (known["id"], third["id"])
    assert len(live.numbers("queue=met")) == 2
    other = send(live, [item("met", key="fresh"), item("met", key="fresh", priority=1)], "lines")
    assert (other.status, other.faults) == (409, [("/tasks/1/key", "key_conflict")])


@pytest.mark.parametrize(
    "items",
    [
        b'{"kind":"simulate","delay":"1h"}',
        b'{"kind":"simulate","delay":"1h","payload":{"a":1,"a":1}}',
        b'{"kind":"simulate","delay":"1h","kind":"simulate"}',
        b'{"kind":"simulate","delay":"1h","name":"a\\u0000b"}',
        b'{"kind":"simulate","d\\u0065lay":"1h"}',
        b'{"kind":"simulate","delay":"1h","run_at":"2030-01-01T00:00:00Z"}',
        b'{"kind":"simulate","delay":"soon"},{"kind":"simulate","timeout":"never"}',
        b'{"kind":"simulate","payload":{"duration_s":123456789012345678901234567890}}',
        b'{"kind":"simulate","payload":{"duration_s":' + b"[" * 62 + b"]" * 62 + b"}}",
        b"",
        b'{"kind":"simulate"},',
        b'{"kind":"simulate"}],"tasks":[{"kind":"simulate"}',
    ],
)
def test_a_batch_is_judged_alike_whether_it_is_small_or_large(live: Live, items: bytes):
    small = live.ask("POST", "/v1/tasks/batch", b'{"tasks":[' + items + b"]}", Content_Type="application/json")
    padded = b'{"tasks":[' + b" " * (128 * 1024) + items + b"]}"
    large = live.ask("POST", "/v1/tasks/batch", padded, Content_Type="application/json")
    assert small.status == large.status
    if small.status != 202:
        assert (small.json["code"], small.faults) == (large.json["code"], large.faults)
