"""What a handler is given besides its payload: who it is, and how to say how it stands.

Talks to its worker through `Host` alone; knows no sockets and no frames.
"""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from windlass.config.schema import WorkerSettings
from windlass.core.ids import TaskId, Token
from windlass.core.limits import CHECKPOINT_BYTES
from windlass.core.task import FileRow, Progress
from windlass.errors import InputError, LeaseLost
from windlass.wire.codec import encode_json


class Host(Protocol):
    """The worker, as the contexts of its attempts see it. Every method may be called from any thread."""

    def report(self, progress: Progress) -> None:
        """Pass progress on, coalesced; never blocks for long."""
        ...

    def keep_file(self, file: FileRow) -> None:
        """Pass the state of one file on; never blocks for long."""
        ...

    def save(self, checkpoint: bytes) -> Future[bool]:
        """Pass a checkpoint on; the future says, once it is durable, whether the attempt still held its task."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the attempt has been told to stop."""
        ...


class Identity(Protocol):
    """What the attempt's context is made of; `wire.frames.Assign` is one."""

    @property
    def task_id(self) -> TaskId: ...  # noqa: D102
    @property
    def token(self) -> Token: ...  # noqa: D102
    @property
    def attempt(self) -> int: ...  # noqa: D102
    @property
    def deadline(self) -> datetime | None: ...  # noqa: D102
    @property
    def directory(self) -> str: ...  # noqa: D102


class _Common:
    """The parts that blocking and awaited contexts share."""

    def __init__(self, identity: Identity, host: Host, *, checkpoint: Any = None) -> None:
        self._host = host
        self._directory = Path(identity.directory)
        self.task_id = identity.task_id
        """The task's id."""
        self.attempt = identity.attempt
        """Which start of the task this is, from 1."""
        self.token = identity.token
        """The name of this attempt's lease: hand it to systems that can refuse a stale writer."""
        self.deadline = identity.deadline
        """When this attempt will be stopped for taking too long, aware UTC; None when it has no timeout."""
        self.checkpoint = checkpoint
        """What the last `save` of any attempt kept; None when there was none."""
        self.log = logging.getLogger(f"windlass.task.{identity.task_id}")
        """A logger of this attempt."""

    @property
    def stopping(self) -> bool:
        """Whether the attempt has been told to stop: clean up and return or raise soon."""
        return self._host.stopping

    @property
    def directory(self) -> Path:
        """The task's own directory, made on first use, kept over attempts; files left in it are its result files."""
        self._directory.mkdir(parents=True, exist_ok=True)
        return self._directory

    def progress(
        self, done: float, total: float | None = None, *, unit: str | None = None, message: str | None = None
    ) -> None:
        """Say how far the attempt has come. Cheap: only the newest of four a second goes out."""
        for figure in (done, total):
            if figure is not None and not math.isfinite(figure):
                raise InputError("progress takes finite numbers: ctx.progress(done, total)", code="bad_progress")
        done, total = float(done), None if total is None else float(total)
        self._host.report(Progress(done=done, total=total, unit=unit, message=message))

    def _encode(self, checkpoint: Any) -> bytes:
        raw = encode_json(checkpoint)
        if len(raw) > CHECKPOINT_BYTES:
            raise InputError(
                f"a checkpoint of {len(raw):,} bytes is over the {CHECKPOINT_BYTES:,} allowed: keep large data in "
                "ctx.directory and save its name",
                code="checkpoint_too_large",
            )
        return raw

    def _settle_save(self, checkpoint: Any, accepted: bool) -> None:
        if not accepted:
            raise LeaseLost("this attempt no longer holds its task; nothing it does counts any more")
        self.checkpoint = checkpoint


class Context(_Common):
    """The context of a plain `def` handler: what takes time, blocks."""

    def save(self, checkpoint: Any) -> None:
        """Keep `checkpoint` (JSON data) for the next attempt; durable when this returns.

        Raises:
            InputError: it is no JSON data, or larger than 1 MiB.
            LeaseLost: the attempt no longer holds its task.
        """
        self._settle_save(checkpoint, self._host.save(self._encode(checkpoint)).result())


class AsyncContext(_Common):
    """The context of an `async def` handler: what takes time, is awaited."""

    async def save(self, checkpoint: Any) -> None:
        """Keep `checkpoint` (JSON data) for the next attempt; durable when this returns.

        Raises:
            InputError: it is no JSON data, or larger than 1 MiB.
            LeaseLost: the attempt no longer holds its task.
        """
        self._settle_save(checkpoint, await asyncio.wrap_future(self._host.save(self._encode(checkpoint))))


class BuiltinContext(AsyncContext):
    """The context of the built-in kinds, which keep files as rows and know the server's settings."""

    def __init__(
        self, identity: Identity, host: Host, *, checkpoint: Any, files: list[FileRow], settings: WorkerSettings
    ) -> None:
        super().__init__(identity, host, checkpoint=checkpoint)
        self.files = files
        """The files as earlier attempts left them, by index."""
        self.settings = settings
        """The server's settings, as far as a worker may know them."""

    def keep_file(self, file: FileRow) -> None:
        """Insert or replace the file's row at its index."""
        self._host.keep_file(file)
