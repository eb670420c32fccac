"""The handler of the `download` kind: its files side by side, their rows, the progress of all, the result.

Fetches and writes nothing itself: that is done in threads, by `transfer`.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import msgspec

from windlass.app.context import BuiltinContext
from windlass.app.signals import Fail
from windlass.core.limits import KIB, RESULT_BYTES
from windlass.core.task import FileRow
from windlass.errors import InputError, WindlassError
from windlass.handlers.download.budget import RetryBudget
from windlass.handlers.download.folder import Folder
from windlass.handlers.download.lanes import lanes_of_this_loop
from windlass.handlers.download.plan import FilePlan, Files, OnError, check_headers, plan_files
from windlass.handlers.download.sink import record_name
from windlass.handlers.download.transfer import FileTransfer
from windlass.outbound.guard import Guard
from windlass.outbound.transport import Limits, Transport
from windlass.wire.codec import encode_json

REPORT_S = 0.5


async def download(
    files: Files, headers: dict[str, str] | None = None, on_error: OnError = "continue", *, ctx: BuiltinContext
) -> dict[str, Any]:
    """Download files into the task's directory: resumed where possible, checked, and published whole.

    Raises:
        Fail: no file could be had, or with `on_error` "stop" not every one.
    """
    try:
        checked = check_headers(headers)
    except InputError as error:
        raise Fail(error.detail, code=error.code) from None
    folder = await asyncio.to_thread(lambda: Folder(ctx.directory))
    with folder:
        return await Batch(plan_files(files), folder=folder, headers=checked, on_error=on_error, ctx=ctx).run()


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A published file, as the checkpoint names it."""

    index: int
    size_bytes: int
    digest: str
    verified_by: str


