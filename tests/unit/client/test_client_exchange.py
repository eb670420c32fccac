"""Calls become requests, responses become values or errors: no socket here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from windlass import errors
from windlass.client import exchange
from windlass.client.errors import AccessDenied, ServerError, UnexpectedAnswer
from windlass.client.exchange import Response
from windlass.core.bulk import BulkAction
from windlass.core.ids import TaskId
from windlass.core.state import Recovery, State
from windlass.core.task import Task
from windlass.wire.v1 import CancelRequest, EditRequest, RetryOptions, SubmitRequest, TaskView, view_task
from windlass.wire.v1_many import BulkRequest, TaskFilter

_NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
_ID = TaskId("0192e4a0-0000-7000-8000-000000000001")


def a_task(**fields: Any) -> Task:
    known = {"number": 17, "id": _ID, "kind": "k", "queue": "default", "state": State.QUEUED}
    return Task(**{**known, "created_at": _NOW, "run_at": _NOW, **fields})


def a_response(status: int, document: Any, **headers: str) -> Response:
    return Response(status=status, headers=headers, body=msgspec.json.encode(document))


def a_problem(code: str, **members: Any) -> dict[str, Any]:
    return {
        "type": f"/problems/{code}",
        "title": "No",
        "status": 400,
        "code": code,
        "detail": "it cannot be",
        **members,
    }


def sent(request: exchange.Request[Any]) -> Any:
    assert request.body is not None
    return msgspec.json.decode(request.body)


def test_a_submit_sends_what_was_set_and_leaves_the_defaults_to_the_server() -> None:
    request = exchange.submit_task(SubmitRequest(kind="k", payload={"a": 1}))
    assert (request.method, request.path) == ("POST", "/v1/tasks")
    assert sent(request) == {"kind": "k", "payload": {"a": 1}}


def test_a_submit_sends_every_option_in_its_wire_form() -> None:
    options = SubmitRequest(
        kind="k",
        queue="q",
        priority=-5,
        key="r-7",
        run_at=_NOW,
        delay="5m",
        grace=2.5,
        max_attempts=3,
        retry=RetryOptions(base="1s", jitter=0.0),
        recovery=Recovery.HOLD,
        name="Nov",
        tags={"a": "b"},
    )
    assert sent(exchange.submit_task(options)) == {
        "kind": "k",
        "payload": {},
        "queue": "q",
        "priority": -5,
        "key": "r-7",
        "run_at": "2026-11-20T15:00:00Z",
        "delay": "5m",
        "grace": 2.5,
        "max_attempts": 3,
        "retry": {"base": "1s", "jitter": 0.0},
        "recovery": "hold",
        "name": "Nov",
        "tags": {"a": "b"},
    }


def test_an_edit_sends_null_where_something_is_taken_away_and_nothing_of_the_rest() -> None:
    assert sent(exchange.edit_task(17, EditRequest(name=None, delay="5m"))) == {"name": None, "delay": "5m"}


def test_a_bulk_sends_its_filter_in_its_wire_form() -> None:
    filter_ = TaskFilter(state=State.QUEUED, tag="a:b", created_before=_NOW)
    assert sent(exchange.bulk(BulkRequest(action=BulkAction.CANCEL, filter=filter_, dry_run=True))) == {
        "action": "cancel",
        "filter": {"state": "queued", "tag": "a:b", "created_before": "2026-11-20T15:00:00Z"},
        "dry_run": True,
    }


def test_a_batch_is_sent_line_by_line() -> None:
    lines = exchange.spell_lines([SubmitRequest(kind="a", payload={"n": 1}), SubmitRequest(kind="b", key="k")])
    assert lines.split(b"\n") == [b'{"kind":"a","payload":{"n":1}}', b'{"key":"k","kind":"b","payload":{}}']
    assert exchange.submit_lines(lines).headers["Content-Type"] == "application/x-ndjson"


@pytest.mark.parametrize(("key", "spelled"), [("abc", '"abc"'), ('say "a\\b"', r'"say \"a\\b\""'), ("a b", '"a b"')])
def test_a_named_submit_may_be_repeated_and_carries_its_name_in_quotes(key: str, spelled: str) -> None:
    for request in (
        exchange.submit_task(SubmitRequest(kind="k"), idempotency_key=key),
        exchange.submit_lines(b"{}", idempotency_key=key),
    ):
        assert request.headers["Idempotency-Key"] == spelled
        assert request.is_repeatable


def test_nothing_but_a_named_submit_may_be_repeated() -> None:
    requests = (
        exchange.submit_task(SubmitRequest(kind="k")),
        exchange.delete_task(17),
        exchange.act_on_task(17, "retry"),
        exchange.bulk(BulkRequest(action=BulkAction.RETRY, all=True)),
    )
    assert not any(request.is_repeatable for request in requests)


def test_an_answer_without_a_body_is_none() -> None:
    assert exchange.read_answer(exchange.delete_task(17), Response(status=204, headers={}, body=b"")) is None


def test_instants_are_spelled_with_their_time_zone_or_refused() -> None:
    east = datetime(2026, 11, 20, 16, tzinfo=timezone(timedelta(hours=1)))
    assert exchange.spell_filters({"a": east, "tag": ("x", "y:z"), "q": "t", "none": None}) == {
        "a": "2026-11-20T15:00:00Z",
        "tag": "x:y:z",
        "q": "t",
        "none": None,
    }
    with pytest.raises(errors.InputError, match="time zone"):
        exchange.spell_filters({"created_after": datetime(2026, 11, 20)})  # noqa: DTZ001


def test_no_timeout_is_another_thing_than_the_kinds_timeout() -> None:
    assert sent(exchange.submit_task(SubmitRequest(kind="k", timeout=None)))["timeout"] is None
    assert "timeout" not in sent(exchange.submit_task(SubmitRequest(kind="k")))


def test_a_payload_that_is_no_json_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(errors.InputError, match="JSON"):
        exchange.submit_task(SubmitRequest(kind="k", payload={"a": object()}))


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (exchange.get_task(17), "GET /v1/tasks/17"),
        (exchange.get_task(_ID.upper()), f"GET /v1/tasks/{_ID}"),
        (exchange.get_task("17", wait_s=30), "GET /v1/tasks/17?wait=30"),
        (exchange.get_task(17, wait_s=0.25), "GET /v1/tasks/17?wait=0.25"),
        (exchange.cancel_task(17, CancelRequest(reason="no")), "POST /v1/tasks/17/cancel"),
        (exchange.act_on_task(17, "hold"), "POST /v1/tasks/17/hold"),
        (exchange.list_files(17), "GET /v1/tasks/17/files"),
        (exchange.fetch_file(17, "a b/é?.iso"), "GET /v1/tasks/17/files/a%20b/%C3%A9%3F.iso"),
        (exchange.list_tasks({"state": "failed", "key": None}, limit=9), "GET /v1/tasks?state=failed&limit=9"),
        (
            exchange.list_tasks({"tag": "a:b&c"}, limit=1, cursor="x="),
            "GET /v1/tasks?tag=a%3Ab%26c&cursor=x%3D&limit=1",
        ),
        (exchange.edit_task(17, EditRequest(name=None)), "PATCH /v1/tasks/17"),
        (exchange.delete_task(17), "DELETE /v1/tasks/17"),
        (exchange.submit_lines(b"{}"), "POST /v1/tasks/batch"),
        (exchange.bulk(BulkRequest(action=BulkAction.RETRY, all=True)), "POST /v1/bulk"),
        (exchange.get_stats(), "GET /v1/stats"),
        (exchange.list_kinds(), "GET /v1/kinds"),
        (exchange.get_health(), "GET /readyz"),
    ],
)
def test_a_call_becomes_its_route(request_: exchange.Request[Any], line: str) -> None:
    assert f"{request_.method} {request_.path}" == line


@pytest.mark.parametrize("ref", ["", "seventeen", "../kinds", "17/cancel", "-1", "1" * 40])
def test_what_names_no_task_never_becomes_a_path(ref: str) -> None:
    with pytest.raises(errors.InputError, match="names no task") as caught:
        exchange.get_task(ref)
    assert caught.value.code == "bad_task_ref"


def test_a_task_comes_back_as_it_was_shown_with_payload_and_result_as_plain_data() -> None:
    shown = view_task(a_task(), now=_NOW, waiting=None, payload=b'{"a":[1]}', result=b'{"rows":3}')
    read = exchange.read_answer(exchange.get_task(17), a_response(200, shown))
    assert read.payload == {"a": [1]}
    assert read.result == {"rows": 3}
    assert msgspec.structs.replace(read, payload=None, result=None) == msgspec.structs.replace(
        shown, payload=None, result=None
    )


def test_a_task_without_a_result_and_one_of_a_list_are_told_apart() -> None:
    single = view_task(a_task(), now=_NOW, waiting=None, payload=b"{}")
    listed = view_task(a_task(), now=_NOW, waiting=None)
    read = [exchange.read_answer(exchange.get_task(17), a_response(200, view)) for view in (single, listed)]
    assert read[0].result is None
    assert read[1].result is msgspec.UNSET


def test_fields_of_servers_to_come_are_passed_over() -> None:
    shown = msgspec.to_builtins(view_task(a_task(), now=_NOW, waiting=None))
    answer = exchange.read_answer(exchange.get_task(17), a_response(200, {**shown, "mood": "good"}))
    assert isinstance(answer, TaskView)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id": 7}', b"\xff"])
def test_an_answer_of_something_else_is_named_as_such(body: bytes) -> None:
    with pytest.raises(UnexpectedAnswer, match="GET /v1/tasks/17 is not understood"):
        exchange.read_answer(exchange.get_task(17), Response(status=200, headers={}, body=body))


@pytest.mark.parametrize(
    ("status", "code", "error_class"),
    [
        (400, "invalid_json", errors.InputError),
        (401, "unauthenticated", AccessDenied),
        (403, "forbidden", AccessDenied),
        (404, "not_found", errors.NotFoundError),
        (409, "conflict", errors.ConflictError),
        (409, "illegal_transition", errors.IllegalTransition),
        (409, "key_conflict", errors.KeyConflict),
        (410, "pruned", errors.NotFoundError),
        (413, "body_too_large", errors.InputError),
        (415, "bad_content_type", errors.InputError),
        (421, "bad_host", errors.InputError),
        (422, "unknown_kind", errors.InputError),
        (429, "too_many", errors.SaturatedError),
        (500, "internal", ServerError),
        (503, "saturated", errors.SaturatedError),
        (503, "starting", errors.NotReadyError),
        (503, "draining", errors.NotReadyError),
        (503, "store_unavailable", errors.StoreUnavailable),
        (507, "storage_full", errors.StoreFull),
    ],
)
def test_a_refusal_becomes_the_exception_of_its_code_or_status(
    status: int, code: str, error_class: type[errors.WindlassError]
) -> None:
    error = exchange.read_error(a_response(status, a_problem(code, request_id="r-1")))
    assert type(error) is error_class
    assert (error.code, error.detail) == (code, "it cannot be")
    assert error.details["status"] == status
    assert error.details["request_id"] == "r-1"


def test_every_broken_field_of_a_refusal_is_kept() -> None:
    broken = [{"pointer": "/a", "code": "x", "detail": "no a"}, {"pointer": "/b", "code": "y", "detail": "no b"}]
    error = exchange.read_error(a_response(422, a_problem("invalid_input", errors=broken, stored="no")))
    assert isinstance(error, errors.InputError)
    assert error.errors == (("/a", "x", "no a"), ("/b", "y", "no b"))
    assert error.details["stored"] == "no"


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("soon", None), ("", None)])
def test_when_to_come_again_is_read_from_the_header(header: str, seconds: float | None) -> None:
    response = a_response(503, a_problem("saturated"), **{"retry-after": header})
    assert exchange.read_error(response).details.get("retry_after_s") == seconds


@pytest.mark.parametrize("status", [301, 404, 502])
def test_a_refusal_that_is_no_problem_document_comes_from_no_windlass(status: int) -> None:
    response = Response(status=status, headers={"content-type": "text/html"}, body=b"<h1>nginx</h1>")
    with pytest.raises(UnexpectedAnswer, match=rf"answered {status} \(text/html\)"):
        exchange.read_answer(exchange.get_task(17), response)


def test_a_server_that_is_not_ready_is_an_answer_when_asked_for_its_health() -> None:
    answer = exchange.read_answer(exchange.get_health(), a_response(503, {"ready": False, "problems": ["draining"]}))
    assert (answer.ready, answer.problems) == (False, ["draining"])
    with pytest.raises(errors.NotReadyError):
        exchange.read_answer(exchange.get_health(), a_response(503, a_problem("starting")))
