"""The server's counters over HTTP. Adds up what the engine says, and counts nothing itself."""

from __future__ import annotations

from windlass.contracts.engine_api import Stats
from windlass.http.call import Call
from windlass.http.reply import Reply, json_reply
from windlass.wire.v1_many import QueueStats, RatesView, StateCounts, StatsView, StoreView


async def stats(call: Call) -> Reply:
    """Say how many tasks there are, where, and what has happened lately."""
    return json_reply(200, _view(await call.engine.stats()))


def _view(stats: Stats) -> StatsView:
    all_tasks = StateCounts()
    size_bytes = 0
    queues: dict[str, QueueStats] = {}
    for count in stats.counts:
        queue = queues.setdefault(count.queue, QueueStats(name=count.queue, tasks=StateCounts(), size_bytes=0))
        for counts in (all_tasks, queue.tasks):
            setattr(counts, count.state, getattr(counts, count.state) + count.tasks)
        queue.size_bytes += count.size_bytes
        size_bytes += count.size_bytes
    return StatsView(
        version=stats.version,
        uptime_s=stats.uptime_s,
        tasks=all_tasks,
        size_bytes=size_bytes,
        queues=[queues[name] for name in sorted(queues)],
        rates=[
            RatesView(
                window_s=rates.window_s,
                submitted=rates.submitted,
                started=rates.started,
                succeeded=rates.succeeded,
                failed=rates.failed,
                cancelled=rates.cancelled,
            )
            for rates in stats.rates
        ],
        store=StoreView(
            kind=stats.store.kind,
            size_bytes=stats.store.size_bytes,
            log_bytes=stats.store.log_bytes,
            has_room=stats.store.has_room,
        ),
    )
