"""Every SQL statement that reads tasks and what belongs to them, but for pages, each with a line on what it does.

Nothing here is put together at run time: a statement is a constant, and its values are bound.
"""

from __future__ import annotations

from typing import Final

from windlass.store.postgres.rows import ENDED_COLUMNS, EVENT_COLUMNS, FILE_COLUMNS, HOT_COLUMNS

# ── tasks ──────────────────────────────────────────────────────────

_BY_NUMBER: Final = f"""
SELECT {HOT_COLUMNS} FROM windlass.tasks AS t
JOIN windlass.specs AS s ON s.number = t.number JOIN windlass.lanes AS l ON l.lane = t.lane WHERE t.number = {{0}}
UNION ALL
SELECT {ENDED_COLUMNS} FROM windlass.ended AS e
JOIN windlass.specs AS s ON s.number = e.number JOIN windlass.lanes AS l ON l.lane = e.lane WHERE e.number = {{0}}
LIMIT 1"""  # noqa: S608 of constants alone, once
# Read a task by its number. The ended ones are asked only when it is not among the others.
TASK_BY_NUMBER: Final = _BY_NUMBER.format("$1")
# Read a task by its id.
TASK_BY_ID: Final = _BY_NUMBER.format("(SELECT number FROM windlass.specs WHERE id = $1)")
# Read a task by its origin and its number there.
TASK_OF_ORIGIN: Final = _BY_NUMBER.format(
    "(SELECT number FROM windlass.specs WHERE origin = $1 AND origin_number = $2)"
)
_THESE: Final = f"""
SELECT {HOT_COLUMNS} FROM ({{0}}) AS t
CROSS JOIN LATERAL (SELECT * FROM windlass.specs WHERE number = t.number LIMIT 1) AS s
JOIN windlass.lanes AS l ON l.lane = t.lane
ORDER BY t.number"""  # noqa: S608 of constants alone, once
# Read running tasks, rising from above a number.
RUNNING: Final = _THESE.format(
    "SELECT * FROM windlass.tasks WHERE state = 'running' AND number > $1 ORDER BY number LIMIT $2"
)
# Read running tasks whose lease has ended, rising from above a number.
ORPHANS: Final = _THESE.format("""
    SELECT * FROM windlass.tasks WHERE state = 'running' AND number > $1
        AND NOT EXISTS (SELECT FROM windlass.servers WHERE id = server AND ended_at IS NULL)
    ORDER BY number LIMIT $2""")
# Read the running tasks of a server, or of none, rising from above a number.
LEASED: Final = _THESE.format("""
    SELECT * FROM windlass.tasks WHERE state = 'running' AND number > $1 AND server IS NOT DISTINCT FROM $3
    ORDER BY number LIMIT $2""")
# Read the running tasks of a server, or of none, that are to be cancelled.
CANCELLING: Final = _THESE.format("""
    SELECT * FROM windlass.tasks WHERE state = 'running' AND cancel_requested_at IS NOT NULL AND server = $1
    UNION ALL
    SELECT * FROM windlass.tasks WHERE state = 'running' AND cancel_requested_at IS NOT NULL
        AND server IS NULL AND $1::uuid IS NULL""")
# Read the versions of tasks.
VERSIONS: Final = """
SELECT number, version FROM windlass.tasks WHERE number = ANY ($1::bigint[])
UNION ALL
SELECT number, version FROM windlass.ended WHERE number = ANY ($1::bigint[])"""
# Read a payload.
PAYLOAD: Final = "SELECT payload FROM windlass.specs WHERE number = $1"
# Read a result.
RESULT: Final = "SELECT result FROM windlass.ended WHERE number = $1 LIMIT 1"
# Read the files of a task.
FILES: Final = f"SELECT {FILE_COLUMNS} FROM windlass.files WHERE number = $1 ORDER BY idx"  # noqa: S608 of constants alone, once
# Read a tombstone by the number of its task.
TOMBSTONE_BY_NUMBER: Final = "SELECT number, id, deleted_at, swept FROM windlass.tombstones WHERE number = $1"
# Read a tombstone by the id of its task; the last one, should an id have come twice.
TOMBSTONE_BY_ID: Final = """
SELECT number, id, deleted_at, swept FROM windlass.tombstones WHERE id = $1 ORDER BY number DESC LIMIT 1"""
# Read tombstones of tasks whose files may still be there, rising.
UNSWEPT: Final = """
SELECT number, id, deleted_at, swept FROM windlass.tombstones WHERE NOT swept ORDER BY number LIMIT $1"""

