"""Downloads as their dialect shows them: a status for each file, and one for all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from dialect_cases import CREATED, ERROR, ID, STARTED, task_in

from windlass.core.state import State
from windlass.core.task import FileRow, Progress, Task
from windlass.errors import InputError
from windlass.http.dialects.downloads import trim, view
from windlass.wire.codec import encode_json, encode_view

URLS = ["http://h/a", "http://h/b", "http://h/a"]
PAYLOAD = encode_json({"files": URLS})


def rows(*states: str, url: str | None = "http://h/masked") -> list[FileRow]:
    """Give the rows of the first files, in another order than theirs."""
    found = [
        FileRow(
            index=index, name=f"f{index}", state=state, url=url, error="HTTP 404 from h" if state == "failed" else None
        )
        for index, state in enumerate(states)
    ]
    return found[::-1]


def statuses(task: Task, found: list[FileRow], payload: bytes = PAYLOAD) -> tuple[str, list[str]]:
    shown = view(task, payload, found)
    assert [file.url for file in shown.files] == msgspec.json.decode(payload)["files"]
    assert shown.total == len(shown.files)
    assert shown.completed == sum(file.status == "completed" for file in shown.files)
    for file in shown.files:
        assert (file.error is not msgspec.UNSET) == (file.status == "error")
    return shown.status, [file.status for file in shown.files]


P, G, C, E = "pending", "in-progress", "completed", "error"
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = State


@pytest.mark.parametrize(
    ("task", "states", "whole", "each"),
    [
        (task_in(QUEUED), [], P, [P, P, P]),
        (task_in(RUNNING), [], G, [P, P, P]),
        (task_in(RUNNING), ["running", "pending"], G, [G, P, P]),
        (task_in(RUNNING), ["completed", "failed", "running"], G, [C, E, G]),
        (task_in(RUNNING), ["failed", "failed", "failed"], G, [E, E, E]),
        # It waits for another attempt: it has begun, and nothing is being fetched.
        (task_in(QUEUED, attempt=1), ["completed", "running", "pending"], G, [C, P, P]),
        (task_in(SUCCEEDED), ["completed", "completed", "completed"], C, [C, C, C]),
        (task_in(SUCCEEDED), ["completed", "failed", "completed"], "completed_with_errors", [C, E, C]),
        (task_in(FAILED, error=ERROR), ["failed", "failed", "failed"], E, [E, E, E]),
        (task_in(FAILED, error=ERROR), [], E, [E, E, E]),
        (task_in(FAILED, error=ERROR), ["completed", "running"], "completed_with_errors", [C, E, E]),
        (task_in(CANCELLED), [], E, [E, E, E]),
        (task_in(CANCELLED), ["completed", "running", "pending"], E, [C, E, E]),
        (task_in(CANCELLED), ["completed", "completed", "completed"], E, [C, C, C]),
    ],
)
def test_how_each_file_and_the_whole_stand(task: Task, states: list[str], whole: str, each: list[str]):
    assert statuses(task, rows(*states)) == (whole, each)


@pytest.mark.parametrize("task", [task_in(SUCCEEDED), task_in(FAILED, error=ERROR), task_in(CANCELLED)])
@pytest.mark.parametrize("states", [[], ["pending"], ["running", "failed"], ["completed", "pending", "running"]])
def test_once_the_task_has_ended_nothing_is_on_its_way(task: Task, states: list[str]):
    whole, each = statuses(task, rows(*states))
    assert not {P, G} & {whole, *each}


def test_of_a_kind_without_rows_the_files_stand_as_the_task_does():
    left_behind = rows("completed", url=None)  # files that a handler has left in its directory
    assert statuses(task_in(SUCCEEDED, kind="mine"), left_behind) == (C, [C, C, C])
    assert statuses(task_in(RUNNING, kind="mine"), left_behind) == (G, [P, P, P])


def test_a_failed_file_says_why_and_one_that_was_never_tried_says_why_the_task_ended():
    shown = view(task_in(FAILED, error=ERROR), PAYLOAD, rows("failed"))
    assert [file.error for file in shown.files] == ["HTTP 404 from h", "the upstream is away", "the upstream is away"]
    shown = view(task_in(CANCELLED, cancel_reason="enough"), PAYLOAD, rows("failed"))
    assert shown.files[1].error == "enough"


def test_the_view_has_the_fields_of_the_contract_and_no_others():
    shown: dict[str, Any] = msgspec.json.decode(
        encode_view(view(task_in(RUNNING), PAYLOAD, rows("completed", "failed")))
    )
    assert list(shown) == ["id", "status", "completed", "total", "files", "created_at", "updated_at"]
    assert (shown["id"], shown["completed"], shown["total"]) == (ID, 1, 3)
    assert [list(file) for file in shown["files"]] == [["url", "status"], ["url", "status", "error"], ["url", "status"]]
    assert shown["created_at"] == "2026-11-20T15:00:00Z"


def test_it_was_updated_when_something_of_it_changed_last():
    def updated(task: Task) -> object:
        return view(task, PAYLOAD, []).updated_at

    later = STARTED + timedelta(seconds=7)
    assert updated(task_in(QUEUED)) == CREATED
    assert updated(task_in(RUNNING)) == STARTED
    assert updated(task_in(RUNNING, progress=Progress(done=1, at=later))) == later
    assert updated(task_in(RUNNING, cancel_requested_at=later)) == later
    assert updated(task_in(SUCCEEDED)) == STARTED + timedelta(seconds=60.25)


def test_passwords_in_urls_are_not_shown():
    payload = encode_json({"files": ["http://user:secret@h/a"]})
    assert view(task_in(QUEUED), payload, []).files[0].url == "http://***@h/a"


def test_urls_are_trimmed_and_blank_ones_dropped_in_their_order():
    assert trim([" http://h/b\n", "", "  ", "http://h/a", "\t"]) == ["http://h/b", "http://h/a"]
    for none in ([], [""], [" ", "\n"]):
        with pytest.raises(InputError, match="at least one url"):
            trim(none)
