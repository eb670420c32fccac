"""What the contract of the five dialects says of their answers: for each body its fields, no others, and their words.

Written from the contract alone: nothing of it is taken from the code under test.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

Instant = Annotated[datetime, Meta(tz=True)]
Text = Annotated[str, Meta(min_length=1)]
Whole = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1)]


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """A body with these fields and no others."""


class Refusal(Shape):
    error: Text


WorkmateWord = Literal["created, but waiting to start", "in process", "completed", "failed by io bound"]


class WorkmateCreated(Shape):
    id: UUID
    created_at: Instant
    duration: Literal[0]


class WorkmateStatus(Shape):
    status: WorkmateWord
    created_at: Instant
    duration: Whole


class WorkmateResult(Shape):
    result: Annotated[str, Meta(pattern=r"^io work result = [0-9]$")]


class WorkmateNoResult(Shape):
    problem: Literal["task running or failed, no result, check status"]


class WorkmateItem(Shape):
    id: UUID
    result: Annotated[str, Meta(pattern=r"^io work result = [0-9]$")] | None
    status: WorkmateWord
    created_at: Instant
    duration: Whole


class CheckResultCreated(Shape):
    task_id: UUID
    status: Literal["success"]


class CheckResultView(Shape):
    Task: Text
    CreatedAt: Instant
    Task_identification: UUID
    Result: str
    Status: Literal["in progress", "completed", "failed"]


TasktrackWord = Literal["pending", "running", "done", "failed"]


class TasktrackCreated(Shape):
    message: Literal["Task created successfully"]
    task_id: Number


class TasktrackChanged(Shape):
    message: Literal["Task updated successfully"]
    task_id: Number


class TasktrackItem(Shape):
    id: Number
    name: Text
    description: str
    status: TasktrackWord


class TasktrackView(Shape):
    id: Number
    name: Text
    description: str
    status: TasktrackWord
    created_at: Instant
    duration: Annotated[str, Meta(pattern=r"^(\d+h)?(\d+m)?\d+(\.\d+)?(s|ms|µs)$")]


class EnqueueAccepted(Shape):
    status: Literal["queued"]


class Problem(msgspec.Struct):
    """What the native API, which `enqueue` refers to, says instead."""

    status: int


class TasksOfKey(Shape):
    tasks: list[dict[str, Any]]
    next_cursor: None


class DownloadsAccepted(Shape):
    task_id: UUID
    status: Literal["pending"]


class DownloadsFile(Shape):
    url: Text
    status: Literal["pending", "in-progress", "completed", "error"]
    error: Text | UnsetType = UNSET


class DownloadsView(Shape):
    id: UUID
    status: Literal["pending", "in-progress", "completed", "completed_with_errors", "error"]
    completed: Whole
    total: Whole
    files: list[DownloadsFile]
    created_at: Instant
    updated_at: Instant