# ── sums ───────────────────────────────────────────────────────────

# Read all sums that count something.
COUNTS: Final = """
SELECT l.queue, l.kind, c.state, sum(c.tasks)::bigint, sum(c.size_bytes)::bigint
FROM windlass.counts AS c JOIN windlass.lanes AS l ON l.lane = c.lane
GROUP BY l.queue, l.kind, c.state HAVING sum(c.tasks) <> 0
ORDER BY l.queue, l.kind, c.state"""
# Read how many tasks of each queue are in each state, and since when the oldest ready one is due: one step of the index
# for each lane that has any queued.
COUNTS_OF_QUEUES: Final = """
WITH counted AS MATERIALIZED (
    SELECT lane, state, sum(tasks)::bigint AS tasks FROM windlass.counts
    GROUP BY lane, state HAVING sum(tasks) <> 0)
SELECT l.queue, c.state, sum(c.tasks)::bigint, min(CASE WHEN c.state = 'queued' THEN (
    SELECT run_at FROM windlass.tasks AS t WHERE t.ready AND t.lane = c.lane ORDER BY run_at, number LIMIT 1) END)
FROM counted AS c JOIN windlass.lanes AS l ON l.lane = c.lane
GROUP BY l.queue, c.state"""
# Read what is kept of queues.
QUEUES: Final = """
SELECT name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at, pause_reason
FROM windlass.queues ORDER BY name"""

# ── events ─────────────────────────────────────────────────────────

# Read the events of a task.
HISTORY: Final = f"""
SELECT {EVENT_COLUMNS}
FROM windlass.events AS v CROSS JOIN LATERAL (SELECT id, kind FROM windlass.specs WHERE number = v.number LIMIT 1) AS s
WHERE v.number = $1 AND v.ordinal > $2
ORDER BY v.ordinal LIMIT $3"""  # noqa: S608 of constants alone, once
# Read the events of all tasks, up to a seq.
LOG: Final = f"""
SELECT {EVENT_COLUMNS}
FROM windlass.events AS v CROSS JOIN LATERAL (SELECT id, kind FROM windlass.specs WHERE number = v.number LIMIT 1) AS s
WHERE v.seq > $1 AND v.seq <= $2
ORDER BY v.seq LIMIT $3"""  # noqa: S608 of constants alone, once
# Read the last seq that was given out, be it committed or not.
LAST_SEQ: Final = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM windlass.seqs"
# Name the transactions that have taken a seq and still hold the lock that comes with it.
HOLDERS: Final = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND relation = 'windlass.seqs'::regclass AND mode = 'RowExclusiveLock' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

# ── the whole ──────────────────────────────────────────────────────

# Have no day of ended tasks dropped that a transaction may still see tasks of; whoever would drop it does so later.
# Takes no snapshot.
KEEP_DAYS: Final = "LOCK TABLE windlass.ended IN ACCESS SHARE MODE"
# See the moment that a transaction sees from now on.
MOMENT: Final = "SELECT pg_current_snapshot()::text"
# Say how large the database is, what serves it, and when the task ended that is kept for longest.
FACTS: Final = """
SELECT pg_database_size(current_database()), current_setting('server_version'), (
    SELECT min(first) FROM unnest(ARRAY['succeeded', 'failed', 'cancelled']) AS ends (state)
    CROSS JOIN LATERAL (
        SELECT finished_at AS first FROM windlass.ended AS e WHERE e.state = ends.state ORDER BY finished_at LIMIT 1
    ) AS one)"""
