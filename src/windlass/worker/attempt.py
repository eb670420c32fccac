"""One attempt inside a worker: calls the handler and says how it ended. Knows no sockets.

Whatever a handler does (raise anything, return anything) becomes an `Ended` frame; nothing it does may end the worker's
own code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
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
Ending = Succeeded | Errored | Snoozed

_NAME_BYTES = 256


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
        # Whatever a handler says: a frame that cannot be sent or read would end the worker, its neighbours with it.
        progress = msgspec.structs.replace(
            progress, unit=_storable(progress.unit, _NAME_BYTES), message=_storable(progress.message)
        )
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
            # RACE: sent under the lock, or the end of the attempt could overtake its last progress.
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
    _end(frame, host, _call(handler, frame, host, settings), send)


async def run_async(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings, send: Send) -> None:
    """Run an `async def` handler in this loop, or a plain one in a thread beside it, to Ended; its session has said
    Accepted.

    Concurrency: cancel it only once it has begun; before that `host.stopping` alone keeps it from running.
    """
    if handler.signature.is_async:
        outcome = await _await(handler, frame, host, settings)
    else:
        outcome = await _call_beside(handler, frame, host, settings)
    _end(frame, host, outcome, send)


def _call(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings) -> Ending:
    try:
        return _succeed(handler.function(**_arguments(handler, frame, host, settings)))
    except BaseException as error:  # noqa: BLE001 the handler's, whatever it is: it becomes the outcome
        return explain(error)


async def _await(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings) -> Ending:
    try:
        return _succeed(await handler.function(**_arguments(handler, frame, host, settings)))
    except BaseException as error:  # noqa: BLE001 the handler's, whatever it is: it becomes the outcome
        return explain(error)


async def _call_beside(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings) -> Ending:
    """Call a plain handler in a thread; it has ended when that has, however often it is told to stop."""
    running = asyncio.ensure_future(asyncio.to_thread(_call, handler, frame, host, settings))
    # SHIELD: a thread cannot be cancelled; an end told before its own would let the next attempt run beside it.
    while not running.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([running])
    return running.result()


def _arguments(handler: Handler, frame: Assign, host: AttemptHost, settings: WorkerSettings) -> dict[str, Any]:
    if host.stopping:
        raise asyncio.CancelledError  # RACE: told before it began
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
        return _invalid(error.detail)
    if len(result) > limits.RESULT_BYTES:
        message = (
            f"the result of {len(result):,} bytes is over the {limits.RESULT_BYTES:,} allowed: write large data to "
            "ctx.directory and return its name"
        )
        return Errored(Error(type="ResultTooLarge", code="result_too_large", message=message), retryable=False)
    return Succeeded(result)


def _invalid(message: str) -> Errored:
    return Errored(Error(type="ResultInvalid", code="result_invalid", message=message), retryable=False)


def _end(frame: Assign, host: AttemptHost, outcome: Ending, send: Send) -> None:
    host.flush(last=True)
    if isinstance(outcome, Succeeded):
        try:
            files = _left_files(frame)
        except OSError as error:
            outcome = _invalid(f"the files left in ctx.directory cannot be read: {error}")
        except UnicodeEncodeError as error:
            outcome = _invalid(f"a file left in ctx.directory has a name that is no UTF-8: {error.object!a}; rename it")
        else:
            for file in files:
                send(KeepFile(frame.token, file))
    stopped = host.stopping and not isinstance(outcome, Succeeded)
    send(Ended(frame.token, outcome, stopped))


def _left_files(frame: Assign) -> list[FileRow]:
    """Describe the files that a handler left in its directory, unless it has kept rows of its own.

    Raises:
        OSError: the directory cannot be read.
        UnicodeEncodeError: a file's name is no text.
    """
    is_there = os.access(frame.directory, os.F_OK, follow_symlinks=False)  # most have none: cheaper than to open it
    if frame.kind in _KEEP_THEIR_OWN or not is_there:
        return []
    sizes: dict[str, int] = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(frame.directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # gone since: something the handler started cleans up
                if entry.is_file(follow_symlinks=False):
                    if len(sizes) >= limits.LEFT_FILES:
                        raise OSError(f"it holds more than {limits.LEFT_FILES:,} files")
                    entry.name.encode()
                    sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
    return [
        FileRow(index=index, name=name, state="completed", size_bytes=sizes[name])
        for index, name in enumerate(sorted(sizes))
    ]


_KEEP_THEIR_OWN = frozenset({"download"})


def explain(error: BaseException) -> Errored | Snoozed:
    """Say what an exception of a handler means; whatever it is, the answer can be sent, read and stored."""
    try:
        return _explain(error)
    except BaseException as worse:  # noqa: BLE001 a signal whose fields are not what they should be
        what = f"what the handler raised cannot be read: {_text(worse)}"
        return Errored(Error(type=_name(error), message=_cap(what, limits.MESSAGE_BYTES), traceback=_traceback(error)))


def _explain(error: BaseException) -> Errored | Snoozed:
    match error:
        case Snooze():
            return Snoozed(max(limits.SNOOZE_MIN_S, float(error.delay)))  # NaN is the floor too
        case Fail():
            return Errored(_describe(error, code=error.code or "failed"), retryable=False)
        case Retry():
            after_s = None if error.after is None else float(error.after)
            return Errored(_describe(error, code=getattr(error, "code", None) or "retry"), retry_after_s=after_s)
        case asyncio.CancelledError():
            return Errored(Error(type="Stopped", message="the handler was told to stop, and did"))
        case _:
            return Errored(_describe(error, code=None))


def _describe(error: BaseException, *, code: Any) -> Error:
    return Error(
        type=_name(error),
        message=_cap(_text(error), limits.MESSAGE_BYTES),
        code=_storable(code, _NAME_BYTES),
        traceback=None if isinstance(error, Fail | Retry) else _traceback(error),
    )


def _name(error: BaseException) -> str:
    return _cap(type(error).__name__, _NAME_BYTES)


def _text(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except BaseException as worse:  # noqa: BLE001 a broken __str__ must not hide the error it belongs to
        return f"<{type(error).__name__}, whose text cannot be read: {type(worse).__name__}>"


def _traceback(error: BaseException) -> str:
    """Format the traceback without our own frame at its top."""
    own = error.__traceback__
    try:
        text = "".join(traceback.format_exception(type(error), error, own.tb_next if own else None))
    except BaseException as worse:  # noqa: BLE001 see _text
        text = f"<the traceback cannot be read: {type(worse).__name__}>"
    return _cap(text, limits.TRACEBACK_BYTES)


def _storable(value: Any, size: int = limits.MESSAGE_BYTES) -> str | None:
    """Make text of what a handler gave as text."""
    return None if value is None else _cap(str(value), size)


def _cap(text: str, size: int) -> str:
    """Keep the beginning and the end of a text too long, and characters that can be stored."""
    raw = text.replace("\0", "�").encode("utf-8", "replace")
    if len(raw) > size:
        half = size // 2 - 16
        raw = raw[:half] + b"\n[... cut ...]\n" + raw[-half:]
    return raw.decode("utf-8", "ignore")
