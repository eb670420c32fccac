"""How a function becomes a handler of an app: its name, the defaults of its tasks, and where its attempts run."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from windlass.app.app import App, Handler
from windlass.app.signature import read_signature
from windlass.core.backoff import DEFAULT_RETRY, RetryPolicy
from windlass.core.kind import Kind
from windlass.errors import ConfigError


def build_report(customer_id: int, month: str) -> None:
    """Build the report of one customer.

    And more words that no list shows.
    """


def registered(function: Callable[..., Any], name: str | None = None, **options: Any) -> Handler:
    """Register a function and give what the app made of it."""
    app = App()
    assert app.task(name, **options)(function) is function
    [handler] = app.handlers.values()
    return handler


def refusal(function: Callable[..., Any], name: str | None = None, **options: Any) -> str:
    """Give the words with which a registration is refused; the app is left as it was."""
    app = App()
    with pytest.raises(ConfigError) as refused:
        app.task(name, **options)(function)
    assert app.handlers == {}
    return refused.value.detail


def nothing() -> None:
    """Take nothing."""


async def nothing_async() -> None:
    """Take nothing, in a loop."""


# ── names ──────────────────────────────────────────────────────────


def test_a_kind_is_called_as_its_function_unless_named() -> None:
    assert registered(nothing).kind.name == "nothing"
    assert registered(nothing, "reports.nothing").kind.name == "reports.nothing"


@pytest.mark.parametrize("name", ["../x", "a b", "a\n", ".", "-x", "é", "a" * 65])
def test_a_name_that_is_none_is_refused_with_the_rule(name: str) -> None:
    assert "use 1-64 letters, digits, dots, underscores, hyphens" in refusal(nothing, name)


def test_a_lambda_needs_a_name() -> None:
    assert "'<lambda>' cannot name a kind" in refusal(lambda: None)
    assert registered(lambda: None, "quick").kind.name == "quick"


def test_a_name_serves_one_handler_only() -> None:
    app = App()
    app.task("report")(nothing)
    with pytest.raises(ConfigError, match="the kind 'report' has two handlers in one app"):
        app.task("report")(nothing_async)
    assert app.handlers["report"].function is nothing


def test_forgotten_parentheses_are_pointed_out() -> None:
    with pytest.raises(ConfigError, match=r"write @app\.task\(\) with its parentheses"):
        App().task(nothing)  # pyright: ignore[reportArgumentType]


def test_kinds_are_described_as_those_of_their_app() -> None:
    app = App(version="2026.11")
    app.task()(build_report)
    app.task()(nothing)
    report, other = app.kinds(app="tasks:app")
    assert (report.name, report.app, report.version) == ("build_report", "tasks:app", "2026.11")
    assert report.summary == "Build the report of one customer."
    assert report.schema == read_signature(build_report).schema
    assert (other.name, other.app) == ("nothing", "tasks:app")


def test_a_function_without_a_docstring_has_an_empty_summary() -> None:
    def silent() -> None: ...

    assert registered(silent).kind.summary == ""


# ── options ────────────────────────────────────────────────────────


def test_options_left_out_are_those_of_every_kind() -> None:
    kind = registered(nothing).kind
    bare = Kind(name="nothing", app="", version="", schema=kind.schema, isolation=kind.isolation, summary=kind.summary)
    assert kind == bare


def test_options_become_the_defaults_of_the_kinds_tasks() -> None:
    policy = RetryPolicy(base_s=1, factor=2, cap_s=60, jitter=0)
    options = {"queue": "reports", "timeout": "5m", "grace": 2.5, "max_attempts": 3, "retry": policy}
    kind = registered(nothing, **options, recovery="hold").kind
    assert (kind.queue, kind.timeout_s, kind.grace_s, kind.max_attempts) == ("reports", 300, 2.5, 3)
    assert (kind.retry, kind.recovery) == (policy, "hold")


@pytest.mark.parametrize(("timeout", "timeout_s"), [("1h30m", 5_400), (90, 90), (0.5, 0.5), (None, None), (0, None)])
def test_a_timeout_is_a_duration_or_none(timeout: Any, timeout_s: float | None) -> None:
    assert registered(nothing, timeout=timeout).kind.timeout_s == timeout_s


def test_a_grace_may_be_nothing_at_all() -> None:
    assert registered(nothing, grace=0).kind.grace_s == 0


def test_a_policy_may_be_given_in_part() -> None:
    assert registered(nothing, retry={"base_s": 1}).kind.retry == msgspec.structs.replace(DEFAULT_RETRY, base_s=1)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("timeout", "15", "write '15s'"),
        ("timeout", "soon", "is no duration"),
        ("timeout", -1, "0 or more"),
        ("timeout", math.nan, "finite"),
        ("timeout", "31d", "at most"),
        ("timeout", True, "bool"),
        ("timeout", timedelta(minutes=5), "is no duration"),
        ("grace", "2h", "at most 3600 seconds"),
        ("grace", None, "null"),
        ("max_attempts", 0, "from 1 to 1000"),
        ("max_attempts", 1_001, "from 1 to 1000"),
        ("max_attempts", "5", "int"),
        ("queue", "a b", "letters, digits"),
        ("queue", "", "letters, digits"),
        ("recovery", "maybe", "Invalid enum value 'maybe'"),
        ("isolation", "both", "'shared' or 'solo', not 'both'"),
        ("retry", 5, "object"),
        ("retry", {"bass_s": 1}, "unknown field `bass_s`"),
        ("retry", RetryPolicy(base_s=-1), "retry.base_s"),
        ("retry", RetryPolicy(factor=0.5), "retry.factor"),
        ("retry", RetryPolicy(cap_s=math.inf), "retry.cap_s"),
        ("retry", RetryPolicy(jitter=2), "retry.jitter"),
        ("retires", 3, "retires"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_with_its_rule(option: str, value: Any, said: str) -> None:
    message = refusal(nothing, "report", **{option: value})
    assert "the kind 'report'" in message
    assert option in message
    assert said in message


def test_an_option_of_no_plain_sort_is_refused_too() -> None:
    for option in ("queue", "timeout", "retry"):
        assert "an option of the kind 'report' cannot be used" in refusal(nothing, "report", **{option: object()})


# ── where attempts run ─────────────────────────────────────────────


@pytest.mark.parametrize(
    ("function", "recovery", "declared", "runs"),
    [
        (nothing_async, "retry", None, "shared"),
        (nothing, "retry", None, "solo"),
        (nothing_async, "fail", None, "solo"),
        (nothing_async, "hold", None, "solo"),
        (nothing, "fail", None, "solo"),
        (nothing_async, "fail", "shared", "shared"),
        (nothing_async, "hold", "shared", "shared"),
        (nothing_async, "retry", "solo", "solo"),
        (nothing, "retry", "shared", "shared"),
        (nothing, "retry", "solo", "solo"),
    ],
)
def test_an_async_handler_shares_a_worker_unless_it_must_not_run_twice(
    function: Callable[..., Any], recovery: str, declared: str | None, runs: str
) -> None:
    handler = registered(function, recovery=recovery, isolation=declared)
    assert handler.kind.isolation == runs
    assert handler.signature.is_async is (function is nothing_async)
