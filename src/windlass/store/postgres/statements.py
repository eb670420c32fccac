"""Every SQL statement of a turn but those of its claim, each under a name and with a line that says what it does.

Nothing here is put together at run time: a statement is a constant, and its values are bound, most of them as arrays
with one element for each row.
"""

from __future__ import annotations

from typing import Final

from windlass.store.postgres.rows import ENDED_COLUMNS, FILE_COLUMNS, HOT_COLUMNS, SPEC_COLUMNS

# ── the turn ───────────────────────────────────────────────────────

# Have nobody change what is kept of queues while this turn goes by it.
GO_BY_QUEUES: Final = "LOCK TABLE windlass.queues IN ROW SHARE MODE;"
# Change what is kept of queues once no turn goes by what was kept before: no limit is passed even by one under way.
CHANGE_QUEUES: Final = "LOCK TABLE windlass.queues IN EXCLUSIVE MODE;"
# Begin: all that a turn reads it finds by a key, and so it shall be planned, however small the tables were when their
# statistics were taken. Then hold the lease, which cannot end before the turn does; no value where it has ended.
OPEN: Final = """
SELECT (SELECT true FROM windlass.servers WHERE id = $1 AND ended_at IS NULL FOR KEY SHARE) AS is_live,
    set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true),
    set_config('enable_memoize', 'off', true),
    set_config('jit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)"""
# Read the lanes above a number, rising, and what is kept of queues.
KNOWN: Final = """
SELECT lane, queue, kind, priority, solo, NULL::integer AS default_concurrency, NULL::integer AS default_capacity,
    NULL::integer AS set_concurrency, NULL::integer AS set_capacity, NULL::timestamptz AS paused_at,
    NULL::text AS pause_reason
FROM windlass.lanes WHERE lane > $1
UNION ALL
SELECT NULL, name, NULL, NULL, NULL, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at,
    pause_reason
FROM windlass.queues"""
# Append events, and what the turn has added to counters; gives the seqs, which rise as the events come.
APPEND: Final = """
WITH counted AS (
    INSERT INTO windlass.counts (lane, state, tasks, size_bytes)
    SELECT * FROM unnest($10::integer[], $11::text[], $12::bigint[], $13::bigint[]))
INSERT INTO windlass.events (number, ordinal, at, name, state, attempt, reason, token, data)
SELECT number, ordinal, at, name, state, attempt, reason, token, data
FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::text[], $5::text[], $6::integer[], $7::text[],
    $8::uuid[], $9::text[])
    WITH ORDINALITY AS one (number, ordinal, at, name, state, attempt, reason, token, data, place)
ORDER BY place
RETURNING seq"""

# ── lanes ──────────────────────────────────────────────────────────

# Be the only one to make lanes until the transaction ends, so that they are seen in the order of their numbers.
LOCK_LANES: Final = "LOCK TABLE windlass.lanes IN SHARE ROW EXCLUSIVE MODE"
# Read the lanes above a number.
LANES: Final = "SELECT lane, queue, kind, priority, solo FROM windlass.lanes WHERE lane > $1 ORDER BY lane"
# Make lanes.
INSERT_LANES: Final = """
INSERT INTO windlass.lanes (queue, kind, priority, solo)
SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::boolean[])
RETURNING lane, queue, kind, priority, solo"""
# Say in which lanes running tasks are.
LANES_OF: Final = "SELECT number, lane FROM windlass.tasks WHERE number = ANY($1::bigint[]) AND state = 'running'"

# ── submit ─────────────────────────────────────────────────────────

