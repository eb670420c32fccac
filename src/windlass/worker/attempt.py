"""One attempt inside a worker: calls the handler and says how it ended. Knows no sockets.

Whatever a handler does (raise anything, return anything) becomes an `Ended` frame; nothing it does may end the worker's
own code.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from windlass.app.app import Handler
from windlass.app.context import BuiltinContext
from windlass.app.signals import Fail, Retry, Snooze
from windlass.config.schema import WorkerSettings
from windlass.core import limits
from windlass.core.ids import Token
from windlass.core.outcome import Errored, Snoozed, Succeeded
from windlass.core.task import Error, FileRow, Progress
from windlass.errors import InputError
from windlass.wire.codec import decode_json, encode_json
from windlass.wire.frames import Accepted, Assign, Ended, KeepFile, Report, Save, Upward

REPORT_EVERY_S = 0.25
"""Progress goes out at most four times a second; the newest always arrives."""

Send = Callable[[Upward], None]


class AttemptHost:
    """The worker's side of one attempt's context. Safe to call from any thread."""

    def __init__(self, token: Token, send: Send) -> None:
        self._token = token
        self._send = send
        self._lock = threading.Lock()
        self._waiting: Progress | None = None
        self._reported_at = 0.0
        self._saves: dict[int, Future[bool]] = {}
        self._serial = 0
        self.stopping = False
        self.has_ended = False

    def report(self, progress: Progress) -> None:
        """Send `progress`, or keep the newest for `flush` when one went out just now."""
        with self._lock:
            now = time.monotonic()
            if now - self._reported_at < REPORT_EVERY_S:
                self._waiting = progress
                return
            self._waiting, self._reported_at = None, now
        self._send(Report(self._token, progress))

    def flush(self, *, last: bool = False) -> None:
        """Send the progress that waits, if its time has come or it is the `last`."""
        with self._lock:
            if self._waiting is None or (not last and time.monotonic() - self._reported_at < REPORT_EVERY_S):
                return
            progress, self._waiting, self._reported_at = self._waiting, None, time.monotonic()
        self._send(Report(self._token, progress))

    def keep_file(self, file: FileRow) -> None:
        """Send the row."""
        self._send(KeepFile(self._token, file))

    def save(self, checkpoint: bytes) -> Future[bool]:
        """Send the checkpoint; `answered` resolves the future."""
        future: Future[bool] = Future()
        with self._lock:
            self._serial += 1
            serial = self._serial
            self._saves[serial] = future
        self._send(Save(self._token, serial, checkpoint))
        return future

    def answered(self, serial: int, *, accepted: bool) -> None:
        """Take in the server's answer to a save."""
        with self._lock:
            future = self._saves.pop(serial, None)
        if future is not None and future.set_running_or_notify_cancel():
            future.set_result(accepted)


def run_blocking(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings, send: Send) -> None:
    """Run a plain `def` handler in this thread, from Accepted to Ended."""
    send(Accepted(frame.token))
    try:
        arguments = _arguments(handler, frame, host, settings)
        outcome = _succeed(handler.function(**arguments))
    except BaseException as error:  # noqa: BLE001 the handler's, whatever it is: it becomes the outcome
        outcome = explain(error)
    _end(frame, host, outcome, send)


async def run_async(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings, send: Send) -> None:
    """Run an `async def` handler in this loop, or a plain one in a thread beside it, from Accepted to Ended."""
    send(Accepted(frame.token))
    try:
        arguments = _arguments(handler, frame, host, settings)
        if handler.signature.is_async:
            outcome = _succeed(await handler.function(**arguments))
        else:
            outcome = _succeed(await asyncio.to_thread(handler.function, **arguments))
    except BaseException as error:  # noqa: BLE001 the handler's, whatever it is: it becomes the outcome
        outcome = explain(error)
    _end(frame, host, outcome, send)


