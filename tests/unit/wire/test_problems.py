"""Errors as clients see them: status, code, and nothing of the inside."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import msgspec
import pytest

import windlass
from windlass import errors
from windlass.errors import (
    ConflictError,
    IdempotencyMismatch,
    InputError,
    KeyConflict,
    NotFoundError,
    NotReadyError,
    SaturatedError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreUncertain,
    WindlassError,
)
from windlass.wire.codec import encode_view
from windlass.wire.problems import STATUSES, TYPE_BASE, problem_of, retry_after_s


@pytest.mark.parametrize(
    ("error", "status", "code", "type_"),
    [
        (InputError("x"), 422, "invalid_input", "invalid_input"),
        (InputError("x", code="duplicate_key"), 400, "duplicate_key", "duplicate_key"),
        (InputError("x", code="never_heard_of"), 422, "never_heard_of", "invalid_input"),
        (NotFoundError("x", code="unknown_task"), 404, "unknown_task", "not_found"),
        (ConflictError("x"), 409, "conflict", "conflict"),
        (KeyConflict("x"), 409, "key_conflict", "key_conflict"),
        (IdempotencyMismatch("x"), 422, "idempotency_mismatch", "idempotency_mismatch"),
        (NotFoundError("x", code="task_deleted"), 410, "task_deleted", "task_deleted"),
        (errors.LeaseLost("x"), 409, "lease_lost", "conflict"),
        (SaturatedError("x"), 503, "saturated", "saturated"),
        (NotReadyError("x"), 503, "starting", "starting"),
        (StoreUnavailable("x"), 503, "store_unavailable", "store_unavailable"),
        (StoreUncertain("x"), 503, "store_uncertain", "store_uncertain"),
        (StoreFull("x"), 507, "storage_full", "storage_full"),
        (StoreCorrupt("x"), 500, "store_corrupt", "store_error"),
        (WindlassError("x"), 500, "error", "error"),
        (KeyError("x"), 500, "internal", "internal"),
    ],
)
def test_every_error_has_a_status_its_own_code_and_a_type_that_is_explained(
    error: Exception, status: int, code: str, type_: str
):
    problem = problem_of(error, request_id="r1")
    assert (problem.status, problem.code, problem.type) == (status, code, TYPE_BASE + type_)
    assert problem.title == STATUSES[type_][1]
    assert problem.request_id == "r1"


def test_no_class_of_error_is_without_a_status():
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, WindlassError):
            assert 400 <= problem_of(kind("x"), request_id="r").status < 600


NEVER_ANSWERED = {"backup_exists", "frame_too_large", "protocol_error"}
"""Codes between the server and its workers, and of commands."""


def test_every_code_that_the_server_says_is_explained():
    said: set[str] = set()
    for room in ("core", "contracts", "engine", "http", "store", "wire"):
        for path in (Path(windlass.__file__).parent / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                    said.add(str(node.value.value))
    assert len(said) > 30
    assert said - STATUSES.keys() == NEVER_ANSWERED


def test_a_conflict_in_a_batch_names_its_place():
    problem = problem_of(KeyConflict("tasks[17]: the key is taken", pointer="/tasks/17/key"), request_id="r")
    assert (problem.status, problem.code) == (409, "key_conflict")
    assert [(fault.pointer, fault.code) for fault in problem.errors or []] == [("/tasks/17/key", "key_conflict")]
    assert problem_of(KeyConflict("x"), request_id="r").errors is msgspec.UNSET


@pytest.mark.parametrize("error", [ValueError("/etc/secret"), StoreCorrupt("/etc/secret is torn")])
def test_what_is_the_servers_fault_is_told_by_the_requests_id_alone(error: Exception):
    problem = problem_of(error, request_id="r1")
    assert "secret" not in encode_view(problem).decode()
    assert "r1" in problem.detail


def test_every_broken_rule_is_listed():
    error = InputError.of((("/a", "invalid_value", "must be 1"), ("/b", "unknown_field", "there is no 'b'")))
    document = msgspec.to_builtins(problem_of(error, request_id="r"))
    assert document["detail"] == "2 fields are wrong"
    assert document["errors"] == [
        {"pointer": "/a", "code": "invalid_value", "detail": "must be 1"},
        {"pointer": "/b", "code": "unknown_field", "detail": "there is no 'b'"},
    ]


@pytest.mark.parametrize("mark", ["'", '"', "`"])
def test_no_more_of_the_input_is_echoed_than_64_characters(mark: str):
    long = "x" * 5_000
    error = InputError(f"there is no {mark}{long}{mark} here", pointer=f"/{long}")
    problem: Any = msgspec.to_builtins(problem_of(error, request_id="r"))
    for text in (problem["detail"], problem["errors"][0]["detail"]):
        assert text == f"there is no {mark}{'x' * 64}…{mark} here"
    assert len(problem["errors"][0]["pointer"]) < 600
    assert len(problem_of(InputError(long), request_id="r").detail) < 600


@pytest.mark.parametrize(
    ("error", "stored"),
    [
        (InputError("x"), "no"),
        (KeyConflict("x"), "no"),
        (SaturatedError("x"), "no"),
        (StoreFull("x"), "no"),
        (StoreUnavailable("x"), "no"),
        (StoreUncertain("x"), "unknown"),
        (StoreCorrupt("x"), "unknown"),
        (StoreError("x"), "unknown"),
        (RuntimeError("x"), "unknown"),
        (WindlassError("x"), "unknown"),
    ],
)
def test_a_failed_submit_says_whether_the_task_may_be_stored(error: Exception, stored: str):
    assert problem_of(error, request_id="r", is_submit=True).stored == stored
    assert problem_of(error, request_id="r").stored is msgspec.UNSET


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (SaturatedError("x", retry_after_s=0.2), 1),
        (NotReadyError("x", retry_after_s=2.1), 3),
        (StoreFull("x"), 5),
        (StoreUnavailable("x"), 5),
        (StoreUncertain("x"), 5),
        (InputError("x"), None),
        (RuntimeError("x"), None),
    ],
)
def test_when_to_come_again_is_said_where_it_helps(error: Exception, seconds: int | None):
    assert retry_after_s(error) == seconds
