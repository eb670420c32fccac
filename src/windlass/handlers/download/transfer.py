"""One file, from its plan to its name on disk: asks, resumes, checks, publishes. Blocks, in a thread of its caller's.

Decides nothing about trying again; knows no event loop.
"""

from __future__ import annotations

import threading
import time

from windlass.config.schema import Downloads
from windlass.core.task import FileRow
from windlass.errors import WindlassError
from windlass.handlers.download.digest import DEFAULT, algorithm_of, read_repr_digest
from windlass.handlers.download.folder import Folder
from windlass.handlers.download.plan import FilePlan
from windlass.handlers.download.resume import RangeRefused, conditions, read_answer
from windlass.handlers.download.sink import Record, Sink, disk_failure
from windlass.outbound.failure import FailureClass, TransferFailed, class_of
from windlass.outbound.guard import Url, check_url
from windlass.outbound.head import Head
from windlass.outbound.transport import Request, Transport


class FileTransfer:
    """The work on one file during one attempt of its task; its transport's `Receiver`.

    Concurrency: one thread at a time calls `run`; `row`, `stop` and the plain fields may be used from any other.
    """

    def __init__(
        self,
        plan: FilePlan,
        *,
        folder: Folder,
        transport: Transport,
        settings: Downloads,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.plan = plan
        self.received_bytes = 0
        self.size_bytes: int | None = None
        self.resumed_bytes = 0
        self.seconds = 0.0
        self.tried_s = 0.0
        """What the last try took."""
        self.moved_at = time.monotonic()
        """When the last byte came in, or the last try began."""
        self._transport = transport
        self._headers = headers
        self._limit = min(plan.max_bytes or settings.max_bytes, settings.max_bytes)
        self._stopped = threading.Event()
        self._may_range = True
        self._asked = 0
        self._host = ""
        self._sink = Sink(
            folder,
            plan.name,
            fingerprint=plan.fingerprint,
            algorithm=DEFAULT if plan.digest is None else algorithm_of(plan.digest),
            floor_bytes=settings.floor_bytes,
        )

    def row(self, state: str, *, record: Record | None = None, error: str | None = None) -> FileRow:
        """Describe the file as it stands."""
        return FileRow(
            index=self.plan.index,
            name=self.plan.name,
            state=state,
            url=self.plan.shown_url,
            received_bytes=self.received_bytes,
            size_bytes=self.size_bytes,
            digest=None if record is None else record.digest,
            verified_by=None if record is None else record.verified_by,
            resumed_bytes=self.resumed_bytes,
            seconds=round(self.seconds, 3),
            error=error,
        )

    def stop(self) -> None:
        """Make `run` end within a second; what has arrived stays for the next attempt."""
        self._stopped.set()

    def run(self) -> FileRow:
        """Try once; give the row of the file, complete and published.

        Raises:
            WindlassError: see `outbound.failure`; what arrived is kept unless it is of no use.
        """
        self.moved_at = began_at = time.monotonic()
        try:
            record = self._run()
        except OSError as error:
            raise disk_failure(error) from error
        finally:
            self.tried_s = time.monotonic() - began_at
            self.seconds += self.tried_s
        return self.row("completed", record=record)

    def _run(self) -> Record:
        self._host = check_url(self.plan.url).host
        try:
            record = self._sink.open(self._stopped.is_set)
            if record is None:
                if self._sink.size is None or self._sink.offset < self._sink.size:
                    self._fetch()
                record = self._finish()
        except WindlassError as error:
            self._leave(error)
            if isinstance(error, RangeRefused):
                self._may_range = False
                raise TransferFailed(error.detail, code=error.code, kind=FailureClass.INTEGRITY) from None
            raise
        finally:
            self._sink.close()
        self.received_bytes = self.size_bytes = record.size_bytes or 0
        return record

    def _leave(self, error: WindlassError) -> None:
        """Keep what has arrived for the next try, unless it is of no use."""
        is_useless = isinstance(error, RangeRefused) or class_of(error) is FailureClass.INTEGRITY
        if is_useless or error.code == "too_large" or not self._sink.offset:
            self._sink.discard()
        else:
            self._sink.sync()

    def _fetch(self) -> None:
        sink = self._sink
        asked = conditions(sink.offset, sink.validator) if self._may_range else ()
        self._asked = sink.offset if asked else 0
        request = Request(url=self.plan.url, headers=self._headers, conditions=asked)
        self._transport.fetch(request, self, self._stopped.is_set)

    def begin(self, head: Head, url: Url) -> bool:
        """Take the head of the answer: continue the part, begin it anew, or find it whole."""
        sink, self._host = self._sink, url.host
        answer = read_answer(head, host=url.host, offset=self._asked, size=sink.size, validator=sink.validator)
        self._check_limit(answer.size or 0)
        if answer.action == "restart":
            sink.restart(answer.size, answer.validator)
            self.received_bytes = self.resumed_bytes = 0
        else:
            sink.size = answer.size
            sink.check_room()
            self.received_bytes = self.resumed_bytes = sink.offset
        sink.promised = read_repr_digest(head.get("repr-digest")) or sink.promised
        self.size_bytes = answer.size
        self.moved_at = time.monotonic()
        return answer.action != "complete"

    def write(self, chunk: memoryview) -> None:
        """Take the next bytes."""
        sink = self._sink
        size = sink.offset + len(chunk)
        self._check_limit(size)
        if sink.size is not None and size > sink.size:
            raise TransferFailed(
                f"{self._host} sent more than the {sink.size:,} bytes it announced",
                code="bad_response",
                kind=FailureClass.INTEGRITY,
            )
        sink.write(chunk)
        self.received_bytes = size
        self.moved_at = time.monotonic()

    def _check_limit(self, size: int) -> None:
        if size > self._limit:
            raise TransferFailed(
                f"the file from {self._host} is larger than the {self._limit:,} bytes allowed",
                code="too_large",
                kind=FailureClass.PERMANENT,
            )

    def _finish(self) -> Record:
        """Check what has arrived and publish it."""
        sink, host = self._sink, self._host
        if sink.size is not None and sink.offset != sink.size:
            raise TransferFailed(
                f"{host} ended after {sink.offset:,} of {sink.size:,} bytes",
                code="connection_lost",
                kind=FailureClass.TRANSIENT,
            )
        expected, verified_by = self.plan.digest, "caller"
        if expected is None:
            expected, verified_by = sink.promised, "repr-digest"
        if expected is None:
            verified_by = "unverified"
        elif sink.digest() != expected:
            raise TransferFailed(
                f"the bytes from {host} have the digest {sink.digest()}, not {expected}",
                code="digest_mismatch",
                kind=FailureClass.INTEGRITY,
            )
        return sink.publish(verified_by=verified_by)
