"""Whatever a handler raises becomes an error that the server can read and the store can keep."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

import windlass
from windlass.core.ids import Token
from windlass.core.limits import MESSAGE_BYTES, TRACEBACK_BYTES
from windlass.core.outcome import Errored, Snoozed
from windlass.core.task import Error
from windlass.wire.frames import Ended, Splitter, encode
from windlass.worker.attempt import explain

TOKEN = Token("t")


class Unreadable(Exception):
    """Has no text: asked for it, it raises what it was made with."""

    def __str__(self) -> str:
        raise self.args[0]


class NotText(Exception):
    def __str__(self) -> Any:
        return 5  # noqa: PLE0307 that is the point


def caught(error: BaseException) -> BaseException:
    """Raise `error` and catch it, so that it has a traceback."""
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 it is given back
        return raised


def explained(error: BaseException) -> Errored:
    """Explain `error` and take the outcome over the link, as the server would get it."""
    [ended] = Splitter(upward=True).feed(encode(Ended(TOKEN, explain(caught(error)))))
    assert isinstance(ended, Ended)
    assert isinstance(ended.outcome, Errored)
    return ended.outcome


def is_storable(text: str) -> bool:
    """Whether both stores take the text: no NUL, no half of a surrogate pair."""
    return "\0" not in text and text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") == text


RAISED: list[tuple[BaseException, str, str]] = [
    (Exception("boom"), "Exception", "boom"),
    (BaseException("boom"), "BaseException", "boom"),
    (SystemExit(3), "SystemExit", "3"),
    (KeyboardInterrupt(), "KeyboardInterrupt", "KeyboardInterrupt"),
    (GeneratorExit(), "GeneratorExit", "GeneratorExit"),
    (StopIteration("x"), "StopIteration", "x"),
    (StopAsyncIteration(), "StopAsyncIteration", "StopAsyncIteration"),
    (MemoryError(), "MemoryError", "MemoryError"),
    (ExceptionGroup("many", [ValueError("one"), KeyError("two")]), "ExceptionGroup", "many (2 sub-exceptions)"),
    (BaseExceptionGroup("many", [KeyboardInterrupt()]), "BaseExceptionGroup", "many (1 sub-exception)"),
    (Unreadable(ValueError()), "Unreadable", "<Unreadable, whose text cannot be read: ValueError>"),
    (Unreadable(SystemExit()), "Unreadable", "<Unreadable, whose text cannot be read: SystemExit>"),
    (NotText(), "NotText", "<NotText, whose text cannot be read: TypeError>"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError", "'utf-8' codec can't decode"),
]


@pytest.mark.parametrize(
    ("error", "name", "message"), RAISED, ids=[f"{name}-{n}" for n, (_, name, _) in enumerate(RAISED)]
)
def test_any_exception_is_a_retryable_error_with_its_name_text_and_traceback(
    error: BaseException, name: str, message: str
):
    outcome = explained(error)
    assert outcome.retryable
    assert outcome.retry_after_s is None
    assert outcome.error.type == name
    assert outcome.error.message.startswith(message)
    assert outcome.error.traceback is not None
    assert name in outcome.error.traceback


def test_the_errors_inside_a_group_are_in_its_traceback():
    error = explained(ExceptionGroup("many", [ValueError("the first"), KeyError("the second")])).error
    assert "the first" in (error.traceback or "")
    assert "the second" in (error.traceback or "")


@pytest.mark.parametrize("filling", ["x", "é", "€", "😀", "x😀é"])
@pytest.mark.parametrize("shift", range(4))
def test_a_message_of_ten_megabytes_keeps_both_its_ends_and_whole_characters(filling: str, shift: int):
    size = 10 * 1024 * 1024
    text = "s" * shift + "BEGIN" + filling * (size // len(filling.encode())) + "END"
    message = explained(ValueError(text)).error.message
    assert len(message.encode()) <= MESSAGE_BYTES
    assert len(message.encode()) > MESSAGE_BYTES - 100
    assert message.startswith("s" * shift + "BEGIN")
    assert message.endswith("END")
    beginning, cut, end = message.partition("\n[... cut ...]\n")
    assert cut
    assert set(beginning + end) <= set("sBEGIN" + filling + "END")


def test_a_message_that_just_fits_is_kept_whole():
    for text in ("x" * MESSAGE_BYTES, "é" * (MESSAGE_BYTES // 2)):
        assert explained(ValueError(text)).error.message == text
    assert "[... cut ...]" in explained(ValueError("x" * (MESSAGE_BYTES + 1))).error.message


def ping(depth: int) -> None:
    if depth == 0:
        raise ValueError("the bottom")
    pong(depth - 1)


def pong(depth: int) -> None:
    ping(depth)


def test_a_traceback_of_ten_thousand_frames_keeps_both_its_ends():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    try:
        ping(5_000)
    except ValueError as error:
        outcome = explain(error)
    finally:
        sys.setrecursionlimit(limit)
    assert isinstance(outcome, Errored)
    told = outcome.error.traceback or ""
    assert TRACEBACK_BYTES - 100 < len(told.encode()) <= TRACEBACK_BYTES
    assert told.startswith("Traceback (most recent call last):")
    assert "[... cut ...]" in told
    assert told.endswith("ValueError: the bottom\n")


def test_an_error_with_thousands_of_causes_or_nested_without_end_is_explained():
    chained: BaseException = ValueError("the first")
    nested: Exception = ValueError("the innermost")
    for n in range(3_000):
        chained, cause = KeyError(n), chained
        chained.__cause__ = cause
        nested = ExceptionGroup("deeper", [nested])
    assert explained(chained).error.message == "2999"
    assert explained(nested).error.type == "ExceptionGroup"


def test_text_that_no_store_can_keep_is_made_storable():
    for error in (ValueError("a\0b\ud800c"), windlass.Fail("f\0\ud800", code="c\0\ud800")):
        described = explained(error).error
        texts = (described.type, described.message, described.code or "", described.traceback or "")
        assert all(is_storable(text) for text in texts), described
    long: Any = type("N" * 10_000, (Exception,), {})
    assert len(explained(long("x")).error.type) < 300
    assert explained(ValueError("a\0b")).error.message == "a\N{REPLACEMENT CHARACTER}b"


def test_the_frames_of_windlass_are_not_in_the_traceback():
    def handler() -> None:
        raise ValueError("mine")

    try:
        handler()
    except ValueError as error:
        outcome = explain(error)
    assert isinstance(outcome, Errored)
    told = outcome.error.traceback or ""
    assert "in handler" in told
    assert "in test_the_frames" not in told


# ── what a handler says by its signals ─────────────────────────────


def test_a_retry_names_its_least_delay():
    assert explained(windlass.Retry(after=60)) == Errored(
        Error(type="Retry", message="the handler asked for another try", code="retry"), retry_after_s=60.0
    )
    assert explained(windlass.Retry("busy")).retry_after_s is None


def test_a_fail_is_not_retryable_and_carries_its_code():
    assert explained(windlass.Fail("no such customer", code="no_customer")) == Errored(
        Error(type="Fail", message="no such customer", code="no_customer"), retryable=False
    )
    assert explained(windlass.Fail("no")).error.code == "failed"


def test_a_snooze_is_no_error():
    assert explain(caught(windlass.Snooze(30))) == Snoozed(30.0)


def test_being_stopped_is_told_from_failing():
    outcome = explained(asyncio.CancelledError())
    assert (outcome.error.type, outcome.error.traceback) == ("Stopped", None)


class OwnRetry(windlass.Retry):
    def __init__(self) -> None: ...


class OwnFail(windlass.Fail):
    def __init__(self) -> None: ...


class OwnSnooze(windlass.Snooze):
    def __init__(self) -> None: ...


def test_a_signal_that_never_called_the_class_above_it_is_explained():
    assert explained(OwnRetry()).retryable
    failed = explained(OwnFail())
    assert (failed.retryable, failed.error.code) == (False, "failed")
    snoozed = explained(OwnSnooze())
    assert snoozed.error.type == "OwnSnooze"
    assert "delay" in snoozed.error.message


def changed(error: BaseException, **attributes: Any) -> BaseException:
    """Set attributes as a handler may."""
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    "error",
    [
        changed(windlass.Retry("busy"), after="5 minutes"),
        changed(windlass.Retry("busy"), after=object()),
        changed(windlass.Fail("no"), code=404),
        changed(windlass.Fail("no"), code=Unreadable(ValueError())),
        changed(windlass.Fail("no"), code="x" * 20_000_000),
        changed(windlass.Snooze(1), delay="soon"),
    ],
    ids=lambda error: f"{type(error).__name__}",
)
def test_a_signal_with_a_value_of_the_wrong_type_never_breaks_the_link(error: BaseException):
    outcome = explained(error)
    assert outcome.error.type == type(error).__name__
    assert len(outcome.error.code or "") <= MESSAGE_BYTES


def test_a_retry_that_cannot_be_counted_in_seconds_fails_where_it_is_written():
    with pytest.raises((TypeError, ValueError)):
        windlass.Retry(after="5 minutes")  # type: ignore[arg-type]
