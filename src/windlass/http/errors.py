"""Exceptions into answers: a problem document and the headers that belong to its status."""

from __future__ import annotations

from typing import Any

from windlass.core.task import Task
from windlass.errors import WindlassError
from windlass.http.call import Services
from windlass.http.reply import Headers, Reply
from windlass.wire.codec import encode_view
from windlass.wire.problems import MEDIA_TYPE, problem_of, retry_after_s
from windlass.wire.v1 import view_task


def answer_error(error: Exception, services: Services, *, request_id: str, is_submit: bool) -> Reply:
    """Answer with the problem that `error` is."""
    details: Any = error.details if isinstance(error, WindlassError) else {}
    task = details.get("task")
    view = None
    if isinstance(task, Task):
        view = view_task(task, now=services.clock.now(), waiting=services.engine.waiting(task))
    problem = problem_of(
        error, request_id=request_id, is_submit=is_submit, task=view, reason=str(details.get("reason") or "")
    )
    headers: Headers = [(b"content-type", MEDIA_TYPE.encode())]
    if (seconds := retry_after_s(error)) is not None:
        headers.append((b"retry-after", b"%d" % seconds))
    if problem.code == "method_not_allowed":
        headers.append((b"allow", details["allow"].encode()))
    if problem.code == "range_not_satisfiable":
        headers.append((b"content-range", b"bytes */%d" % details["size_bytes"]))
    return Reply(problem.status, encode_view(problem), headers)
