"""What dialects share: payloads with and without simulated work, ids, and their place in the table of routes."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dialect_cases import ERROR, task_in

from windlass.config.dialects import NAMES, DialectName, Dialects, DownloadsDialect, WorkmateDialect
from windlass.core.access import AccessScope
from windlass.core.state import Reason, State
from windlass.errors import InputError, KeyConflict, NotFoundError, SaturatedError, StoreError, WindlassError
from windlass.http import dialects
from windlass.http.dialects import DIALECTS, tasktrack
from windlass.http.dialects.dialect import given_in, parse_uuid, payload_of, submission_of, why_ended
from windlass.http.routes import routes_for
from windlass.wire.codec import encode_json
from windlass.wire.problems import in_short


def test_every_file_is_a_dialect_of_its_name_with_a_section_of_the_settings():
    files = {path.stem for path in Path(dialects.__path__[0]).glob("*.py")} - {"__init__", "dialect"}
    assert {dialect.name for dialect in DIALECTS} == files == set(NAMES)
    for dialect in DIALECTS:
        assert {route.dialect for route in dialect.routes} == {dialect.name}


def test_the_examples_that_stand_in_docstrings_hold():
    assert doctest.testmod(tasktrack).failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_choose_which_dialects_are_served(name: DialectName):
    native = routes_for(Dialects(enabled=[]))
    assert not any(route.dialect for route in native)
    alone = routes_for(Dialects(enabled=[name]))
    assert {route.dialect for route in alone} == {None, name}
    assert [route for route in alone if route.dialect is None] == list(native)


def test_a_key_is_needed_only_where_the_settings_say_so():
    for route in routes_for(Dialects(auth="off")):
        assert route.dialect is None or route.scope is AccessScope.PUBLIC
    needed = {"POST": AccessScope.SUBMIT, "GET": AccessScope.READ, "PATCH": AccessScope.OPERATE}
    for route in routes_for(Dialects(auth="key")):
        assert route.dialect is None or route.scope is needed.get(route.method, AccessScope.OPERATE)


# ── payloads ───────────────────────────────────────────────────────


def test_simulated_work_takes_as_long_as_the_settings_say_and_hands_back_what_was_given():
    settings = WorkmateDialect(duration_s=[1.0, 2.0], failure_rate=0.5)
    payload = payload_of(settings, {"name": "x"})
    assert payload == {"duration_s": [1.0, 2.0], "failure_rate": 0.5, "echo": {"name": "x"}}
    assert payload_of(settings, {}) == {"duration_s": [1.0, 2.0], "failure_rate": 0.5}
    assert payload_of(WorkmateDialect(duration_s=[3.0]), {})["duration_s"] == [3.0, 3.0]


def test_a_kind_of_ones_own_gets_what_was_given_and_nothing_else():
    assert payload_of(WorkmateDialect(kind="mine"), {}) == {}
    assert payload_of(WorkmateDialect(kind="mine"), {"name": "x"}) == {"name": "x"}
    assert payload_of(DownloadsDialect(), {"files": ["u"]}) == {"files": ["u"]}
    assert payload_of(DownloadsDialect(kind="simulate"), {"files": ["u"]}) == {"files": ["u"]}


@pytest.mark.parametrize("given", [{"task": "x"}, {}])
@pytest.mark.parametrize("kind", ["simulate", "mine"])
def test_what_was_given_is_found_again_in_the_payload(kind: str, given: dict[str, Any]):
    payload = encode_json(payload_of(WorkmateDialect(kind=kind), given))
    assert given_in(task_in(State.QUEUED, kind=kind), payload) == given


def test_a_submission_goes_to_the_queue_of_the_dialect_and_names_it_as_its_origin():
    submission = submission_of("workmate", WorkmateDialect(kind="mine"), {}, max_attempts=2)
    assert (submission.kind, submission.queue, submission.origin) == ("mine", "workmate", "workmate")
    assert submission.max_attempts == 2


# ── ids, reasons, errors ───────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("01A1FB1E-AC96-77FD-B9C1-F31B812F796B", "01a1fb1e-ac96-77fd-b9c1-f31b812f796b"),
        ("17", None),
        ("", None),
        ("01a1fb1e", None),
        ("01a1fb1e-ac96-77fd-b9c1-f31b812f796g", None),
        ("01a1fb1e-ac96-77fd-b9c1-f31b812f796b ", None),
        ("../../etc/passwd", None),
    ],
)
def test_an_id_is_a_uuid_or_none(text: str, read: str | None):
    assert parse_uuid(text) == read


def test_why_a_task_did_not_succeed_is_its_error_or_what_was_said_or_the_reason():
    assert why_ended(task_in(State.FAILED, error=ERROR)) == "the upstream is away"
    assert why_ended(task_in(State.CANCELLED, cancel_reason="no longer needed")) == "no longer needed"
    assert why_ended(task_in(State.FAILED, reason=Reason.INTERRUPTED)) == "interrupted"
    assert why_ended(task_in(State.CANCELLED)) == "cancelled"


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (InputError("invalid id"), 400, "invalid id"),
        (InputError("must be a string", pointer="/payload"), 400, "payload: must be a string"),
        (InputError("'id' is needed", code="missing_field", pointer="/id"), 400, "'id' is needed"),
        (InputError.of((("/a", "x", "is odd"), ("", "y", "so is all"))), 400, "a: is odd; so is all"),
        (InputError("no", code="invalid_json"), 400, "no"),
        (NotFoundError("gone", code="task_deleted"), 404, "gone"),
        (NotFoundError("task not found"), 404, "task not found"),
        (KeyConflict("another"), 409, "another"),
        (SaturatedError("full", code="queue_full"), 503, "full"),
        (WindlassError("no", code="method_not_allowed"), 405, "no"),
        (WindlassError("no", code="bad_origin"), 403, "no"),
        (WindlassError("no", code="body_too_large"), 413, "no"),
        (StoreError("secret"), 500, "the server failed; its log says more under the request id r-1"),
        (KeyError("secret"), 500, "the server failed; its log says more under the request id r-1"),
    ],
)
def test_an_error_is_a_status_and_a_sentence_to_a_client_of_a_dialect(error: Exception, status: int, sentence: str):
    found, short = in_short(error, request_id="r-1")
    assert (found, msgspec.to_builtins(short)) == (status, {"error": sentence})