# Find the numbers of tasks by ids, and by keys, kinds and origins.
MET: Final = """
SELECT s.number FROM unnest($1::uuid[]) AS asked (id) JOIN windlass.specs AS s ON s.id = asked.id
UNION
SELECT s.number FROM unnest($2::text[], $3::text[], $4::text[]) AS asked (key, kind, origin)
JOIN windlass.specs AS s ON s.key = asked.key AND s.kind = asked.kind AND coalesce(s.origin, '') = asked.origin"""
# Read whole tasks.
WHOLE: Final = f"""
SELECT {HOT_COLUMNS}
FROM windlass.tasks AS t
JOIN windlass.specs AS s ON s.number = t.number JOIN windlass.lanes AS l ON l.lane = t.lane
WHERE t.number = ANY($1::bigint[])
UNION ALL
SELECT {ENDED_COLUMNS}
FROM windlass.ended AS e
JOIN windlass.specs AS s ON s.number = e.number JOIN windlass.lanes AS l ON l.lane = e.lane
WHERE e.number = ANY($1::bigint[])"""  # noqa: S608 of constants alone, once
# Give out so many numbers more to tasks of origins; gives the last of each.
GIVE_OF_ORIGINS: Final = """
INSERT INTO windlass.origins AS o (origin, given)
SELECT * FROM unnest($1::text[], $2::integer[])
ON CONFLICT (origin) DO UPDATE SET given = o.given + excluded.given
RETURNING origin, given"""
# Store new tasks; gives their numbers, which rise as the tasks come.
INSERT_TASKS: Final = f"""
WITH new AS MATERIALIZED (
    SELECT nextval('windlass.numbers') AS number, one.*
    FROM (SELECT * FROM unnest($1::integer[], $2::boolean[], $3::timestamptz[], $4::double precision[], $5::uuid[],
        $6::text[], $7::timestamptz[], $8::text[], $9::text[], $10::integer[], $11::bytea[], $12::text[], $13::text[],
        $14::jsonb[], $15::integer[], $16::text[], $17::text[], $18::double precision[], $19::bytea[])
        WITH ORDINALITY AS one (lane, ready, run_at, grace_s, id, kind, created_at, key, origin, origin_number,
            fingerprint, name, description, tags, max_attempts, retry, recovery, timeout_s, payload, place)
        ORDER BY place) AS one),
specified AS (
    INSERT INTO windlass.specs (number, {SPEC_COLUMNS}) SELECT number, {SPEC_COLUMNS} FROM new),
placed AS (
    INSERT INTO windlass.tasks (number, lane, state, ready, run_at, grace_s, size_bytes)
    SELECT number, lane, 'queued', ready, run_at, grace_s, length(payload) FROM new)
SELECT number FROM new ORDER BY place"""  # noqa: S608 of constants alone, once
# Find replays; gives with each its place and whether its time is not past.
KNOWN_REPLAYS: Final = """
SELECT asked.place, r.fingerprint, r.answer, r.until > $4 AS holds
FROM unnest($1::integer[], $2::text[], $3::text[]) AS asked (place, scope, key)
JOIN windlass.replays AS r ON r.scope = asked.scope AND r.key = asked.key"""
# Forget replays past their time, so that others can take their places.
FORGET_EXPIRED: Final = """
DELETE FROM windlass.replays AS r USING unnest($1::text[], $2::text[]) AS one (scope, key)
WHERE r.scope = one.scope AND r.key = one.key AND r.until <= $3"""
# Keep replays. One that another server has kept in the meantime makes this fail, and the turn be made again.
KEEP_REPLAYS: Final = """
INSERT INTO windlass.replays (scope, key, fingerprint, until, answer)
SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::timestamptz[], $5::bytea[])"""

# ── writes of attempts: guarded by number, state and token ─────────

# The state comes as the last value: spelled out, it would let the planner walk the index of all running tasks, which it
# does where it believes that there are none.

