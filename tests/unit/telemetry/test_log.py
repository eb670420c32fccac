"""Log lines: one an event whatever it tells of, and never a harm to who logs."""

from __future__ import annotations

import io
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from windlass.telemetry.log import _tell_of_dropped, configure, flush, get_logger, tell_each
from windlass.telemetry.writer import Writer

Log = Callable[..., list[str]]


class Pipe(io.StringIO):
    """A stderr that keeps what is written, and may be a terminal."""

    is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal


Catch = Callable[..., Any]


@pytest.fixture
def catch(monkeypatch: pytest.MonkeyPatch) -> Catch:
    """Give what puts something in the place of stderr; to be called by the test itself, as pytest has its own."""

    def caught(pipe: Any = ...) -> Any:
        flush()
        pipe = Pipe(newline="") if pipe is ... else pipe
        monkeypatch.setattr(sys, "stderr", pipe)
        return pipe

    return caught


@pytest.fixture(params=["json", "console"])
def style(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Leave logging as it was."""
    yield
    flush()
    structlog.reset_defaults()


@pytest.fixture
def log(catch: Catch, style: str) -> Log:
    """Give what logs one event in one style, and gives what was written for it."""

    def logged(event: str = "task.started", **fields: Any) -> list[str]:
        stderr = catch()
        configure(level="debug", style=style)
        get_logger().info(event, **fields)
        flush()
        written = stderr.getvalue()
        assert written.endswith("\n")
        return written[:-1].split("\n")

    return logged


HOSTILE = {
    "carriage return and line feed": "one\r\ntwo\rthree\nfour",
    "colours": "\x1b[31mred\x1b[0m",
    "a title for the terminal": "\x1b]0;owned\x07",
    "a bell and a backspace": "a\x07b\x08",
    "nul": "a\0b",
    "line separator": "a\u2028b\u2029c",
    "next line": "a\x85b\x0bc\x0cd\x1ce",
    "the other way round": "a\u202eb",
    "no space": "a\ufeffb\u200b",
    "half a surrogate pair": "a\ud800b",
    "a C1 control": "a\x9b31mb",
    "a forged line": 'x\n{"event":"server.stopped"}',
    "one megabyte": "x" * 1_000_000,
    "one megabyte of controls": "\x1b" * 1_000_000,
}
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())


def is_clean(line: str) -> bool:
    """Whether a line is one line for every reader and steers no terminal."""
    return line.isprintable() and len(line.splitlines()) == 1


@hostile
def test_an_event_is_one_line_whatever_its_values(log: Log, text: str):
    [line] = log(task_id="t", detail=text)
    assert is_clean(line)
    assert len(line) < 30_000
    assert "task.started" in line


@hostile
def test_an_event_is_one_line_whatever_its_values_hold(log: Log, text: str):
    [line] = log(kinds=[text, "b"], more={"key": text, text[:50]: 1}, raw=text.encode("utf-8", "surrogatepass"))
    assert is_clean(line)
    assert len(line) < 60_000


@hostile
def test_an_event_is_one_line_whatever_it_is_called(log: Log, text: str):
    [line] = log(text)
    assert is_clean(line)


@hostile
def test_an_error_steers_no_terminal_and_floods_no_log(log: Log, text: str, style: str):
    try:
        raise ValueError(text)
    except ValueError as error:
        lines = log(exc_info=error)
    assert all(line.isprintable() for line in lines)
    assert sum(map(len, lines)) < 100_000
    assert "ValueError" in "".join(lines)
    if style == "json":
        assert len(lines) == 1


@pytest.mark.parametrize("style", ["json"])
def test_a_json_line_is_an_object_with_its_time_level_event_and_fields(log: Log):
    [line] = log(task_id="t", attempt=2, ok=True, ran_s=0.25, reason=None, kinds=["a", "b"])
    told = json.loads(line)
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "task.started",
        "level": "info",
        "task_id": "t",
        "attempt": 2,
        "ok": True,
        "ran_s": 0.25,
        "reason": None,
        "kinds": ["a", "b"],
    }


@pytest.mark.parametrize("style", ["json"])
@hostile
def test_a_json_line_parses_whatever_it_tells(log: Log, text: str):
    def strict(constant: str) -> None:
        raise AssertionError(constant)

    [line] = log(text, detail=text, nested=[{"a": [text]}], other=object())
    told = json.loads(line, parse_constant=strict)
    assert told["level"] == "info"


def test_text_that_needs_no_escape_is_left_as_it_is(log: Log):
    [line] = log(detail="größer als 5 € 😀")
    assert "größer als 5 € 😀" in line or json.loads(line)["detail"] == "größer als 5 € 😀"


@pytest.mark.parametrize("style", ["console"])
def test_an_error_is_told_with_its_traceback_on_the_console(log: Log):
    try:
        raise ValueError("the reason")
    except ValueError as error:
        lines = log(exc_info=error)
    assert lines[-1] == "ValueError: the reason"
    assert any("test_log.py" in line for line in lines)


# ── where lines go ─────────────────────────────────────────────────


def test_a_line_below_the_level_is_not_written(catch: Catch, style: str):
    stderr = catch()
    configure(level="warning", style=style)
    get_logger().info("quiet")
    get_logger().warning("loud")
    flush()
    assert "quiet" not in stderr.getvalue()
    assert "loud" in stderr.getvalue()


@pytest.mark.parametrize(
    ("chosen", "is_terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("console", False, False)],
)
def test_lines_are_for_people_on_a_terminal_and_for_programs_elsewhere(
    catch: Catch, chosen: str, is_terminal: bool, is_json: bool
):
    stderr = catch()
    stderr.is_terminal = is_terminal
    configure(level="info", style=chosen)
    get_logger().info("server.listening", url="http://127.0.0.1:8080")
    flush()
    line = stderr.getvalue()
    assert line.startswith("{") == is_json
    assert ("\x1b[" in line) == (is_terminal and not is_json)


class Broken(Pipe):
    """A stderr whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class Full(Pipe):
    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def closed() -> Pipe:
    pipe = Pipe()
    pipe.close()
    return pipe


@pytest.mark.parametrize("made", [Broken, Full, closed, lambda: None], ids=["broken", "full", "closed", "none at all"])
@pytest.mark.parametrize("chosen", ["json", "console", "auto"])
def test_a_stderr_that_cannot_be_written_costs_nobody_anything(catch: Catch, made: Callable[[], Any], chosen: str):
    catch(made())
    configure(level="info", style=chosen)
    for _ in range(3):
        get_logger().error("server.failed", error="x")
    flush()


def test_lines_are_written_again_once_stderr_can_take_them(catch: Catch):
    stderr = catch()
    configure(level="info", style="json")
    for broken in (Broken(), closed(), None):
        catch(broken)
        get_logger().info("lost")
    catch(stderr)
    get_logger().info("kept")
    flush()
    assert [json.loads(line)["event"] for line in stderr.getvalue().splitlines()] == ["kept"]


def test_lines_of_many_threads_are_not_mixed(catch: Catch):
    stderr = catch()
    configure(level="info", style="json")
    log = get_logger()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: log.info("task.started", n=n, filling="x" * 500), range(500)))
    flush()
    told = [json.loads(line)["n"] for line in stderr.getvalue().splitlines()]
    assert sorted(told) == list(range(500))


