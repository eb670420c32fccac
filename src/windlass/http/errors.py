"""Exceptions into answers: a problem document and the headers that belong to its status."""

from __future__ import annotations

from typing import Any

from windlass.core.task import Task
from windlass.errors import WindlassError
from windlass.http.call import Services
from windlass.http.reply import Headers, Reply
from windlass.wire.codec import encode_view
from windlass.wire.problems import MEDIA_TYPE, in_short, problem_of, retry_after_s
from windlass.wire.v1 import view_task


def answer_error(error: Exception, services: Services, *, request_id: str, is_submit: bool, is_dialect: bool) -> Reply:
    """Answer with the problem that `error` is; to a client of a dialect, with a sentence."""
    details: Any = error.details if isinstance(error, WindlassError) else {}
    if is_dialect:
        status, short = in_short(error, request_id=request_id)
        return Reply(status, encode_view(short), [(b"content-type", b"application/json"), *_headers(error, details)])
    task = details.get("task")
    view = None
    if isinstance(task, Task):
        view = view_task(task, now=services.clock.now(), waiting=services.engine.waiting(task))
    problem = problem_of(
        error, request_id=request_id, is_submit=is_submit, task=view, reason=str(details.get("reason") or "")
    )
    headers = [(b"content-type", MEDIA_TYPE.encode()), *_headers(error, details)]
    return Reply(problem.status, encode_view(problem), headers)


def _headers(error: Exception, details: Any) -> Headers:
    headers: Headers = []
    code = error.code if isinstance(error, WindlassError) else ""
    if (seconds := retry_after_s(error)) is not None:
        headers.append((b"retry-after", b"%d" % seconds))
    if code == "unauthenticated":
        headers.append((b"www-authenticate", b"Bearer"))
    if code == "method_not_allowed":
        headers.append((b"allow", details["allow"].encode()))
    if code == "range_not_satisfiable":
        headers.append((b"content-range", b"bytes */%d" % details["size_bytes"]))
    return headers