# Move settled tasks to those that have ended, where their guards hold; gives places, ids, lanes before and after,
# attempts, ordinals of the events, sizes before and after.
END: Final = """
WITH gone AS (
    DELETE FROM windlass.tasks AS t
    USING unnest($1::integer[], $2::bigint[], $3::uuid[], $4::boolean[], $5::text[], $6::text[], $7::timestamptz[],
        $8::integer[], $9::integer[], $10::integer[], $11::text[], $12::timestamptz[], $13::double precision[],
        $14::text[], $15::bytea[], $16::integer[])
        AS one (place, number, token, cancel_seen, state, reason, run_at, charged, lost, interrupted, cancel_outcome,
            finished_at, ran_s, error, result, ending_bytes)
    WHERE t.number = one.number AND t.state = $17 AND t.token = one.token
        AND (t.cancel_requested_at IS NOT NULL) = one.cancel_seen
    RETURNING one.place, t.number, t.lane, one.state, one.reason, one.run_at, t.attempt, one.charged, one.lost,
        one.interrupted, t.retries, t.ordinal, t.version, t.started_at, one.finished_at, t.run_s + one.ran_s AS run_s,
        t.grace_s, t.cancel_requested_at, t.cancel_reason, one.cancel_outcome, t.hidden, t.size_bytes, t.ending_bytes,
        coalesce(one.ending_bytes, t.ending_bytes) AS left_bytes, t.progress,
        CASE one.state WHEN 'succeeded' THEN NULL ELSE coalesce(one.error, t.error) END AS error, one.result),
kept AS (
    INSERT INTO windlass.ended (number, lane, state, reason, run_at, attempt, charged, lost, interrupted, retries,
        ordinal, version, started_at, finished_at, run_s, grace_s, cancel_requested_at, cancel_reason, cancel_outcome,
        hidden, size_bytes, ending_bytes, progress, error, result)
    SELECT number, lane, state, reason, run_at, attempt, charged, lost, interrupted, retries, ordinal + 1, version + 1,
        started_at, finished_at, run_s, grace_s, cancel_requested_at, cancel_reason, cancel_outcome, hidden,
        size_bytes - ending_bytes + left_bytes, left_bytes, progress, error, result
    FROM gone)
SELECT gone.place, s.id, gone.lane AS was_lane, gone.lane, gone.attempt, gone.ordinal + 1, gone.size_bytes,
    gone.size_bytes - gone.ending_bytes + gone.left_bytes
FROM gone JOIN windlass.specs AS s ON s.number = gone.number"""
# Queue settled tasks again, where their guards hold; gives the same. A lane that is not given stays.
GIVE_BACK: Final = """
UPDATE windlass.tasks AS t
SET state = 'queued', lane = coalesce(one.lane, t.lane), ready = one.ready, held = one.held, reason = one.reason,
    run_at = one.run_at, charged = one.charged, lost = one.lost, interrupted = one.interrupted,
    cancel_outcome = one.cancel_outcome, token = NULL, server = NULL, started_at = NULL, run_s = t.run_s + one.ran_s,
    error = coalesce(one.error, t.error), size_bytes = t.size_bytes + coalesce(one.ending_bytes - t.ending_bytes, 0),
    ending_bytes = coalesce(one.ending_bytes, t.ending_bytes), ordinal = t.ordinal + 1, version = t.version + 1
FROM unnest($1::integer[], $2::bigint[], $3::uuid[], $4::boolean[], $5::integer[], $6::boolean[], $7::boolean[],
    $8::text[], $9::timestamptz[], $10::integer[], $11::integer[], $12::integer[], $13::text[],
    $14::double precision[], $15::text[], $16::integer[])
    AS one (place, number, token, cancel_seen, lane, ready, held, reason, run_at, charged, lost, interrupted,
        cancel_outcome, ran_s, error, ending_bytes),
    windlass.tasks AS was JOIN windlass.specs AS s ON s.number = was.number
WHERE was.number = one.number AND t.number = one.number AND t.state = $17 AND t.token = one.token
    AND (t.cancel_requested_at IS NOT NULL) = one.cancel_seen
RETURNING one.place, s.id, was.lane AS was_lane, t.lane, t.attempt, t.ordinal, was.size_bytes, t.size_bytes"""
# Keep the progress of attempts; gives the places of those whose guards hold, as the next ones do.
REPORT: Final = """
UPDATE windlass.tasks AS t SET progress = one.progress, version = t.version + 1
FROM unnest($1::integer[], $2::bigint[], $3::uuid[], $4::text[]) AS one (place, number, token, progress)
WHERE t.number = one.number AND t.state = $5 AND t.token = one.token
RETURNING one.place"""
# Keep checkpoints of attempts.
SAVE: Final = """
WITH touched AS (
    UPDATE windlass.tasks AS t SET interrupted = 0, version = t.version + 1
    FROM unnest($1::integer[], $2::bigint[], $3::uuid[], $4::bytea[]) AS one (place, number, token, checkpoint)
    WHERE t.number = one.number AND t.state = $5 AND t.token = one.token
    RETURNING one.place, one.number, one.checkpoint),
kept AS (
    INSERT INTO windlass.checkpoints (number, checkpoint) SELECT number, checkpoint FROM touched
    ON CONFLICT (number) DO UPDATE SET checkpoint = excluded.checkpoint)
SELECT place FROM touched"""
# Keep files of attempts; each counts as a change of its task.
KEEP_FILES: Final = f"""
WITH one AS MATERIALIZED (
    SELECT * FROM unnest($1::integer[], $2::bigint[], $3::uuid[], $4::integer[], $5::text[], $6::text[], $7::text[],
        $8::bigint[], $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::double precision[], $14::text[])
        AS one (place, number, token, {FILE_COLUMNS})),
touched AS (
    UPDATE windlass.tasks AS t SET version = t.version + changed.times
    FROM (SELECT number, token, count(*) AS times FROM one GROUP BY number, token ORDER BY number) AS changed
    WHERE t.number = changed.number AND t.state = $15 AND t.token = changed.token
    RETURNING t.number, t.token),
kept AS (
    INSERT INTO windlass.files (number, {FILE_COLUMNS})
    SELECT number, {FILE_COLUMNS} FROM one JOIN touched USING (number, token)
    ON CONFLICT (number, idx) DO UPDATE SET name = excluded.name, state = excluded.state, url = excluded.url,
        received_bytes = excluded.received_bytes, size_bytes = excluded.size_bytes, digest = excluded.digest,
        verified_by = excluded.verified_by, resumed_bytes = excluded.resumed_bytes, seconds = excluded.seconds,
        error = excluded.error)
SELECT place FROM one JOIN touched USING (number, token)"""  # noqa: S608 of constants alone, once