def test_lines_of_one_thread_are_in_order(catch: Catch):
    stderr = catch()
    configure(level="info", style="json")
    for n in range(500):
        get_logger().info("task.started", n=n)
    flush()
    assert [json.loads(line)["n"] for line in stderr.getvalue().splitlines()] == list(range(500))


class Stuck(Pipe):
    """A stderr whose reader reads nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__(newline="")
        self.reached = threading.Event()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.go.wait(10)
        return super().write(text)


def test_a_reader_that_has_stopped_reading_stops_nobody_and_what_it_missed_is_counted(
    catch: Catch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.telemetry.writer._LINES_WAITING", 20)
    monkeypatch.setattr("windlass.telemetry.log._writer", Writer(_tell_of_dropped))
    stderr = catch(Stuck())
    configure(level="info", style="json")
    get_logger().info("first")
    assert stderr.reached.wait(5)
    for n in range(100):
        get_logger().info("task.started", n=n)
    stderr.go.set()
    flush()
    told = [json.loads(line) for line in stderr.getvalue().splitlines()]
    assert [line["n"] for line in told if line["event"] == "task.started"] == list(range(20))
    assert [line["lines"] for line in told if line["event"] == "log.dropped"] == [80]


# ── many lines handed over together ────────────────────────────────


def test_lines_handed_over_together_look_like_any_other(log: Log, catch: Catch, style: str):
    [alone] = log("task.started", task_id="t", attempt=1)
    stderr = catch()
    configure(level="info", style=style)
    tell_each([1, 2], lambda attempt: {"task_id": "t", "attempt": attempt, "event": "task.started"})
    flush()
    first, second = stderr.getvalue().splitlines()
    assert re.sub(TIME, "", first) == re.sub(TIME, "", alone)
    assert "2" in re.sub(TIME, "", second)


TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z"


@hostile
def test_each_of_many_is_one_line_whatever_it_tells(catch: Catch, style: str, text: str):
    stderr = catch()
    configure(level="info", style=style)
    tell_each([text] * 3, lambda detail: {"event": "task.started", "detail": detail})
    flush()
    lines = stderr.getvalue()[:-1].split("\n")
    assert len(lines) == 3
    assert all(is_clean(line) and len(line) < 30_000 for line in lines)


def test_many_below_the_level_are_not_even_put_into_words(catch: Catch, style: str):
    stderr = catch()
    configure(level="warning", style=style)
    tell_each([1], lambda _: pytest.fail("nobody will read it"))
    flush()
    assert stderr.getvalue() == ""


def test_one_that_cannot_be_put_into_words_costs_nobody_his_lines(catch: Catch, style: str):
    stderr = catch()
    configure(level="info", style=style)
    tell_each([1, 0, 1], lambda n: {"event": "task.started", "n": 1 // n})
    flush()
    first, second, third = stderr.getvalue().splitlines()
    assert "task.started" in first
    assert second == "a line about a int cannot be rendered: ZeroDivisionError"
    assert "task.started" in third


def test_many_are_in_order_with_single_lines(catch: Catch):
    stderr = catch()
    configure(level="info", style="json")
    for n in range(0, 300, 3):
        get_logger().info("task.started", n=n)
        tell_each([n + 1, n + 2], lambda m: {"event": "task.started", "n": m})
    flush()
    assert [json.loads(line)["n"] for line in stderr.getvalue().splitlines()] == list(range(300))


def test_of_many_that_nobody_reads_the_first_are_kept_and_the_others_counted(
    catch: Catch, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("windlass.telemetry.writer._LINES_WAITING", 20)
    monkeypatch.setattr("windlass.telemetry.log._writer", Writer(_tell_of_dropped))
    stderr = catch(Stuck())
    configure(level="info", style="json")
    get_logger().info("first")
    assert stderr.reached.wait(5)
    for begin in range(0, 90, 15):
        tell_each(range(begin, begin + 15), lambda n: {"event": "task.started", "n": n})
    stderr.go.set()
    flush()
    told = [json.loads(line) for line in stderr.getvalue().splitlines()]
    assert [line["n"] for line in told if line["event"] == "task.started"] == list(range(20))
    assert [line["lines"] for line in told if line["event"] == "log.dropped"] == [70]


def test_what_comes_close_behind_other_lines_needs_nothing_more_to_be_written(catch: Catch):
    catch()
    written = [threading.Event() for _ in range(5)]
    writer = Writer(_tell_of_dropped)
    for event in written:
        writer.put([event], lambda event: event.set() or "line")
        assert event.wait(5)
