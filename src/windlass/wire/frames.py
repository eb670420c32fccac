"""The frames between server and worker: the only thing the two buildings share.

A frame on the wire is a 4-byte big-endian length and that many bytes of msgpack. Does no I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from windlass.core.ids import TaskId, Token
from windlass.core.kind import Isolation, Kind
from windlass.core.limits import FRAME_BYTES
from windlass.core.outcome import Errored, Snoozed, Succeeded
from windlass.core.stop import StopReason
from windlass.core.task import FileRow, Progress
from windlass.errors import WorkerError

_header = struct.Struct(">I")
HEADER_BYTES = _header.size

# ── server → worker ────────────────────────────────────────────────


class Welcome(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Answer to `Hello`: what the worker is to be from now on.

    `settings` is `config.schema.WorkerSettings` as plain data.
    """

    role: Isolation
    settings: dict[str, Any]


class Assign(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Run this attempt. `directory` is the task's own; `files` and `checkpoint` are what earlier attempts left."""

    task_id: TaskId
    token: Token
    attempt: int
    kind: str
    payload: bytes
    directory: str
    deadline: datetime | None = None
    checkpoint: bytes | None = None
    files: list[FileRow] = []


class Tell(msgspec.Struct, frozen=True, tag=True):
    """The attempt should stop."""

    token: Token
    reason: StopReason


class Saved(msgspec.Struct, frozen=True, tag=True):
    """Answer to `Save`: the checkpoint is durable, or the attempt has lost its task."""

    token: Token
    serial: int
    accepted: bool


class Retire(msgspec.Struct, frozen=True, tag=True):
    """No more attempts will come: exit once those inside have ended."""


Downward = Welcome | Assign | Tell | Saved | Retire

# ── worker → server ────────────────────────────────────────────────


class Hello(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The app is imported; these are its kinds."""

    app: str
    version: str
    kinds: list[Kind]


class Unfit(msgspec.Struct, frozen=True, tag=True):
    """The app could not be imported; `detail` is for the person who will repair it."""

    detail: str


class Accepted(msgspec.Struct, frozen=True, tag=True):
    """The attempt has begun."""

    token: Token


class Report(msgspec.Struct, frozen=True, tag=True):
    """How far the attempt has come."""

    token: Token
    progress: Progress


class Save(msgspec.Struct, frozen=True, tag=True):
    """Keep this checkpoint (canonical JSON) and answer with `Saved`. `serial` pairs the two."""

    token: Token
    serial: int
    checkpoint: bytes


class KeepFile(msgspec.Struct, frozen=True, tag=True):
    """One file of the attempt changed."""

    token: Token
    file: FileRow


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The handler is through. `stopped`: it ended because it was told to."""

    token: Token
    outcome: Succeeded | Errored | Snoozed
    stopped: bool = False


class Beat(msgspec.Struct, frozen=True, tag=True):
    """A shared worker lives; its loop last turned `lag_s` ago, and stands in the attempt named by `token`."""

    lag_s: float
    token: Token | None = None


Upward = Hello | Unfit | Accepted | Report | Save | KeepFile | Ended | Beat
Frame = Downward | Upward

_encoder = msgspec.msgpack.Encoder()
_downward = msgspec.msgpack.Decoder(Downward)
_upward = msgspec.msgpack.Decoder(Upward)
_all_downward = msgspec.msgpack.Decoder(list[Downward])
_all_upward = msgspec.msgpack.Decoder(list[Upward])
_array = struct.Struct(">BI")
_ARRAY = 0xDD
"""What an array of up to 2**32 values begins with; its length follows, and then the values."""
# Text that is no UTF-8 and nesting without end are errors of Python's own.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def encode(frame: Frame) -> bytes:
    """Give the bytes of `frame`, length first.

    Raises:
        WorkerError: the frame is larger than a frame may be.
    """
    body = _encoder.encode(frame)
    if len(body) > FRAME_BYTES:
        raise WorkerError(f"a frame of {len(body):,} bytes is over the {FRAME_BYTES:,} allowed", code="frame_too_large")
    return _header.pack(len(body)) + body


class Splitter:
    """Cuts a stream of bytes into frames. Not thread-safe; one per direction."""

    def __init__(self, *, upward: bool) -> None:
        self._decode = _upward.decode if upward else _downward.decode
        self._decode_all = _all_upward.decode if upward else _all_downward.decode
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take in `data` and yield each frame it completes, those before a broken one included.

        Raises:
            WorkerError: the other side does not keep to the protocol; the link is of no more use.
        """
        bodies, broken = self._cut(data)
        yield from self._read_all(bodies)
        if broken is not None:
            raise broken

    def _cut(self, data: bytes) -> tuple[list[bytes | bytearray], WorkerError | None]:
        """Take in `data`; give the bodies of the frames it completes, and what is wrong with the one behind them."""
        if self._buffer:
            self._buffer += data
        stream = self._buffer or data
        bodies: list[bytes | bytearray] = []
        start, arrived, broken = 0, len(stream), None
        while start + HEADER_BYTES <= arrived:
            (size,) = _header.unpack_from(stream, start)
            if size > FRAME_BYTES:
                broken = WorkerError(f"a frame announces {size:,} bytes", code="protocol_error")
                break
            end = start + HEADER_BYTES + size
            if end > arrived:
                break
            bodies.append(stream[start + HEADER_BYTES : end])
            start = end
        if stream is data:
            self._buffer += data[start:]
        else:
            del self._buffer[:start]
        return bodies, broken

    def _read_all(self, bodies: list[bytes | bytearray]) -> Iterator[Frame]:
        """Read frames that came together as one array, which takes a third of the time; one by one where that fails."""
        if len(bodies) > 1:
            try:
                return iter(self._decode_all(_array.pack(_ARRAY, len(bodies)) + b"".join(bodies)))
            except _UNREADABLE:
                pass
        return map(self._read, bodies)

    def _read(self, body: bytes | bytearray) -> Frame:
        try:
            return self._decode(body)
        except _UNREADABLE as error:
            raise WorkerError(f"a frame cannot be read: {error}", code="protocol_error") from None