# ── queues ─────────────────────────────────────────────────────────

# Lock queues, always in one order, and read what is kept of them.
LOCK_QUEUES: Final = """
SELECT name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at, pause_reason
FROM windlass.queues WHERE name = ANY($1::text[])
ORDER BY name FOR UPDATE"""
# Lock of queues those that nobody else has locked.
LOCK_FREE_QUEUES: Final = """
SELECT name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at, pause_reason
FROM windlass.queues WHERE name = ANY($1::text[])
ORDER BY name FOR UPDATE SKIP LOCKED"""
# Count what is queued and what runs in queues.
COUNTS_OF_QUEUES: Final = """
SELECT asked.queue, counted.state, counted.tasks
FROM unnest($1::text[]) AS asked (queue)
CROSS JOIN LATERAL (
    SELECT c.state, sum(c.tasks)::bigint AS tasks
    FROM windlass.lanes AS l JOIN windlass.counts AS c ON c.lane = l.lane
    WHERE l.queue = asked.queue AND c.state IN ('queued', 'running')
    GROUP BY c.state) AS counted"""
# Keep what is said of a queue of which nothing was kept.
INSERT_QUEUE: Final = """
INSERT INTO windlass.queues (name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at,
    pause_reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)"""
# Keep what is said of a queue now.
UPDATE_QUEUE: Final = """
UPDATE windlass.queues SET default_concurrency = $2, default_capacity = $3, set_concurrency = $4, set_capacity = $5,
    paused_at = $6, pause_reason = $7
WHERE name = $1"""
# Forget a queue of which nothing is said any more.
FORGET_QUEUE: Final = "DELETE FROM windlass.queues WHERE name = $1"

# ── writes of clients and operators: guarded by number and version ─

