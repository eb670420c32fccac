"""One file's bytes on disk: gathered in a `.part`, described by a record beside it, published whole or not at all.

Knows no network. A record never says more than what is on disk for certain; a crash at any instant leaves nothing
visible under the file's name, or the whole file.
"""

from __future__ import annotations

import errno
import os
import time
from typing import Any

import msgspec

from windlass.core.limits import MIB
from windlass.handlers.download.digest import DEFAULT, new_hash
from windlass.handlers.download.folder import Folder
from windlass.handlers.download.names import PART
from windlass.handlers.download.resume import Validator
from windlass.outbound.failure import FailureClass, TransferFailed, TransferStopped
from windlass.outbound.transport import ShouldStop
from windlass.wire.codec import decode_json, encode_json

SYNC_BYTES = 8 * MIB
SYNC_S = 2.0
"""At most this much is fetched again after a crash, whichever comes first."""
READ_BYTES = 1 * MIB
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a part. `is_whole`: all its bytes are on disk and were checked; only its name is missing."""

    fingerprint: str
    synced_bytes: int
    size_bytes: int | None = None
    validator: Validator | None = None
    promised: str | None = None
    digest: str | None = None
    verified_by: str | None = None
    is_whole: bool = False


def record_name(name: str) -> str:
    """Give the name of the record of the file called `name`."""
    return f".{name}{PART}.json"


def disk_failure(error: OSError) -> TransferFailed:
    """Say what an error of the disk means for the file."""
    if error.errno in _FULL:
        return TransferFailed("no space is left on the disk", code="no_space", kind=FailureClass.DISK)
    reason = os.strerror(error.errno) if error.errno else "unknown error"
    return TransferFailed(f"the file could not be written: {reason}", code="disk_error", kind=FailureClass.DISK)


class Sink:
    """The part of one file and the digest of its bytes. One thread at a time uses it.

    Raises:
        OSError: every method that touches the disk may; see `disk_failure`.
    """

    def __init__(
        self, folder: Folder, name: str, *, fingerprint: str, algorithm: str = DEFAULT, floor_bytes: int = 0
    ) -> None:
        self.offset: int = 0
        self.size: int | None = None
        self.validator: Validator | None = None
        self.promised: str | None = None
        self._folder = folder
        self._name = name
        self._part = name + PART
        self._fingerprint = fingerprint
        self._algorithm = algorithm
        self._floor_bytes = floor_bytes
        self._descriptor: int | None = None
        self._hash: Any = new_hash(algorithm)
        self._synced: int = 0
        self._synced_at = time.monotonic()
        self._is_recovered = False

    # ── before the first byte ──────────────────────────────────────

    def open(self, should_stop: ShouldStop) -> Record | None:
        """Take up what earlier tries left: a whole file is published and its record given; a part is opened where it
        ends, after a crash at its last synced byte; anything else is cleared away.
        """
        if self._is_recovered:
            if self.offset:
                self._descriptor = self._folder.reopen(self._part)
                os.lseek(self._descriptor, self.offset, os.SEEK_SET)
            return None
        self._is_recovered = True
        record = self._read_record()
        if record is not None and record.is_whole and self._publish_again(record, should_stop):
            return record
        if record is None or record.is_whole or record.validator is None or not self._reopen(record, should_stop):
            self.discard()
        return None

    def restart(self, size: int | None, validator: Validator | None) -> None:
        """Begin a new part; what was there is gone.

        Raises:
            TransferFailed: `no_space` for a file of that size.
        """
        self.discard()
        self.size, self.validator = size, validator
        self.check_room()
        self._descriptor = self._folder.create(self._part)

    def check_room(self) -> None:
        """Check that what is still to come fits, above the floor.

        Raises:
            TransferFailed: `no_space`.
        """
        missing = 0 if self.size is None else self.size - self.offset
        free = self._folder.free_bytes()
        if missing + self._floor_bytes > free:
            raise TransferFailed(
                f"no space: {missing:,} bytes are missing, {free:,} are free and {self._floor_bytes:,} of them are to "
                "stay so (downloads.floor_bytes)",
                code="no_space",
                kind=FailureClass.DISK,
            )

    # ── bytes ──────────────────────────────────────────────────────

    def write(self, chunk: memoryview) -> None:
        """Append `chunk`, and sync when it is time.

        Raises:
            TransferFailed: `no_space`, the floor is reached.
        """
        assert self._descriptor is not None
        rest = chunk
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._hash.update(chunk)
        self.offset += len(chunk)
        is_due = time.monotonic() - self._synced_at >= SYNC_S
        if is_due or self.offset - self._synced >= SYNC_BYTES:
            self.sync()
            self.check_room()

    def sync(self) -> None:
        """Make what was written durable, and only then say so in the record."""
        if self._descriptor is None or self.offset == self._synced:
            return
        if self.validator is not None:  # without one, nothing is ever resumed, and the end alone is synced
            os.fdatasync(self._descriptor)
            self._write_record(self._record())
        self._synced, self._synced_at = self.offset, time.monotonic()

    def digest(self) -> str:
        """Give the digest of all bytes so far, as `algorithm:hex`."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    # ── the end ────────────────────────────────────────────────────

    def publish(self, *, verified_by: str) -> Record:
        """Give the whole file its name, durably. The record stays, until the file is known to the server.

        Raises:
            TransferFailed: `file_exists`; the name is taken, and what has it is not replaced.
        """
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        record = msgspec.structs.replace(
            self._record(), size_bytes=self.offset, digest=self.digest(), verified_by=verified_by, is_whole=True
        )
        self._write_record(record, durable=True)
        self._link()
        return record

    def discard(self) -> None:
        """Take part and record away and be at 0 again."""
        self.close()
        self._folder.remove(self._part)
        self._folder.remove(record_name(self._name))
        self.offset, self._synced = 0, 0
        self.size, self.validator, self.promised = None, None, None
        self._hash = new_hash(self._algorithm)

    def close(self) -> None:
        """Close the part; what was written since the last sync may be lost."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # ── records ────────────────────────────────────────────────────

    def _record(self) -> Record:
        return Record(
            fingerprint=self._fingerprint,
            synced_bytes=self.offset,
            size_bytes=self.size,
            validator=self.validator,
            promised=self.promised,
        )

    def _write_record(self, record: Record, *, durable: bool = False) -> None:
        # Not durable by itself while bytes come in: an older or a torn record costs bytes, never their truth.
        self._folder.write_small(record_name(self._name), encode_json(record), durable=durable)

    def _read_record(self) -> Record | None:
        raw = self._folder.read_small(record_name(self._name))
        try:
            record = None if raw is None else msgspec.convert(decode_json(raw), Record)
        except msgspec.MsgspecError:
            return None
        return record if record is not None and record.fingerprint == self._fingerprint else None

    def _reopen(self, record: Record, should_stop: ShouldStop) -> bool:
        size = self._folder.size_of(self._part)
        if size is None or not 0 < record.synced_bytes <= size:
            return False
        self._descriptor = self._folder.reopen(self._part)
        os.ftruncate(self._descriptor, record.synced_bytes)
        self._read_into_hash(self._descriptor, should_stop)
        self.offset, self._synced = record.synced_bytes, record.synced_bytes
        self.size, self.validator, self.promised = record.size_bytes, record.validator, record.promised
        return True

    def _publish_again(self, record: Record, should_stop: ShouldStop) -> bool:
        """Finish what a crash cut short between the last check and the row; whether the file is there now."""
        if self._holds(self._name, record, should_stop):
            self._folder.remove(self._part)
            self._folder.sync()
            return True
        if self._holds(self._part, record, should_stop):
            self._link()
            return True
        return False

    def _holds(self, name: str, record: Record, should_stop: ShouldStop) -> bool:
        """Whether the file called `name` is the one that was checked."""
        if self._folder.size_of(name) != record.size_bytes:
            return False
        self._hash = new_hash(self._algorithm)
        descriptor = self._folder.reopen(name)
        try:
            self._read_into_hash(descriptor, should_stop)
        finally:
            os.close(descriptor)
        return self.digest() == record.digest

    def _link(self) -> None:
        try:
            self._folder.publish(self._part, self._name)
        except FileExistsError:
            raise TransferFailed(
                f"{self._name} is there already and is not replaced", code="file_exists", kind=FailureClass.DISK
            ) from None

    def _read_into_hash(self, descriptor: int, should_stop: ShouldStop) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        buffer = bytearray(READ_BYTES)
        with memoryview(buffer) as view:
            while size := os.readv(descriptor, [view]):
                if should_stop():
                    raise TransferStopped("stopped while the bytes on disk were being read")
                self._hash.update(view[:size])
