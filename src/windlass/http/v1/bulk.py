"""One thing done to many tasks over HTTP. Parses, asks the engine, renders."""

from __future__ import annotations

from windlass.contracts.engine_api import BulkOrder
from windlass.core.bulk import BulkAction
from windlass.core.limits import BULK_TASKS
from windlass.core.query import Order, decode_cursor, encode_cursor
from windlass.errors import InputError
from windlass.http.call import Call
from windlass.http.inputs import read_struct
from windlass.http.reply import Reply, json_reply
from windlass.http.v1.lists import query_of
from windlass.http.v1.submission import check_reason
from windlass.wire.v1_many import BulkRequest, BulkView, TaskFilter


async def bulk(call: Call) -> Reply:
    """Cancel, retry or delete the tasks that match a filter, or count them."""
    request = read_struct(await call.json(), BulkRequest)
    _check(request)
    done = await call.engine.bulk(
        BulkOrder(
            action=request.action,
            query=query_of(request.filter, below="/filter"),
            limit=request.limit or BULK_TASKS,
            after=None if request.cursor is None else decode_cursor(request.cursor, Order.OLDEST).after,
            dry_run=request.dry_run,
            reason=request.reason,
            grace_s=request.grace_s,
        )
    )
    view = BulkView(
        action=request.action,
        dry_run=request.dry_run,
        matched=done.matched,
        changed=done.changed,
        unchanged=done.unchanged,
        refused=done.refused,
        next_cursor=None if done.after is None else encode_cursor(Order.OLDEST, done.after),
    )
    return json_reply(200, view)


def _check(request: BulkRequest) -> None:
    """Check what the shape does not say.

    Raises:
        InputError: names the field.
    """
    check_reason(request.reason)
    is_empty = request.filter == TaskFilter()
    if is_empty and not request.all:
        raise InputError(
            'an empty filter means all tasks there are: say so with "all": true', code="missing_field", pointer="/all"
        )
    if request.all and not is_empty:
        raise InputError('give a filter or "all": true, not both', code="exclusive_fields", pointer="/all")
    if request.action is not BulkAction.CANCEL:
        for name in ("reason", "grace_s"):
            if getattr(request, name) is not None:
                raise InputError(f"{name} belongs to cancel", code="exclusive_fields", pointer=f"/{name}")