# Find the numbers of tasks by their ids.
NUMBERS_OF: Final = "SELECT id, number FROM windlass.specs WHERE id = ANY($1::uuid[])"
# Say whether any of these tasks is there.
ANY_SPEC: Final = "SELECT EXISTS (SELECT FROM windlass.specs WHERE number = ANY($1::bigint[]))"
# Lock whole tasks that have not ended, in the order of their numbers.
LOCK_HOT: Final = f"""
SELECT {HOT_COLUMNS}
FROM windlass.tasks AS t
JOIN windlass.specs AS s ON s.number = t.number JOIN windlass.lanes AS l ON l.lane = t.lane
WHERE t.number = ANY($1::bigint[])
ORDER BY t.number FOR UPDATE OF t"""  # noqa: S608 of constants alone, once
# Lock whole tasks that have ended.
LOCK_ENDED: Final = f"""
SELECT {ENDED_COLUMNS}
FROM windlass.ended AS e
JOIN windlass.specs AS s ON s.number = e.number JOIN windlass.lanes AS l ON l.lane = e.lane
WHERE e.number = ANY($1::bigint[])
ORDER BY e.number FOR UPDATE OF e"""  # noqa: S608 of constants alone, once
# Store tasks that are still queued or running.
AMEND: Final = """
UPDATE windlass.tasks AS t
SET lane = one.lane, ready = one.ready, held = one.held, run_at = one.run_at, lost = one.lost,
    interrupted = one.interrupted, grace_s = one.grace_s, cancel_requested_at = one.cancel_requested_at,
    cancel_reason = one.cancel_reason, hidden = one.hidden, ordinal = t.ordinal + 1, version = t.version + 1
FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::boolean[], $5::boolean[], $6::timestamptz[],
    $7::integer[], $8::integer[], $9::double precision[], $10::timestamptz[], $11::text[], $12::boolean[])
    AS one (number, version, lane, ready, held, run_at, lost, interrupted, grace_s, cancel_requested_at, cancel_reason,
        hidden)
WHERE t.number = one.number AND t.version = one.version"""
# Move queued tasks that were cancelled to those that have ended.
CANCEL: Final = """
WITH gone AS (
    DELETE FROM windlass.tasks AS t
    USING unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[],
        $8::text[], $9::boolean[])
        AS one (number, version, state, reason, finished_at, cancel_requested_at, cancel_reason, cancel_outcome, hidden)
    WHERE t.number = one.number AND t.version = one.version AND t.state = 'queued'
    RETURNING t.number, t.lane, one.state, one.reason, t.run_at, t.attempt, t.charged, t.lost, t.interrupted,
        t.retries, t.ordinal + 1 AS ordinal, t.version + 1 AS version, t.started_at, one.finished_at, t.run_s,
        t.grace_s, one.cancel_requested_at, one.cancel_reason, one.cancel_outcome, one.hidden, t.size_bytes,
        t.ending_bytes, t.progress, t.error)
INSERT INTO windlass.ended (number, lane, state, reason, run_at, attempt, charged, lost, interrupted, retries,
    ordinal, version, started_at, finished_at, run_s, grace_s, cancel_requested_at, cancel_reason, cancel_outcome,
    hidden, size_bytes, ending_bytes, progress, error)
SELECT number, lane, state, reason, run_at, attempt, charged, lost, interrupted, retries, ordinal, version, started_at,
    finished_at, run_s, grace_s, cancel_requested_at, cancel_reason, cancel_outcome, hidden, size_bytes, ending_bytes,
    progress, error
FROM gone"""
# Queue ended tasks again, without their results and errors.
RETRY: Final = """
WITH back AS (
    DELETE FROM windlass.ended AS e
    USING unnest($1::bigint[], $2::integer[], $3::timestamptz[], $4::timestamptz[], $5::boolean[])
        AS one (number, version, finished_at, run_at, ready)
    WHERE e.number = one.number AND e.finished_at = one.finished_at AND e.version = one.version
    RETURNING e.number, e.lane, one.ready, one.run_at, e.attempt, e.retries + 1 AS retries, e.ordinal + 1 AS ordinal,
        e.version + 1 AS version, e.run_s, e.grace_s, e.hidden, e.size_bytes - e.ending_bytes AS size_bytes)
INSERT INTO windlass.tasks (number, lane, state, ready, run_at, attempt, retries, ordinal, version, run_s, grace_s,
    hidden, size_bytes)
SELECT number, lane, 'queued', ready, run_at, attempt, retries, ordinal, version, run_s, grace_s, hidden, size_bytes
FROM back"""
# Note that the labels of ended tasks have changed.
EDIT_ENDED: Final = """
UPDATE windlass.ended AS e SET ordinal = e.ordinal + 1, version = e.version + 1
FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[]) AS one (number, version, finished_at)
WHERE e.number = one.number AND e.finished_at = one.finished_at AND e.version = one.version"""
# Have its origin know no more of a task that runs, and of one that has ended.
HIDE: Final = """
UPDATE windlass.tasks AS t SET hidden = true, version = t.version + 1
FROM unnest($1::bigint[], $2::integer[]) AS one (number, version)
WHERE t.number = one.number AND t.version = one.version"""
HIDE_ENDED: Final = """
UPDATE windlass.ended AS e SET hidden = true, version = e.version + 1
FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[]) AS one (number, version, finished_at)
WHERE e.number = one.number AND e.finished_at = one.finished_at AND e.version = one.version"""
# Store the labels of edited tasks.
RELABEL: Final = """
UPDATE windlass.specs AS s SET name = one.name, description = one.description, tags = one.tags
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::jsonb[]) AS one (number, name, description, tags)
WHERE s.number = one.number"""

