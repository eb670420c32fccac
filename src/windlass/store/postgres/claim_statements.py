"""Every SQL statement of a claim, each under a name and with a line that says what it does.

Nothing here is put together at run time: a statement is a constant, and its values are bound.
"""

from __future__ import annotations

from typing import Final

from windlass.store.postgres.rows import FILE_COLUMNS

# Say when the earliest task is due that only waits for its time, behind a floor.
NEXT_DUE: Final = """
SELECT run_at FROM windlass.tasks
WHERE state = 'queued' AND NOT ready AND NOT held AND (run_at, number) > ($1, $2)
ORDER BY run_at, number LIMIT 1"""
# Where tasks are found by their numbers, whether they are ready comes as a value: spelled out, it would let the planner
# walk the index of all that are, which it does where it believes that there are none.
# Make ready what is due, the earliest first, behind a floor; what another server is about to make ready is left to it.
PROMOTE: Final = """
WITH due AS MATERIALIZED (
    SELECT number FROM windlass.tasks
    WHERE state = 'queued' AND NOT ready AND NOT held AND run_at <= $3 AND (run_at, number) > ($1, $2)
    ORDER BY run_at, number LIMIT $4 FOR UPDATE SKIP LOCKED)
UPDATE windlass.tasks AS t SET ready = true
FROM due
WHERE t.number = due.number AND t.state = 'queued' AND t.ready = $5 AND NOT t.held
RETURNING t.lane, t.run_at, t.number"""
# Name the first lanes above one, up to another, that have ready tasks, rising: one step of the index for each.
READY_LANES: Final = """
WITH RECURSIVE found (lane) AS (
    SELECT $1::integer
    UNION ALL
    SELECT next.lane FROM found CROSS JOIN LATERAL (
        SELECT t.lane FROM windlass.tasks AS t
        WHERE t.ready AND t.lane > found.lane AND t.lane <= $2
        ORDER BY t.lane LIMIT 1) AS next)
SELECT lane FROM found OFFSET 1 LIMIT $3"""
# Name of queues with a limit those that have work behind the floors of their lanes and, by what is counted, room for
# so many more.
ROOMY_QUEUES: Final = """
SELECT DISTINCT asked.queue
FROM unnest($1::text[], $2::bigint[], $3::integer[], $4::timestamptz[], $5::bigint[])
    AS asked (queue, running_below, lane, after_at, after_number)
WHERE EXISTS (
        SELECT FROM windlass.tasks AS t
        WHERE t.ready AND t.lane = asked.lane AND (t.run_at, t.number) > (asked.after_at, asked.after_number)
        LIMIT 1)
    AND asked.running_below > (
        SELECT coalesce(sum(c.tasks), 0) FROM windlass.lanes AS l JOIN windlass.counts AS c ON c.lane = l.lane
        WHERE l.queue = asked.queue AND c.state = 'running')"""
# Lock the first ready tasks of lanes behind their floors, so many of each; what another turn has locked is left to it.
READY_TASKS: Final = """
SELECT asked.place, first.run_at, first.number
FROM unnest($1::integer[], $2::integer[], $3::bigint[], $4::timestamptz[], $5::bigint[])
    AS asked (place, lane, share, after_at, after_number)
CROSS JOIN LATERAL (
    SELECT t.run_at, t.number FROM windlass.tasks AS t
    WHERE t.ready AND t.lane = asked.lane AND (t.run_at, t.number) > (asked.after_at, asked.after_number)
    ORDER BY t.run_at, t.number LIMIT asked.share FOR UPDATE SKIP LOCKED) AS first"""
# Start locked tasks; gives what is not known of each of them.
START: Final = """
UPDATE windlass.tasks AS t
SET state = 'running', ready = false, reason = NULL, progress = NULL, token = one.token, server = $3,
    attempt = t.attempt + 1, charged = t.charged + 1, started_at = $4, ordinal = t.ordinal + 1, version = t.version + 1
FROM unnest($1::bigint[], $2::uuid[]) AS one (number, token)
JOIN windlass.specs AS s ON s.number = one.number
WHERE t.number = one.number AND t.state = 'queued' AND t.ready = $5
RETURNING t.number, s.id, t.attempt, t.charged, t.ordinal, t.version, t.grace_s, t.size_bytes,
    s.created_at, s.max_attempts, s.retry, s.recovery, s.timeout_s, s.payload,
    t.lost, t.interrupted, t.run_s, s.key, s.origin, s.fingerprint, s.name, s.description, s.tags, s.origin_number,
    t.hidden, t.error"""
# Read the checkpoints of tasks.
CHECKPOINTS: Final = "SELECT number, checkpoint FROM windlass.checkpoints WHERE number = ANY($1::bigint[])"
# Read the files of tasks.
FILES: Final = f"""
SELECT number, {FILE_COLUMNS} FROM windlass.files WHERE number = ANY($1::bigint[]) ORDER BY number, idx"""  # noqa: S608 of constants alone, once