def _arguments(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings) -> dict[str, Any]:
    signature = handler.signature
    try:
        arguments = signature.decode(frame.payload)
    except msgspec.ValidationError as error:
        raise Fail(f"the payload does not fit the handler: {error}", code="payload_invalid") from None
    checkpoint = None if frame.checkpoint is None else decode_json(frame.checkpoint)
    if signature.context is BuiltinContext:
        arguments["ctx"] = BuiltinContext(frame, host, checkpoint=checkpoint, files=frame.files, settings=settings)
    elif signature.context is not None:
        arguments["ctx"] = signature.context(frame, host, checkpoint=checkpoint)
    return arguments


def _succeed(value: Any) -> Succeeded | Errored:
    try:
        result = encode_json(value)
    except InputError as error:
        return Errored(Error(type="ResultInvalid", code="result_invalid", message=error.detail), retryable=False)
    if len(result) > limits.RESULT_BYTES:
        message = (
            f"the result of {len(result):,} bytes is over the {limits.RESULT_BYTES:,} allowed: write large data to "
            "ctx.directory and return its name"
        )
        return Errored(Error(type="ResultTooLarge", code="result_too_large", message=message), retryable=False)
    return Succeeded(result)


def _end(frame: Assign, host: AttemptHost, outcome: Succeeded | Errored | Snoozed, send: Send) -> None:
    host.flush(last=True)
    if isinstance(outcome, Succeeded):
        for file in _left_files(frame):
            send(KeepFile(frame.token, file))
    stopped = host.stopping and not isinstance(outcome, Succeeded)
    send(Ended(frame.token, outcome, stopped))


def _left_files(frame: Assign) -> list[FileRow]:
    """Describe the files that a handler left in its directory, unless it has kept rows of its own."""
    directory = Path(frame.directory)
    if frame.kind in _KEEP_THEIR_OWN or not directory.is_dir():
        return []
    names = sorted(path for path in directory.iterdir() if path.is_file() and not path.is_symlink())
    return [
        FileRow(index=index, name=path.name, state="completed", size_bytes=path.stat().st_size)
        for index, path in enumerate(names)
    ]


_KEEP_THEIR_OWN = frozenset({"download"})


def explain(error: BaseException) -> Errored | Snoozed:
    """Say what an exception of a handler means."""
    match error:
        case Snooze():
            return Snoozed(error.delay)
        case Fail():
            return Errored(_describe(error, code=error.code or "failed"), retryable=False)
        case Retry():
            return Errored(_describe(error, code="retry"), retry_after_s=error.after)
        case asyncio.CancelledError():
            return Errored(Error(type="Stopped", message="the handler was told to stop, and did"))
        case _:
            return Errored(_describe(error, code=None))


def _describe(error: BaseException, *, code: str | None) -> Error:
    return Error(
        type=type(error).__name__,
        message=_cap(_text(error), limits.MESSAGE_BYTES),
        code=code,
        traceback=None if isinstance(error, Fail | Retry) else _cap(_traceback(error), limits.TRACEBACK_BYTES),
    )


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except BaseException as worse:  # noqa: BLE001 a broken __str__ must not hide the error it belongs to
        return f"<{type(error).__name__}, whose text cannot be read: {type(worse).__name__}>"


def _traceback(error: BaseException) -> str:
    """Format the traceback without our own frame at its top."""
    own = error.__traceback__
    try:
        return "".join(traceback.format_exception(type(error), error, own.tb_next if own else None))
    except BaseException as worse:  # noqa: BLE001 see _text
        return f"<the traceback cannot be read: {type(worse).__name__}>"


def _cap(text: str, size: int) -> str:
    """Keep the beginning and the end of a text too long, and characters that can be stored."""
    raw = text.replace("\0", "�").encode("utf-8", "replace")
    if len(raw) > size:
        half = size // 2 - 16
        raw = raw[:half] + b"\n[... cut ...]\n" + raw[-half:]
    return raw.decode("utf-8", "ignore")
