"""One thing done to many tasks: finds them page by page, and has each changed by a write of its own.

Decides nothing: whether the action applies to a task is the store's to say, as for a single one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from windlass.contracts.clock import Clock
from windlass.contracts.engine_api import BulkOrder, BulkOutcome
from windlass.contracts.tasks import Applied, Delete, Refusal, RequestCancel, Retry, Tasks
from windlass.core.bulk import BulkAction
from windlass.core.limits import BULK_S, BULK_SLICE, PAGE_MAX
from windlass.core.query import Order
from windlass.core.task import Task
from windlass.engine.remains import Remains
from windlass.engine.settler import Settler
from windlass.errors import StoreFull


class Bulk:
    """Works through the tasks of an order, rising by number, so that each is met once.

    Concurrency: of one event loop; orders go side by side. Cancel-safe: what has been begun is done.
    """

    def __init__(self, tasks: Tasks, settler: Settler, clock: Clock, remains: Remains) -> None:
        self._tasks = tasks
        self._settler = settler
        self._clock = clock
        self._remains = remains

    async def run(self, order: BulkOrder) -> BulkOutcome:
        """Do it, up to the order's limit and for `BULK_S` at most.

        Raises:
            WindlassError: a write could not be taken; those before it are done.
        """
        give_up_s = self._clock.monotonic() + BULK_S
        outcome = BulkOutcome(matched=0, changed=0, unchanged=0, refused=0, after=order.after)
        while True:
            found, after = await self._find(order, outcome.after, limit=order.limit - outcome.matched)
            outcome = replace(outcome, matched=outcome.matched + len(found), after=after)
            if not order.dry_run:
                for start in range(0, len(found), BULK_SLICE):
                    outcome = await self._change(order, found[start : start + BULK_SLICE], outcome)
            if after is None or outcome.matched == order.limit or self._clock.monotonic() >= give_up_s:
                return outcome

    async def _find(self, order: BulkOrder, after: int | None, *, limit: int) -> tuple[list[Task], int | None]:
        """Find the next tasks behind the number `after`, and the number to go on after.

        A page is read for each state, and only as far as the shortest of them reaches: so the walk goes by number,
        and a task that is changed and ends anew meanwhile is not met again.
        """
        states = tuple(order.action.states) if order.query.state is None else (order.query.state,)
        if len(states) > 1:
            # RACE: a task that goes back to the first state while the others are read is met there the second time.
            states = (*states, states[0])
        query = replace(order.query, order=Order.OLDEST, limit=min(limit, PAGE_MAX), after=after)
        pages = [await self._tasks.page(replace(query, state=state)) for state in states]
        reach = min((page.after for page in pages if page.after is not None), default=None)
        # RACE: a task that moves on between two reads is in both pages, and counts once.
        by_number = {task.number: task for page in pages for task in page.tasks}
        found = [by_number[number] for number in sorted(by_number) if reach is None or number <= reach]
        if len(found) > limit:
            found = found[:limit]
            reach = found[-1].number
        return found, reach

    async def _change(self, order: BulkOrder, tasks: Sequence[Task], outcome: BulkOutcome) -> BulkOutcome:
        """Have one slice changed, all in one turn as a rule, and count what became of it."""
        results = await asyncio.gather(*(self._settler.write(self._write(order, task)) for task in tasks))
        if order.action is BulkAction.DELETE:
            deleted = [result.task for result in results if isinstance(result, Applied) and result.task is not None]
            await self._remains.remove([(task.number, task.id) for task in deleted])
        changed = sum(isinstance(result, Applied) and result.created for result in results)
        unchanged = sum(isinstance(result, Applied) and not result.created for result in results)
        if any(not isinstance(result, Applied) and result.why is Refusal.FULL for result in results):
            raise StoreFull("the store has no space left for this")
        return replace(
            outcome,
            changed=outcome.changed + changed,
            unchanged=outcome.unchanged + unchanged,
            refused=outcome.refused + len(results) - changed - unchanged,
        )

    def _write(self, order: BulkOrder, task: Task) -> RequestCancel | Retry | Delete:
        now = self._clock.now()
        match order.action:
            case BulkAction.CANCEL:
                return RequestCancel(task.number, now, order.reason, order.grace_s)
            case BulkAction.RETRY:
                return Retry(task.number, now)
            case BulkAction.DELETE:
                return Delete(task.number, now)
