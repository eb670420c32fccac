"""The shapes of the native API: what a view shows, leaves out and computes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from windlass.core.ids import TaskId, Token
from windlass.core.kind import Isolation, Kind
from windlass.core.state import State
from windlass.core.task import Error, Progress, Task
from windlass.core.waiting import Waiting
from windlass.wire.codec import encode_view
from windlass.wire.v1 import (
    CancelRequest,
    EmptyRequest,
    KindView,
    Name,
    SubmitRequest,
    TaskView,
    run_seconds,
    view_kind,
    view_progress,
    view_task,
)

T0 = datetime(2026, 11, 20, 15, 0, 0, 250_000, tzinfo=UTC)


def _task(**fields: Any) -> Task:
    made: dict[str, Any] = {
        "number": 17,
        "id": TaskId("0192e4a0-0000-7000-8000-000000000001"),
        "kind": "echo",
        "queue": "default",
        "state": State.QUEUED,
        "created_at": T0,
        "run_at": T0,
    }
    return Task(**(made | fields))


def _after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def test_nothing_of_the_inside_is_shown():
    task = _task(token=Token("f" * 32), fingerprint=b"secret", solo=True, lost=1, interrupted=1)
    shown = msgspec.json.decode(encode_view(view_task(task, now=T0, waiting=Waiting.SLOT, payload=b"{}")))
    assert not {"token", "fingerprint", "solo", "lost", "interrupted", "retry", "held"} & shown.keys()
    assert "f" * 32 not in str(shown)


def test_instants_are_utc_with_their_fraction():
    shown = msgspec.json.decode(encode_view(view_task(_task(), now=T0, waiting=None)))
    assert shown["created_at"] == "2026-11-20T15:00:00.250000Z"


@pytest.mark.parametrize(
    ("payload", "result", "shown"),
    [
        (None, None, {}),
        (b'{"a":1}', None, {"payload": {"a": 1}, "result": None}),
        (b"{}", b"[1,2]", {"payload": {}, "result": [1, 2]}),
        (b"{}", b"null", {"payload": {}, "result": None}),
    ],
)
def test_payload_and_result_stand_in_the_single_view_alone(
    payload: bytes | None, result: bytes | None, shown: dict[str, Any]
):
    view = view_task(_task(), now=T0, waiting=None, payload=payload, result=result)
    document = msgspec.json.decode(encode_view(view))
    assert {name: document[name] for name in ("payload", "result") if name in document} == shown


def test_the_traceback_stands_in_the_single_view_alone():
    task = _task(state=State.FAILED, error=Error(type="E", message="m", traceback="long"))
    single = view_task(task, now=T0, waiting=None, payload=b"{}")
    listed = view_task(task, now=T0, waiting=None)
    assert single.error is not None
    assert listed.error is not None
    assert (single.error.traceback, listed.error.traceback) == ("long", None)
    assert listed.error.message == "m"


def test_a_client_reads_back_what_a_server_shows():
    task = _task(state=State.RUNNING, started_at=T0, progress=Progress(done=1.0, at=_after(1)), tags={"a": "b"})
    view = view_task(task, now=_after(2), waiting=None, payload=b'{"a":1}')
    read = msgspec.json.decode(encode_view(view), type=TaskView)
    assert encode_view(read) == encode_view(view)


@pytest.mark.parametrize(
    ("fields", "run_s"),
    [
        ({}, 0.0),
        ({"run_s": 4.0}, 4.0),
        ({"state": State.RUNNING, "started_at": T0}, 2.0),
        ({"state": State.RUNNING, "started_at": T0, "run_s": 4.0}, 6.0),
        ({"state": State.RUNNING, "started_at": _after(10)}, 0.0),
        ({"state": State.SUCCEEDED, "started_at": T0, "run_s": 4.0}, 4.0),
    ],
)
def test_the_running_time_is_over_all_attempts_and_never_negative(fields: dict[str, Any], run_s: float):
    assert run_seconds(_task(**fields), now=_after(2)) == run_s


@pytest.mark.parametrize(
    ("done", "total", "rate", "eta_s"),
    [
        (5, 20, 0.5, 40),
        (5, None, 0.5, None),
        (0, 20, None, None),
        (20, 20, 2.0, 10),
        (30, 20, 3.0, 10),
        (1e-9, 1e9, 1e-10, None),
    ],
)
def test_rate_and_end_are_guessed_from_the_whole_attempt(
    done: float, total: float | None, rate: float | None, eta_s: float | None
):
    task = _task(state=State.RUNNING, started_at=T0, progress=Progress(done=done, total=total, at=_after(10)))
    view = view_progress(task, now=_after(10))
    assert view is not None
    assert view.rate_per_s == pytest.approx(rate)
    assert view.eta == (None if eta_s is None else _after(eta_s))


def test_an_end_that_is_over_is_now_and_what_does_not_run_has_none():
    progress = Progress(done=5, total=10, at=_after(10), unit="rows", message="half")
    running = _task(state=State.RUNNING, started_at=T0, progress=progress)
    late = view_progress(running, now=_after(100))
    assert late is not None
    assert late.eta == _after(100)
    ended = view_progress(msgspec.structs.replace(running, state=State.FAILED), now=_after(100))
    assert ended is not None
    assert (ended.eta, ended.unit, ended.message, ended.done) == (None, "rows", "half", 5)
    assert view_progress(_task(), now=T0) is None


def test_a_clock_that_stepped_back_breaks_no_view():
    task = _task(state=State.RUNNING, started_at=_after(60), progress=Progress(done=5, total=10, at=T0))
    view = view_progress(task, now=T0)
    assert view is not None
    assert (view.rate_per_s, view.eta) == (None, None)


def test_a_kind_is_shown_with_its_schema_as_json():
    kind = Kind(name="echo", app="tasks:app", version="3", schema=b'{"type":"object"}', isolation=Isolation.SOLO)
    shown = msgspec.json.decode(encode_view(view_kind(kind, is_live=False)))
    assert (shown["schema"], shown["is_live"], shown["isolation"]) == ({"type": "object"}, False, "solo")
    assert shown.keys() == {field.name for field in msgspec.structs.fields(KindView)}


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "9", "x" * 64])
def test_a_name_may_be_so(name: str):
    assert msgspec.convert(name, Name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "_a", "a b", "a/b", "a\n", "ä", "x" * 65, "a\0"])
def test_a_name_may_not_be_so(name: str):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, Name)


@pytest.mark.parametrize("shape", [SubmitRequest, CancelRequest, EmptyRequest])
def test_no_request_takes_a_field_it_does_not_know(shape: type[msgspec.Struct]):
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"kind": "echo", "nobody_knows": 1}, shape)


def test_a_timeout_that_is_left_out_is_not_one_that_is_null():
    assert msgspec.convert({"kind": "a"}, SubmitRequest).timeout is msgspec.UNSET
    assert msgspec.convert({"kind": "a", "timeout": None}, SubmitRequest).timeout is None
