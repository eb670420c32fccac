"""One attempt inside a worker, with a list for the link: what it is given, what it says, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

import windlass
from windlass.app.app import App
from windlass.config.schema import WorkerSettings
from windlass.core.ids import TaskId, Token
from windlass.core.limits import MESSAGE_BYTES, RESULT_BYTES
from windlass.core.outcome import Errored, Snoozed, Succeeded
from windlass.core.task import Progress
from windlass.wire.frames import Accepted, Assign, Ended, Frame, Report, Save, Splitter, Upward, encode
from windlass.worker.attempt import REPORT_EVERY_S, AttemptHost, run_blocking

TOKEN = Token("0123456789abcdef0123456789abcdef")


def assignment(payload: bytes = b"{}", **changes: Any) -> Assign:
    fields: dict[str, Any] = {
        "task_id": TaskId("0192e4a0-0000-7000-8000-000000000001"),
        "token": TOKEN,
        "attempt": 2,
        "kind": "kind",
        "payload": payload,
        "directory": "/nowhere/at/all",
    }
    return Assign(**(fields | changes))


def arrived(sent: list[Upward]) -> list[Frame]:
    """Take frames over the link, as the server would get them."""
    return list(Splitter(upward=True).feed(b"".join(map(encode, sent))))


def attempt(function: Callable[..., Any], payload: bytes = b"{}", *, told: bool = False, **changes: Any) -> list[Frame]:
    """Run `function` as a plain handler and give the frames as they arrive at the server."""
    app = App()
    app.task("kind")(function)
    sent: list[Upward] = []
    host = AttemptHost(TOKEN, sent.append)
    host.stopping = told
    run_blocking(app.handlers["kind"], assignment(payload, **changes), host, WorkerSettings(), sent.append)
    return arrived(sent)


def ending(function: Callable[..., Any], payload: bytes = b"{}", **changes: Any) -> Ended:
    """Run `function` and give its last word; there is one first word and one last, whatever it does."""
    first, *between, last = attempt(function, payload, **changes)
    assert first == Accepted(TOKEN)
    assert not any(isinstance(frame, Accepted | Ended) for frame in between)
    assert isinstance(last, Ended)
    return last


def returning(value: Any) -> Callable[[], Any]:
    return lambda: value


# ── what the handler is given ──────────────────────────────────────


def test_the_payload_arrives_as_arguments_and_the_result_as_canonical_json():
    def handler(name: str, times: int = 2) -> dict[str, Any]:
        return {"z": name * times, "a": None}

    assert ending(handler, b'{"name":"ab"}') == Ended(TOKEN, Succeeded(b'{"a":null,"z":"abab"}'))


def test_the_context_is_passed_only_when_asked_for():
    def without() -> str:
        return "fine"

    def with_one(*, ctx: windlass.Context) -> list[Any]:
        return [type(ctx).__name__, ctx.task_id, ctx.attempt, ctx.token, ctx.checkpoint, ctx.deadline, ctx.stopping]

    assert ending(without).outcome == Succeeded(b'"fine"')
    assert ending(with_one, checkpoint=b'{"part":7}').outcome == Succeeded(
        b'["Context","0192e4a0-0000-7000-8000-000000000001",2,"%s",{"part":7},null,false]' % TOKEN.encode()
    )


@pytest.mark.parametrize("payload", [b"{}", b'{"name":5}', b'{"name":"x","more":1}', b"[]", b"null"])
def test_a_payload_that_does_not_fit_fails_for_good_and_runs_nothing(payload: bytes):
    calls: list[str] = []

    def handler(name: str) -> None:
        calls.append(name)

    outcome = ending(handler, payload).outcome
    assert isinstance(outcome, Errored)
    assert (outcome.error.code, outcome.retryable) == ("payload_invalid", False)
    assert "does not fit the handler" in outcome.error.message
    assert not calls


def test_an_attempt_told_to_stop_before_it_began_never_begins():
    calls: list[int] = []
    ended = ending(lambda: calls.append(1), told=True)
    assert isinstance(ended.outcome, Errored)
    assert (ended.outcome.error.type, ended.stopped) == ("Stopped", True)
    assert not calls


# ── how it ends ────────────────────────────────────────────────────


def test_an_end_counts_as_stopped_only_if_the_handler_was_told_and_did_not_succeed():
    def told_and(what: str) -> Ended:
        def handler(*, ctx: windlass.Context) -> str:
            ctx._host.stopping = True  # type: ignore[misc]  # told while it runs
            if what == "snoozes":
                raise windlass.Snooze(5)
            if what == "raises":
                raise OSError("interrupted")
            return "done"

        return ending(handler)

    assert told_and("returns") == Ended(TOKEN, Succeeded(b'"done"'), stopped=False)
    assert told_and("snoozes") == Ended(TOKEN, Snoozed(5.0), stopped=True)
    assert told_and("raises").stopped
    assert not ending(lambda: 1 / 0).stopped


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [1.0, float("-inf")],
        cyclic(),
        {"inner": cyclic()},
        object(),
        {"handler": attempt},
        2**70,
        -(2**63) - 1,
        {1: "one"},
        {("a", "b"): 1},
        "half a pair \ud800",
        {"\udfff": 1},
        deep(10_000),
        deep(65),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_a_result_that_is_no_json_fails_for_good(value: Any):
    outcome = ending(returning(value)).outcome
    assert isinstance(outcome, Errored)
    assert (outcome.error.type, outcome.error.code, outcome.retryable) == ("ResultInvalid", "result_invalid", False)
    assert len(outcome.error.message) < 500


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, b"null"),
        ((1, 2), b"[1,2]"),
        (2**63 - 1, b"9223372036854775807"),
        ({"b": 1, "a": [True]}, b'{"a":[true],"b":1}'),
        ("😀", '"😀"'.encode()),
    ],
)
def test_a_result_that_is_json_is_kept(value: Any, kept: bytes):
    assert ending(returning(value)).outcome == Succeeded(kept)


def test_a_result_over_the_limit_fails_for_good_and_one_at_it_is_kept():
    outcome = ending(returning("x" * (2 * 1024 * 1024))).outcome
    assert isinstance(outcome, Errored)
    assert (outcome.error.code, outcome.retryable) == ("result_too_large", False)
    assert "2,097,154 bytes is over the 1,048,576 allowed" in outcome.error.message
    assert isinstance(ending(returning("x" * (RESULT_BYTES - 2))).outcome, Succeeded)
    assert isinstance(ending(returning("x" * (RESULT_BYTES - 1))).outcome, Errored)


def test_a_result_that_fights_being_looked_at_is_an_error_of_the_handler():
    class Odd(dict[str, Any]):
        def __eq__(self, other: object) -> bool:
            raise SystemExit(1)

        __hash__ = None  # type: ignore[assignment]

    assert isinstance(ending(returning(Odd(a=1))).outcome, Errored)


# ── progress ───────────────────────────────────────────────────────


class Hands:
    """The clock's hands, moved by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("windlass.worker.attempt.time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