class Batch:
    """The files of one attempt."""

    def __init__(
        self,
        plans: list[FilePlan],
        *,
        folder: Folder,
        headers: tuple[tuple[str, str], ...],
        on_error: OnError,
        ctx: BuiltinContext,
    ) -> None:
        settings = ctx.settings.downloads
        limits = Limits(
            connect_s=settings.connect_s,
            headers_s=settings.headers_s,
            low_speed_bytes_per_s=settings.low_speed_bytes_per_s,
            low_speed_s=settings.low_speed_s,
            redirects=settings.redirects,
        )
        transport = Transport(Guard(ctx.settings.outbound.allow), limits)
        self._ctx = ctx
        self._folder = folder
        self._on_error = on_error
        self._settings = settings
        self._lanes = lanes_of_this_loop(settings.files_at_once)
        self._rows = {row.index: row for row in ctx.files}
        self._transfers = [
            FileTransfer(plan, folder=folder, transport=transport, settings=settings, headers=headers) for plan in plans
        ]
        self._running: set[FileTransfer] = set()
        self._first_error: tuple[str, str] | None = None
        self._reported: tuple[int, int | None] | None = None

    async def run(self) -> dict[str, Any]:
        """Fetch what is not there yet, and say what became of every file."""
        kept = await asyncio.to_thread(self._find_kept)
        missing = [transfer for transfer in self._transfers if transfer.plan.index not in kept]
        for transfer in missing:
            self._await_turn(transfer)
        reporting = asyncio.create_task(self._report_often())
        try:
            async with asyncio.TaskGroup() as group:
                for transfer in missing:
                    group.create_task(self._fetch(transfer))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            reporting.cancel()
            with suppress(asyncio.CancelledError):
                await reporting
        self._report()
        return await self._end()

    # ── before ─────────────────────────────────────────────────────

    def _find_kept(self) -> set[int]:
        """Find the files that earlier attempts have published, and see that they are there. Blocks."""
        known = self._known_by_checkpoint()
        kept: set[int] = set()
        for transfer in self._transfers:
            plan, row = transfer.plan, self._rows.get(transfer.plan.index)
            is_durable = row is not None and row.state == "completed"
            if not is_durable and (saved := known.get(plan.index)) is not None:
                row = self._describe(plan, saved)
            if row is None or row.state != "completed":
                continue
            if row.name != plan.name or self._folder.size_of(plan.name) != row.size_bytes:
                continue
            kept.add(plan.index)
            self._rows[plan.index] = row
            transfer.received_bytes = transfer.size_bytes = row.size_bytes or 0
            if not is_durable:
                self._ctx.keep_file(row)
        return kept

    def _known_by_checkpoint(self) -> dict[int, Kept]:
        kept = msgspec.convert(self._ctx.checkpoint or (), list[Kept])
        return {file.index: file for file in kept}

    def _describe(self, plan: FilePlan, kept: Kept) -> FileRow:
        return FileRow(
            index=plan.index,
            name=plan.name,
            state="completed",
            url=plan.shown_url,
            received_bytes=kept.size_bytes,
            size_bytes=kept.size_bytes,
            digest=kept.digest,
            verified_by=kept.verified_by,
        )

    def _await_turn(self, transfer: FileTransfer) -> None:
        row = self._rows.get(transfer.plan.index)
        if row is not None and row.state != "completed":
            transfer.received_bytes, transfer.seconds = row.received_bytes, row.seconds
        self._keep(transfer.row("pending"))

    # ── meanwhile ──────────────────────────────────────────────────

    async def _fetch(self, transfer: FileTransfer) -> None:
        """Try until the file is there or its budget is used up."""
        budget = RetryBudget(stall_s=self._settings.stall_s)
        self._running.add(transfer)
        try:
            delay_s: float | None = 0.0
            while delay_s is not None:
                await asyncio.sleep(delay_s)
                delay_s = await self._try(transfer, budget)
        except asyncio.CancelledError:
            self._keep(transfer.row("pending"))
            raise
        finally:
            self._running.discard(transfer)

    async def _try(self, transfer: FileTransfer, budget: RetryBudget) -> float | None:
        """Try once; give the delay before the next try, None when there is to be none."""
        try:
            async with self._lanes.lane(self._ctx.task_id):
                self._keep(transfer.row("running"))
                self._keep(await self._lanes.run(transfer.run, transfer.stop))
        except WindlassError as error:
            delay_s = budget.next_delay_s(
                error,
                received=transfer.received_bytes,
                tried_s=transfer.tried_s,
                silent_s=asyncio.get_running_loop().time() - transfer.moved_at,
                roll=random.random(),  # noqa: S311 jitter, not a secret
            )
            if delay_s is None:
                self._give_up(transfer, error)
            return delay_s
        return None

    def _give_up(self, transfer: FileTransfer, error: WindlassError) -> None:
        self._keep(transfer.row("failed", error=error.detail))
        self._first_error = self._first_error or (error.detail, error.code)
        if self._on_error == "stop":
            raise Fail(error.detail, code=error.code)

    def _keep(self, row: FileRow) -> None:
        self._rows[row.index] = row
        self._ctx.keep_file(row)

    async def _report_often(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            for transfer in self._running:
                row = self._rows[transfer.plan.index]
                if row.state == "running" and row.received_bytes != transfer.received_bytes:
                    self._keep(transfer.row("running"))
            self._report()

    def _report(self) -> None:
        """Report the bytes of all files, when they have changed; a total only when it is known of each."""
        done, total = 0, 0
        is_known = True
        for transfer in self._transfers:
            done += transfer.received_bytes
            if self._rows[transfer.plan.index].state == "failed":
                total += transfer.received_bytes
            elif transfer.size_bytes is None:
                is_known = False
            else:
                total += transfer.size_bytes
        report = (done, total if is_known else None)
        if report != self._reported:
            self._reported = report
            self._ctx.progress(*report, unit="bytes")

    # ── after ──────────────────────────────────────────────────────

    async def _end(self) -> dict[str, Any]:
        rows = [self._rows[transfer.plan.index] for transfer in self._transfers]
        published = [row for row in rows if row.state == "completed"]
        if not published and self._first_error is not None:
            detail, code = self._first_error
            raise Fail(detail if len(rows) == 1 else f"none of {len(rows)} files could be had: {detail}", code=code)
        # The records may go only once something durable says that the files are whole.
        await self._ctx.save(
            [Kept(row.index, row.size_bytes or 0, row.digest or "", row.verified_by or "") for row in published]
        )
        await asyncio.to_thread(self._forget, published)
        directory = await asyncio.to_thread(self._ctx.directory.absolute)
        return fit([_entry(row, str(directory / row.name)) for row in rows])

    def _forget(self, published: list[FileRow]) -> None:
        for row in published:
            self._folder.remove(record_name(row.name))


def _entry(row: FileRow, path: str) -> dict[str, Any]:
    """Describe a file in the result."""
    is_there = row.state == "completed"
    entry: dict[str, Any] = {
        "url": row.url,
        "name": row.name,
        "path": path if is_there else None,
        "size_bytes": row.size_bytes,
        "digest": row.digest,
        "verified_by": row.verified_by,
        "resumed_bytes": row.resumed_bytes,
        "connections": 1,
        "seconds": row.seconds,
    }
    return entry if is_there else {**entry, "error": row.error}


def fit(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the result; entries that do not fit in what a result may hold are counted as `omitted`.

    LIMIT: very long urls can make a result too large; the rows of the files still tell everything.
    """
    room = RESULT_BYTES - 4 * KIB
    for count, entry in enumerate(entries):
        room -= len(encode_json(entry)) + 1
        if room < 0:
            return {"files": entries[:count], "omitted": len(entries) - count}
    return {"files": entries}
