"""The dialect `downloads`: lists of urls to download, at `/tasks`.

Translates alone: the files are the built-in kind's, or those of the kind that the settings name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from windlass.core.access import AccessScope
from windlass.core.state import State
from windlass.core.task import FileRow, Task
from windlass.errors import InputError, NotFoundError
from windlass.http.call import Call
from windlass.http.dialects.dialect import Dialect, find_own, parse_uuid, read_body, submission_of, why_ended
from windlass.http.reply import Reply, json_reply
from windlass.http.route import Response, Route
from windlass.wire.codec import decode_json
from windlass.wire.secrets import mask_payload

NAME: Final = "downloads"

FileStatus = Literal["pending", "in-progress", "completed", "error"]
TaskStatus = Literal["pending", "in-progress", "completed", "completed_with_errors", "error"]


class DownloadsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The urls of one task, each trimmed; blank ones are dropped."""

    urls: list[str]


class DownloadsAccepted(msgspec.Struct, frozen=True, kw_only=True):
    """A task that was taken."""

    task_id: str
    status: Literal["pending"] = "pending"


class DownloadsFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file; `error` stands only on one that has failed."""

    url: str
    status: FileStatus
    error: str | UnsetType = UNSET


class DownloadsView(msgspec.Struct, frozen=True, kw_only=True):
    """A task; `files` keeps the order of the urls, `completed` counts those that are there."""

    id: str
    status: TaskStatus
    completed: int
    total: int
    files: list[DownloadsFile]
    created_at: datetime
    updated_at: datetime


async def create(call: Call) -> Reply:
    """Take a list of urls."""
    urls = trim((await read_body(call, DownloadsRequest)).urls)
    settings = call.services.dialects.downloads
    submission = submission_of(NAME, settings, {"files": urls}, max_attempts=settings.max_attempts)
    done = await call.engine.submit(submission)
    return json_reply(202, DownloadsAccepted(task_id=done.task.id))


async def show(call: Call) -> Reply:
    """Say how a task stands, file by file."""
    ref = parse_uuid(call.parameter("id"))
    if ref is None:
        raise NotFoundError("task not found")
    task = await find_own(call, ref, origin=NAME)
    payload = await call.engine.payload(task)
    return json_reply(200, view(task, payload, await call.engine.files(task)))


def trim(urls: Sequence[str]) -> list[str]:
    """Trim urls and drop blank ones.

    Raises:
        InputError: none is left.
    """
    trimmed = [url for text in urls if (url := text.strip())]
    if not trimmed:
        raise InputError("give at least one url", pointer="/urls")
    return trimmed


def view(task: Task, payload: bytes, rows: Sequence[FileRow]) -> DownloadsView:
    """Show a task; of a kind that keeps no rows of its files, these stand as the task does."""
    by_index = {row.index: row for row in rows if row.url is not None}
    files = [_view_file(task, url, by_index.get(index)) for index, url in enumerate(_urls(payload))]
    return DownloadsView(
        id=task.id,
        status=status_of(task, files),
        completed=sum(file.status == "completed" for file in files),
        total=len(files),
        files=files,
        created_at=task.created_at,
        updated_at=max(_changes(task)),
    )


def status_of(task: Task, files: Sequence[DownloadsFile]) -> TaskStatus:
    """Say how the whole stands; a task that waits for another attempt has begun all the same."""
    if not task.state.has_ended:
        return "in-progress" if task.attempt else "pending"
    if task.state is State.CANCELLED:
        return "error"
    failed = sum(file.status == "error" for file in files)
    if failed == 0:
        return "completed"
    return "error" if failed == len(files) else "completed_with_errors"


def _urls(payload: bytes) -> Sequence[str]:
    said: Mapping[str, Any] = decode_json(mask_payload("download", payload))
    return said["files"]


def _view_file(task: Task, url: str, row: FileRow | None) -> DownloadsFile:
    state = "pending" if row is None else row.state
    if state == "completed":
        return DownloadsFile(url=url, status="completed")
    if state == "failed" and row is not None:
        return DownloadsFile(url=url, status="error", error=row.error or "failed")
    match task.state:
        case State.RUNNING if state == "running":
            return DownloadsFile(url=url, status="in-progress")
        case State.QUEUED | State.RUNNING:
            return DownloadsFile(url=url, status="pending")
        case State.SUCCEEDED:
            return DownloadsFile(url=url, status="completed")
        case State.FAILED | State.CANCELLED:
            return DownloadsFile(url=url, status="error", error=why_ended(task))


def _changes(task: Task) -> Iterator[datetime]:
    """Give the instants at which it is known to have changed."""
    reported_at = None if task.progress is None else task.progress.at
    for at in (task.created_at, task.started_at, reported_at, task.cancel_requested_at, task.finished_at):
        if at is not None:
            yield at


DIALECT: Final = Dialect(
    NAME,
    (
        Route(
            method="POST",
            path="/tasks",
            scope=AccessScope.SUBMIT,
            summary="Download the files at these urls",
            handler=create,
            request=DownloadsRequest,
            query=None,
            responses={202: Response("Taken", DownloadsAccepted)},
            problems=(503, 507),
            examples={"two": {"urls": ["https://example.org/a.iso", "https://example.org/b.iso"]}},
            dialect=NAME,
        ),
        Route(
            method="GET",
            path="/tasks/{id}",
            scope=AccessScope.READ,
            summary="Say how a task stands, file by file",
            handler=show,
            query=None,
            responses={200: Response("The task", DownloadsView)},
            dialect=NAME,
        ),
    ),
)