def test_a_flood_of_progress_goes_out_four_times_a_second_and_the_newest_arrives(hands: Hands):
    sent: list[tuple[float, Upward]] = []
    host = AttemptHost(TOKEN, lambda frame: sent.append((hands.now, frame)))
    began_at, floods = hands.now, 20_000
    for n in range(floods):  # two seconds of it
        hands.now = began_at + 2.0 * n / floods
        host.report(Progress(done=float(n)))
        if n % 500 == 0:
            host.flush()
    host.flush(last=True)
    times = [at for at, _ in sent[:-1]]
    assert all(later - earlier >= REPORT_EVERY_S for earlier, later in pairwise(times))
    assert 7 <= len(sent) <= 10
    assert sent[-1][1] == Report(TOKEN, Progress(done=float(floods - 1)))
    told = [frame.progress.done for _, frame in sent if isinstance(frame, Report)]
    assert told == sorted(told)


def test_progress_after_a_pause_goes_out_at_once_and_only_once(hands: Hands):
    sent: list[Upward] = []
    host = AttemptHost(TOKEN, sent.append)
    host.report(Progress(done=1))
    host.flush(last=True)
    hands.now += REPORT_EVERY_S
    host.report(Progress(done=2))
    host.flush(last=True)
    assert sent == [Report(TOKEN, Progress(done=1)), Report(TOKEN, Progress(done=2))]


def test_progress_that_waits_goes_out_when_its_time_has_come(hands: Hands):
    sent: list[Upward] = []
    host = AttemptHost(TOKEN, sent.append)
    host.report(Progress(done=1))
    host.report(Progress(done=2))
    host.report(Progress(done=3))
    host.flush()
    assert len(sent) == 1
    hands.now += REPORT_EVERY_S
    host.flush()
    host.flush()
    assert sent == [Report(TOKEN, Progress(done=1)), Report(TOKEN, Progress(done=3))]


