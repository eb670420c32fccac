"""Tasks as the other dialects show them: their words, their durations, their results."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from dialect_cases import ERROR, ID, NOW, STARTED, task_in

from windlass.core.state import Reason, State
from windlass.http.dialects import check_result, enqueue, tasktrack, workmate
from windlass.wire.codec import encode_json, encode_view

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = State


def as_json(view: msgspec.Struct) -> dict[str, Any]:
    return msgspec.json.decode(encode_view(view))


WORDS = [
    (QUEUED, "created, but waiting to start", "in progress", "pending"),
    (RUNNING, "in process", "in progress", "running"),
    (SUCCEEDED, "completed", "completed", "done"),
    (FAILED, "failed by io bound", "failed", "failed"),
    (CANCELLED, "failed by io bound", "failed", "failed"),
]


@pytest.mark.parametrize(("state", "of_workmate", "of_check_result", "of_tasktrack"), WORDS)
def test_each_state_has_its_word_and_a_cancelled_task_reads_as_failed(
    state: State, of_workmate: str, of_check_result: str, of_tasktrack: str
):
    task = task_in(state)
    assert workmate.view(task, now=NOW).status == of_workmate
    assert check_result.view(task, b"{}", None).Status == of_check_result
    assert tasktrack.view(task, now=NOW).status == of_tasktrack


def test_no_state_is_without_a_word():
    assert {state for state, *_ in WORDS} == set(State)


# ── workmate ───────────────────────────────────────────────────────


def test_workmate_counts_whole_seconds_of_all_attempts_and_stops_at_the_end():
    def duration(**changes: Any) -> int:
        state = changes.pop("state", RUNNING)
        at = changes.pop("at", NOW)
        return workmate.view(task_in(state, **changes), now=at).duration

    assert duration(state=QUEUED) == 0
    assert duration() == 90
    assert duration(at=STARTED) == 0
    assert duration(at=STARTED + timedelta(seconds=0.999)) == 0
    assert duration(at=NOW + timedelta(seconds=1)) == 91
    assert duration(run_s=30.5) == 120
    assert duration(state=QUEUED, run_s=30.5) == 30
    assert duration(state=SUCCEEDED) == duration(state=SUCCEEDED, at=NOW + timedelta(days=1)) == 60
    assert duration(at=STARTED - timedelta(seconds=5)) == 0  # a clock that was set back


def test_a_result_of_workmate_is_a_digit_of_the_tasks_own():
    results = {workmate.result_of(task_in(SUCCEEDED)) for _ in range(3)}
    assert len(results) == 1
    of_many = {
        workmate.result_of(task_in(SUCCEEDED, id=f"01a1fb1e-ac96-77fd-b9c1-f31b812f79{index:02x}"))
        for index in range(64)
    }
    assert of_many == {f"io work result = {digit}" for digit in range(10)}
    for state in set(State) - {SUCCEEDED}:
        assert workmate.result_of(task_in(state)) is None


def test_workmate_lists_what_its_contract_names():
    shown = as_json(workmate.view(task_in(QUEUED), now=NOW))
    assert shown == {
        "id": ID,
        "result": None,
        "status": "created, but waiting to start",
        "created_at": "2026-11-20T15:00:00Z",
        "duration": 0,
    }
    made = as_json(workmate.WorkmateCreated(id=ID, created_at=NOW))
    assert made == {"id": ID, "created_at": "2026-11-20T15:01:40Z", "duration": 0}


# ── check_result ───────────────────────────────────────────────────


def test_check_result_shows_what_its_contract_names():
    payload = encode_json({"duration_s": [1, 2], "failure_rate": 0, "echo": {"task": "count"}})
    shown = as_json(check_result.view(task_in(RUNNING), payload, None))
    assert shown == {
        "Task": "count",
        "CreatedAt": "2026-11-20T15:00:00Z",
        "Task_identification": ID,
        "Result": "",
        "Status": "in progress",
    }
    of_own = check_result.view(task_in(RUNNING, kind="mine"), encode_json({"task": "count"}), None)
    assert of_own.Task == "count"


@pytest.mark.parametrize(
    ("returned", "shown"),
    [(b'"done"', "done"), (b'{"rows":3}', '{"rows":3}'), (b"7", "7"), (b"null", "null"), (b'""', ""), (None, "")],
)
def test_a_result_is_text_as_it_is_and_other_json_as_json(returned: bytes | None, shown: str):
    assert check_result.view(task_in(SUCCEEDED), b"{}", returned).Result == shown


def test_a_failed_task_shows_why_in_place_of_a_result():
    assert check_result.view(task_in(FAILED, error=ERROR), b"{}", None).Result == "the upstream is away"
    assert check_result.view(task_in(FAILED, reason=Reason.INTERRUPTED), b"{}", None).Result == "interrupted"
    assert check_result.view(task_in(CANCELLED, cancel_reason="enough"), b"{}", None).Result == "enough"
    assert check_result.view(task_in(RUNNING, error=ERROR), b"{}", None).Result == ""


# ── tasktrack ──────────────────────────────────────────────────────


def test_tasktrack_shows_the_labels_and_the_number_of_its_own():
    task = task_in(RUNNING, name="report", description="of November", run_s=0.001)
    item = {"id": 3, "name": "report", "description": "of November", "status": "running"}
    assert as_json(tasktrack.view_item(task)) == item
    single = {**item, "created_at": "2026-11-20T15:00:00Z", "duration": "1m30.001s"}
    assert as_json(tasktrack.view(task, now=NOW)) == single
    assert as_json(tasktrack.view_item(task_in(QUEUED)))["description"] == ""


@pytest.mark.parametrize(
    ("seconds", "spelt"),
    [
        (0, "0s"),
        (1e-9, "0s"),
        (1e-6, "1µs"),
        (0.000999, "999µs"),
        (0.001, "1ms"),
        (0.0015, "1.5ms"),
        (0.850, "850ms"),
        (0.999999, "999.999ms"),
        (0.9999999, "1s"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.999999, "59.999999s"),
        (60, "1m0s"),
        (60.000001, "1m0.000001s"),
        (242.348501, "4m2.348501s"),
        (3599.9999999, "1h0m0s"),
        (3600, "1h0m0s"),
        (3603, "1h0m3s"),
        (90061.25, "25h1m1.25s"),
    ],
)
def test_a_duration_is_spelt_in_the_largest_units_that_fit(seconds: float, spelt: str):
    assert tasktrack.spell_duration(seconds) == spelt


# ── enqueue ────────────────────────────────────────────────────────


def test_a_message_is_the_same_by_its_payload_and_retries_whatever_the_settings_have_become():
    message = enqueue.EnqueueRequest(id="a", payload="x", max_retries=2)
    stored = encode_json({"duration_s": [9, 9], "failure_rate": 1, "echo": {"id": "a", "payload": "x"}})
    assert enqueue.is_same(message, task_in(QUEUED, max_attempts=3), stored)
    assert enqueue.is_same(message, task_in(QUEUED, max_attempts=3, kind="mine"), b'{"id":"a","payload":"x"}')
    assert not enqueue.is_same(message, task_in(QUEUED, max_attempts=2), stored)
    other = enqueue.EnqueueRequest(id="a", payload="y", max_retries=2)
    assert not enqueue.is_same(other, task_in(QUEUED, max_attempts=3), stored)