# ── removal: of ended tasks ────────────────────────────────────────

# Find what has ended first of some states, and before a time; the first of each state in turn, and of these the first.
ENDED_FIRST: Final = """
SELECT first.number, first.finished_at
FROM unnest($1::text[]) AS asked (state)
CROSS JOIN LATERAL (
    SELECT e.number, e.finished_at FROM windlass.ended AS e
    WHERE e.state = asked.state AND e.finished_at < $2
    ORDER BY e.finished_at, e.number LIMIT $3) AS first
ORDER BY first.finished_at, first.number LIMIT $3"""
# Lock of ended tasks those that nobody else removes or retries; gives when they ended and what they count as.
LOCK_GOING: Final = """
SELECT e.number, e.finished_at, e.lane, e.state, e.size_bytes
FROM unnest($1::bigint[], $2::timestamptz[]) AS one (number, finished_at)
JOIN windlass.ended AS e ON e.number = one.number AND e.finished_at = one.finished_at
ORDER BY e.number FOR UPDATE OF e SKIP LOCKED"""
# Remove locked tasks with all that belongs to them; their tombstones say $3.
REMOVE: Final = """
WITH buried AS (
    INSERT INTO windlass.tombstones (number, id, deleted_at)
    SELECT number, id, $3 FROM windlass.specs WHERE number = ANY($1::bigint[])),
forgotten AS (DELETE FROM windlass.events WHERE number = ANY($1::bigint[])),
emptied AS (DELETE FROM windlass.files WHERE number = ANY($1::bigint[])),
lost AS (DELETE FROM windlass.checkpoints WHERE number = ANY($1::bigint[])),
unspecified AS (DELETE FROM windlass.specs WHERE number = ANY($1::bigint[]))
DELETE FROM windlass.ended AS e
USING unnest($1::bigint[], $2::timestamptz[]) AS one (number, finished_at)
WHERE e.number = one.number AND e.finished_at = one.finished_at"""
# Note that the files of deleted tasks are gone.
SWEEP: Final = """
WITH one AS MATERIALIZED (
    SELECT number FROM windlass.tombstones WHERE number = ANY($1::bigint[]) AND NOT swept
    ORDER BY number FOR UPDATE SKIP LOCKED)
UPDATE windlass.tombstones AS b SET swept = true FROM one WHERE b.number = one.number AND NOT b.swept"""
# Forget replays past their time, the oldest first.
FORGET_REPLAYS: Final = """
WITH one AS MATERIALIZED (
    SELECT scope, key FROM windlass.replays WHERE until <= $1
    ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM windlass.replays AS r USING one WHERE r.scope = one.scope AND r.key = one.key AND r.until <= $1"""
# Forget swept tombstones made before a time, the oldest first.
FORGET_TOMBSTONES: Final = """
WITH one AS MATERIALIZED (
    SELECT number FROM windlass.tombstones WHERE swept AND deleted_at < $1
    ORDER BY deleted_at, number LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM windlass.tombstones AS b USING one WHERE b.number = one.number AND b.swept AND b.deleted_at < $1"""
