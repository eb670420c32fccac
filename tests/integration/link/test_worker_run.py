"""Attempts in a loop: awaited handlers, plain ones in a thread beside it, and the files they leave."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import windlass
from windlass.app.app import App
from windlass.app.context import BuiltinContext
from windlass.config.schema import Downloads, WorkerSettings
from windlass.core.ids import TaskId, Token
from windlass.core.outcome import Errored, Snoozed, Succeeded
from windlass.core.task import FileRow, Progress
from windlass.wire.frames import Accepted, Assign, Ended, Frame, KeepFile, Report, Save, Splitter, Upward, encode
from windlass.worker.attempt import AttemptHost, run_async

pytestmark = pytest.mark.anyio
TOKEN = Token("0123456789abcdef0123456789abcdef")


class Attempt:
    """One attempt of `function` in this loop, with a list for the link."""

    def __init__(self, function: Callable[..., Any], **changes: Any) -> None:
        fields: dict[str, Any] = {
            "task_id": TaskId("0192e4a0-0000-7000-8000-000000000001"),
            "token": TOKEN,
            "attempt": 1,
            "kind": "kind",
            "payload": b"{}",
            "directory": "/nowhere/at/all",
        }
        self.app = App()
        self.app.task("kind", isolation="shared")(function)
        self.frame = Assign(**(fields | changes))
        self.settings = WorkerSettings(downloads=Downloads(redirects=3))
        self.sent: list[Upward] = []
        self.host = AttemptHost(TOKEN, self.send)
        self.accept_saves = True

    def send(self, frame: Upward) -> None:
        self.sent.append(frame)
        if isinstance(frame, Save):
            self.host.answered(frame.serial, accepted=self.accept_saves)

    def begin(self) -> asyncio.Task[None]:
        handler = self.app.handlers["kind"]
        self.send(Accepted(TOKEN))  # as its session does
        return asyncio.create_task(run_async(handler, self.frame, self.host, self.settings, self.send))

    def stop(self, running: asyncio.Task[None]) -> None:
        """Tell it, as the session does."""
        self.host.stopping = True
        asyncio.get_running_loop().call_soon(running.cancel)

    async def run(self) -> Ended:
        """See it through, and give its one last word as the server would get it."""
        async with asyncio.timeout(10):
            await asyncio.wait([self.begin()])
        return self.ended()

    def ended(self) -> Ended:
        first, *between, last = self.arrived()
        assert first == Accepted(TOKEN)
        assert not any(isinstance(frame, Accepted | Ended) for frame in between)
        assert isinstance(last, Ended)
        return last

    def arrived(self) -> list[Frame]:
        return list(Splitter(upward=True).feed(b"".join(map(encode, self.sent))))


# ── awaited handlers ───────────────────────────────────────────────


async def test_an_awaited_handler_gets_its_payload_and_an_awaited_context():
    async def handler(n: int, *, ctx: windlass.AsyncContext) -> list[Any]:
        ctx.progress(n)
        await ctx.save({"n": n})
        return [type(ctx).__name__, ctx.checkpoint]

    attempt = Attempt(handler, payload=b'{"n":4}', checkpoint=b'{"n":3}')
    assert (await attempt.run()).outcome == Succeeded(b'["AsyncContext",{"n":4}]')
    assert attempt.sent[1:3] == [Report(TOKEN, Progress(done=4)), Save(TOKEN, 1, b'{"n":4}')]


async def test_a_save_of_an_attempt_that_has_lost_its_task_raises_in_the_handler():
    async def handler(*, ctx: windlass.AsyncContext) -> None:
        await ctx.save(1)

    attempt = Attempt(handler)
    attempt.accept_saves = False
    outcome = (await attempt.run()).outcome
    assert isinstance(outcome, Errored)
    assert outcome.error.type == "LeaseLost"


async def test_a_builtin_handler_sees_the_settings_and_the_files_of_earlier_attempts():
    async def handler(*, ctx: BuiltinContext) -> list[Any]:
        ctx.keep_file(FileRow(index=0, name="a", state="running"))
        return [ctx.settings.downloads.redirects, [file.name for file in ctx.files]]

    attempt = Attempt(handler, files=[FileRow(index=0, name="a", state="pending")])
    assert (await attempt.run()).outcome == Succeeded(b'[3,["a"]]')
    assert attempt.sent[1] == KeepFile(TOKEN, FileRow(index=0, name="a", state="running"))


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), StopIteration(), BaseException("x"), TimeoutError()]
)
@pytest.mark.parametrize("is_async", [True, False], ids=["awaited", "plain"])
async def test_whatever_is_raised_ends_the_attempt_and_nothing_else(error: BaseException, is_async: bool):
    def plain() -> None:
        raise error

    async def awaited() -> None:
        raise error

    outcome = (await Attempt(awaited if is_async else plain).run()).outcome
    assert isinstance(outcome, Errored)
    # An async def cannot raise StopIteration: Python makes another error of it.
    assert outcome.error.type in (type(error).__name__, "RuntimeError")


async def test_a_handler_that_is_told_is_cancelled_and_can_clean_up():
    began = asyncio.Event()
    cleaned: list[bool] = []

    async def handler(*, ctx: windlass.AsyncContext) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(ctx.stopping)

    attempt = Attempt(handler)
    running = attempt.begin()
    await began.wait()
    attempt.stop(running)
    await asyncio.wait([running])
    ended = attempt.ended()
    assert isinstance(ended.outcome, Errored)
    assert (ended.outcome.error.type, ended.stopped, cleaned) == ("Stopped", True, [True])


async def test_a_handler_may_finish_although_it_is_told():
    began = asyncio.Event()

    async def handler() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished"

    attempt = Attempt(handler)
    running = attempt.begin()
    await began.wait()
    attempt.stop(running)
    await asyncio.wait([running])
    assert attempt.ended() == Ended(TOKEN, Succeeded(b'"finished"'), stopped=False)


async def test_a_handler_told_in_the_moment_it_is_assigned_never_begins_and_still_ends():
    calls: list[int] = []

    async def awaited() -> None:
        calls.append(1)

    def plain() -> None:
        calls.append(2)

    for function in (awaited, plain):
        attempt = Attempt(function)
        running = attempt.begin()
        attempt.stop(running)
        await asyncio.wait([running], timeout=10)
        ended = attempt.ended()
        assert isinstance(ended.outcome, Errored)
        assert (ended.outcome.error.type, ended.stopped) == ("Stopped", True)
    assert not calls


# ── plain handlers in a thread ─────────────────────────────────────


async def test_a_plain_handler_runs_beside_the_loop():
    loop_goes_on = threading.Event()

    def handler() -> bool:
        return loop_goes_on.wait(10)

    attempt = Attempt(handler)
    running = attempt.begin()
    asyncio.get_running_loop().call_later(0.01, loop_goes_on.set)
    await asyncio.wait([running])
    assert attempt.ended().outcome == Succeeded(b"true")


async def test_a_plain_handler_that_is_told_has_ended_only_when_its_thread_has():
    began, may_end = threading.Event(), threading.Event()

    def handler(*, ctx: windlass.Context) -> None:
        began.set()
        may_end.wait(10)
        if ctx.stopping:
            raise windlass.Snooze(1)

    attempt = Attempt(handler)
    running = attempt.begin()
    await asyncio.to_thread(began.wait, 10)
    for _ in range(3):
        attempt.stop(running)
        await asyncio.wait([running], timeout=0.02)
    assert not running.done()
    assert attempt.arrived() == [Accepted(TOKEN)]
    may_end.set()
    await asyncio.wait([running])
    assert attempt.ended() == Ended(TOKEN, Snoozed(1.0), stopped=True)


# ── files ──────────────────────────────────────────────────────────


def leaving(directory: Path, **files: str) -> Callable[[], None]:
    def handler() -> None:
        directory.mkdir()
        for name, text in files.items():
            (directory / name).write_text(text)

    return handler


async def test_files_left_in_the_directory_are_described_in_the_order_of_their_names(tmp_path: Path):
    directory = tmp_path / "d"
    handler = leaving(directory, b="22", a="1", ü="")

    def with_more() -> None:
        handler()
        (directory / "sub").mkdir()
        (directory / "link").symlink_to("/etc/passwd")
        os.mkfifo(directory / "pipe")

    attempt = Attempt(with_more, directory=str(directory))
    assert (await attempt.run()).outcome == Succeeded(b"null")
    assert [frame.file for frame in attempt.sent[1:-1] if isinstance(frame, KeepFile)] == [
        FileRow(index=0, name="a", state="completed", size_bytes=1),
        FileRow(index=1, name="b", state="completed", size_bytes=2),
        FileRow(index=2, name="ü", state="completed", size_bytes=0),
    ]


async def test_a_handler_that_fails_leaves_no_files(tmp_path: Path):
    def handler() -> None:
        leaving(tmp_path / "d", a="1")()
        raise windlass.Fail("no")

    attempt = Attempt(handler, directory=str(tmp_path / "d"))
    assert isinstance((await attempt.run()).outcome, Errored)
    assert len(attempt.sent) == 2


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_directory_without_files_is_no_error(tmp_path: Path, is_there: bool):
    directory = tmp_path / "d"
    if is_there:
        directory.mkdir()
    attempt = Attempt(lambda: None, directory=str(directory))
    assert (await attempt.run()).outcome == Succeeded(b"null")
    assert len(attempt.sent) == 2


async def test_a_file_whose_name_is_no_text_ends_the_attempt_with_a_reason(tmp_path: Path):
    def handler() -> None:
        (tmp_path / os.fsdecode(b"\xff\xfe")).write_bytes(b"")

    outcome = (await Attempt(handler, directory=str(tmp_path)).run()).outcome
    assert isinstance(outcome, Errored)
    assert (outcome.error.code, outcome.retryable) == ("result_invalid", False)
    assert "rename it" in outcome.error.message


async def test_a_directory_that_cannot_be_read_ends_the_attempt_with_a_reason(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    outcome = (await Attempt(lambda: None, directory=str(tmp_path / "loop")).run()).outcome
    assert isinstance(outcome, Errored)
    assert (outcome.error.code, outcome.retryable) == ("result_invalid", False)
    assert "cannot be read" in outcome.error.message
