"""What can be done to tasks that are there, blocking: one by one, or to all that match a filter."""

from __future__ import annotations

from msgspec.structs import replace

from windlass.client import exchange
from windlass.client.calls import Calls
from windlass.client.exchange import TaskRef
from windlass.wire.v1 import CancelRequest, EditRequest, TaskView
from windlass.wire.v1_many import BulkRequest, BulkView


class Operations(Calls):
    """Operations on the tasks of one server."""

    def cancel(self, ref: TaskRef, /, *, reason: str | None = None, grace_s: float | None = None) -> TaskView:
        """Cancel a queued task, or have a running one stopped: it is then still `running` until it is gone.

        `grace_s` is what a running handler gets to clean up. Cancelling again changes nothing.

        Raises:
            ConflictError: it has ended otherwise.
        """
        return self._call(exchange.cancel_task(ref, CancelRequest(reason=reason, grace_s=grace_s)))

    def retry(self, ref: TaskRef, /) -> TaskView:
        """Queue an ended task again.

        Raises:
            ConflictError: it has not ended.
        """
        return self._call(exchange.act_on_task(ref, "retry"))

    def hold(self, ref: TaskRef, /) -> TaskView:
        """Keep a queued task from starting.

        Raises:
            ConflictError: it is not queued.
        """
        return self._call(exchange.act_on_task(ref, "hold"))

    def release(self, ref: TaskRef, /) -> TaskView:
        """Let a held task start.

        Raises:
            ConflictError: it is not held.
        """
        return self._call(exchange.act_on_task(ref, "release"))

    def edit(self, ref: TaskRef, request: EditRequest, /) -> TaskView:
        """Change a task: its labels at any time; its priority, time or queue while it is queued.

        client.edit(17, EditRequest(priority=50, name=None))

        Raises:
            ConflictError: it is not queued any more.
        """
        return self._call(exchange.edit_task(ref, request))

    def delete(self, ref: TaskRef, /) -> None:
        """Remove an ended task and its files. From then on it is `NotFoundError`, with the code `task_deleted`.

        Raises:
            ConflictError: it has not ended.
        """
        self._call(exchange.delete_task(ref))

    def bulk(self, request: BulkRequest, /) -> BulkView:
        """Cancel, retry or delete all tasks that match a filter, and count them; with `dry_run` only count them.

        client.bulk(BulkRequest(action="cancel", filter=TaskFilter(kind="build_report", state="queued")))

        Goes on until nothing is left, or until as many as the request's `limit`, where that is set; each task is
        changed by itself: what is done stays done whatever happens to the rest.
        """
        asked = request.limit
        done = self._call(exchange.bulk(request))
        while done.next_cursor is not None and (asked is None or done.matched < asked):
            left = None if asked is None else asked - done.matched
            more = self._call(exchange.bulk(replace(request, cursor=done.next_cursor, limit=left)))
            done = replace(
                more,
                matched=done.matched + more.matched,
                changed=done.changed + more.changed,
                unchanged=done.unchanged + more.unchanged,
                refused=done.refused + more.refused,
            )
        return done
