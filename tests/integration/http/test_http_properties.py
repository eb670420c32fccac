"""What holds whatever is sent."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from http_front import Front
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.contracts.engine_api import Submission
from windlass.errors import InputError, WindlassError
from windlass.http import inputs, openapi, ranges
from windlass.http.docs import render_docs
from windlass.http.openapi import build_openapi
from windlass.http.ranges import disposition, parse_range
from windlass.http.routes import ROUTES
from windlass.http.v1.lists import ListQuery
from windlass.http.v1.submission import read_submission
from windlass.wire import codec
from windlass.wire.v1 import EditRequest, SubmitRequest
from windlass.wire.v1_many import BulkRequest

unhurried = settings(max_examples=150, deadline=None, database=None)
few = settings(max_examples=60, deadline=None, database=None)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
FIELDS = [field.name for field in msgspec.structs.fields(SubmitRequest)]

_SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False) | st.text(max_size=20)
_WORDS = st.sampled_from(
    ["echo", "90s", "5m", "1 h", "retry", "hold", "2026-11-20T15:00:00Z", "9999-12-31T23:59:59-12:00"]
)
_VALUES = st.recursive(
    _SCALARS | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | _WORDS, inner, max_size=3),
    max_leaves=6,
)
_DOCUMENTS = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), _VALUES, max_size=8) | _VALUES


@pytest.fixture(scope="module")
def open_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """One server for all examples."""
    front = Front(tmp_path_factory.mktemp("properties"))
    yield front
    front.close()


@given(document=_DOCUMENTS)
@unhurried
def test_any_document_is_a_submission_or_names_its_faults(document: Any):
    try:
        submission = read_submission(document, now=NOW)
    except InputError as error:
        faults = error.errors
    else:
        faults = ()
        assert isinstance(submission, Submission)
        assert submission.run_at is None or submission.run_at.tzinfo is UTC
        for seconds in (submission.delay_s, submission.timeout_s, submission.grace_s):
            assert seconds is None or 0 <= seconds < float("inf")
    for pointer, code, detail in faults:
        assert pointer == "" or pointer.startswith("/")
        assert code
        assert 0 < len(detail) < 400


@given(faulty=st.sets(st.sampled_from(["queue", "priority", "key", "delay", "timeout", "grace", "max_attempts"])))
@few
def test_all_faulty_fields_are_named_and_no_other(faulty: set[str]):
    sound = {"queue": "a", "priority": 1, "key": "k", "delay": 1, "timeout": "5m", "grace": 1, "max_attempts": 2}
    broken = {
        "queue": "!",
        "priority": 1.5,
        "key": "a\nb",
        "delay": "5",
        "timeout": -1,
        "grace": "1e3",
        "max_attempts": 0,
    }
    document = {"kind": "echo", **sound, **{name: broken[name] for name in faulty}}
    named: set[str] = set()
    try:
        read_submission(document, now=NOW)
    except InputError as error:
        named = {pointer for pointer, _, _ in error.errors}
    assert named == {f"/{name}" for name in faulty}


@given(body=st.binary(max_size=200) | _DOCUMENTS.map(msgspec.json.encode))
@few
def test_the_server_fails_at_no_body(open_front: Front, body: bytes):
    answer = open_front.ask("POST", "/v1/tasks", body, Content_Type="application/json")
    assert answer.status in (200, 202, 400, 409, 422)
    if answer.status >= 400:
        assert answer.json["stored"] == "no"
        assert answer.json["errors"] or answer.status == 409


_BATCHES = st.lists(_DOCUMENTS, max_size=4)


@given(items=_BATCHES, body=st.binary(max_size=60) | _BATCHES.map(lambda items: msgspec.json.encode({"tasks": items})))
@few
def test_the_server_fails_at_no_batch(open_front: Front, items: list[Any], body: bytes):
    lines = b"\n".join(msgspec.json.encode(item) for item in items)
    for sent, media in ((lines, "application/x-ndjson"), (body, "application/x-ndjson"), (body, "application/json")):
        answer = open_front.ask("POST", "/v1/tasks/batch", sent, Content_Type=media)
        assert answer.status in (202, 400, 409, 422)
        if answer.status >= 400:
            assert answer.json["stored"] == "no"


_EDITS = st.dictionaries(st.sampled_from([field.name for field in msgspec.structs.fields(EditRequest)]), _VALUES)
_ORDERS = st.dictionaries(st.sampled_from([field.name for field in msgspec.structs.fields(BulkRequest)]), _VALUES)


@given(changes=_EDITS | _DOCUMENTS, order=_ORDERS | _DOCUMENTS, action=st.sampled_from(["cancel", "retry", "delete"]))
@few
def test_the_server_fails_at_no_change_and_no_order(open_front: Front, changes: Any, order: Any, action: str):
    task = open_front.submit()
    if isinstance(order, dict):
        order = {**order, "action": action}
    for method, path, document in (("PATCH", f"/v1/tasks/{task['id']}", changes), ("POST", "/v1/bulk", order)):
        body = msgspec.json.encode(document)
        assert open_front.ask(method, path, body, Content_Type="application/json").status in (200, 422)


_HEADERS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(range_=_HEADERS, prefer=_HEADERS, etag=_HEADERS, host=_HEADERS)
@few
def test_the_server_fails_at_no_header(open_front: Front, range_: str, prefer: str, etag: str, host: str):
    headers = {"Range": range_, "If-Range": etag, "Prefer": prefer, "If-None-Match": etag}
    assert open_front.ask("GET", "/v1/tasks/999999/files/x", None, headers).status == 404
    assert open_front.ask("GET", "/healthz", None, {"Host": host}).status in (200, 421)
    answer = open_front.ask("POST", "/v1/tasks", {"kind": "echo", "payload": {}, "key": "one"}, {"Accept": etag})
    assert answer.status in (200, 202)
    assert open_front.ask("GET", f"/v1/tasks/{answer.json['id']}", None, headers).status in (200, 304)


@given(query=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=40))
@few
def test_the_server_fails_at_no_query(open_front: Front, query: str):
    answer = open_front.ask("GET", f"/v1/tasks?{query}")
    assert answer.status in (200, 422)


_PATH = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=30)


@given(path=_PATH)
@few
def test_the_server_fails_at_no_path(open_front: Front, path: str):
    answer = open_front.ask("GET", f"/v1/{path}")
    assert answer.status in (200, 202, 404, 409)
    assert answer.headers["x-content-type-options"] == "nosniff"


@given(
    text=st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}", fullmatch=True) | st.text(max_size=20), size=st.integers(0, 300)
)
@unhurried
def test_a_range_is_always_inside_its_file(text: str, size: int):
    with suppress(WindlassError):
        part = parse_range(text, size)
        assert part is None or 0 <= part[0] < part[1] <= size


@given(name=st.text(st.characters(exclude_categories=["Cs"])))
@unhurried
def test_a_disposition_is_one_line_of_ascii(name: str):
    said = disposition(name).decode("ascii")
    assert said.isprintable()
    assert said.count('"') == 2


def test_many_submits_at_once_each_get_their_own_task(open_front: Front):
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda n: open_front.submit(payload={"n": n})["payload"]["n"], range(64)))
    assert numbers == list(range(64))


def test_markup_in_the_description_stays_text():
    document = build_openapi(ROUTES, version="<script>alert(1)</script>")
    document["paths"]["/v1/tasks"]["get"]["summary"] = '<img src=x onerror="1">`<b>`'
    page = render_docs(document).decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "<code>&lt;b&gt;</code>" in page


def test_a_parameter_may_stand_in_any_order_and_is_read_by_its_type():
    query = inputs.read_query(b"limit=7&order=number&state=queued&tag=a%3Ab+c", ListQuery)
    assert (query.limit, query.order, query.state, query.tag) == (7, "number", "queued", "a:b c")
    assert inputs.read_query(b"", ListQuery) == ListQuery()


def test_a_run_at_far_ahead_is_refused_and_one_in_the_past_is_not():
    for days, fits in ((-10_000, True), (365, True), (367, False)):
        document = {"kind": "echo", "run_at": (NOW + timedelta(days=days)).isoformat()}
        if fits:
            assert read_submission(document, now=NOW).run_at == NOW + timedelta(days=days)
        else:
            with pytest.raises(InputError, match="366 days"):
                read_submission(document, now=NOW)


@pytest.mark.parametrize("module", [ranges, openapi, codec])
def test_the_examples_hold(module: Any):
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0