def test_the_last_progress_arrives_before_the_end():
    def handler(*, ctx: windlass.Context) -> None:
        for n in range(100):
            ctx.progress(n, 100, unit="parts")

    *_, report, ended = attempt(handler)
    assert report == Report(TOKEN, Progress(done=99, total=100, unit="parts"))
    assert isinstance(ended, Ended)


@pytest.mark.parametrize(
    "text", ["x" * 20_000_000, "a\0b", "half \ud800", 5, b"bytes", object(), ["list"]], ids=lambda text: repr(text)[:12]
)
def test_whatever_is_said_of_progress_reaches_the_server_as_text_it_can_keep(text: Any):
    def handler(*, ctx: windlass.Context) -> str:
        ctx.progress(1, unit=text, message=text)
        ctx.progress(2, unit=text, message=text)
        return "done"

    *reports, ended = attempt(handler)[1:]
    assert isinstance(ended, Ended)
    assert ended.outcome == Succeeded(b'"done"')
    assert len(reports) == 2
    for report in reports:
        assert isinstance(report, Report)
        for told in (report.progress.unit, report.progress.message):
            assert isinstance(told, str)
            assert len(told.encode()) <= MESSAGE_BYTES
            assert "\0" not in told


# ── saves ──────────────────────────────────────────────────────────


def test_a_save_is_answered_by_its_own_serial_in_any_order():
    sent: list[Upward] = []
    host = AttemptHost(TOKEN, sent.append)
    first, second = host.save(b"1"), host.save(b"2")
    assert sent == [Save(TOKEN, 1, b"1"), Save(TOKEN, 2, b"2")]
    host.answered(2, accepted=False)
    assert (first.done(), second.result(0)) == (False, False)
    host.answered(1, accepted=True)
    assert first.result(0)


def test_an_answer_that_nobody_waits_for_is_harmless():
    host = AttemptHost(TOKEN, lambda _: None)
    host.answered(1, accepted=True)
    left = host.save(b"1")
    assert left.cancel()
    host.answered(1, accepted=True)
    answered = host.save(b"2")
    host.answered(2, accepted=True)
    host.answered(2, accepted=False)
    assert answered.result(0)


def test_saves_from_many_threads_get_serials_of_their_own():
    sent: list[Upward] = []
    host = AttemptHost(TOKEN, sent.append)
    with ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda n: host.save(b"%d" % n), range(200)))
    for frame in sent:
        assert isinstance(frame, Save)
        host.answered(frame.serial, accepted=True)
    assert {frame.serial for frame in sent if isinstance(frame, Save)} == set(range(1, 201))
    assert all(future.result(0) for future in futures)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_blocking_save_goes_on_when_it_is_durable_and_raises_when_the_task_is_lost(accepted: bool):
    app = App()

    @app.task("kind")
    def handler(*, ctx: windlass.Context) -> Any:
        ctx.save({"part": 1})
        return ctx.checkpoint

    sent: list[Upward] = []

    def send(frame: Upward) -> None:
        sent.append(frame)
        if isinstance(frame, Save):
            host.answered(frame.serial, accepted=accepted)

    host = AttemptHost(TOKEN, send)
    run_blocking(app.handlers["kind"], assignment(), host, WorkerSettings(), send)
    ended = sent[-1]
    assert isinstance(ended, Ended)
    if accepted:
        assert ended.outcome == Succeeded(b'{"part":1}')
    else:
        assert isinstance(ended.outcome, Errored)
        assert ended.outcome.error.type == "LeaseLost"


def test_a_checkpoint_that_cannot_be_kept_never_leaves_the_worker():
    def too_large(*, ctx: windlass.Context) -> None:
        ctx.save("x" * 2_000_000)

    def no_json(*, ctx: windlass.Context) -> None:
        ctx.save({"handler": object()})

    for handler, said in ((too_large, "is over the 1,048,576 allowed"), (no_json, "cannot be kept as JSON")):
        first, ended = attempt(handler)
        assert first == Accepted(TOKEN)
        assert isinstance(ended, Ended)
        assert isinstance(ended.outcome, Errored)
        assert said in ended.outcome.error.message
