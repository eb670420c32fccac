"""Every SQL statement that the SQLite store runs, each under a name and with a line that says what it does.

Nothing here is put together at run time: a statement is a constant, and its values are bound.
"""

from __future__ import annotations

from typing import Final

from windlass.store.sqlite.groups import each

# ── transactions ───────────────────────────────────────────────────

# Take the write lock now, so that no transaction that has read finds it cannot write.
BEGIN: Final = "BEGIN IMMEDIATE"
# See one moment of the file from the first read on.
BEGIN_READING: Final = "BEGIN DEFERRED"
# Make the transaction durable.
COMMIT: Final = "COMMIT"
# Undo the transaction.
ROLLBACK: Final = "ROLLBACK"

# ── schema ─────────────────────────────────────────────────────────

# Make the table of the steps taken.
CREATE_MIGRATIONS: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT"""
# Look for damage and broken constraints: the first hundred, or one row that says ok.
CHECK_FILE: Final = "PRAGMA integrity_check(100)"
# Look for damage alone.
CHECK_QUICKLY: Final = "PRAGMA quick_check(1)"
# Say when the store was made, and which event was the last.
SEEN: Final = """
SELECT (SELECT applied_at FROM migrations WHERE version = 1),
    ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"""
# Look for references that lead nowhere.
CHECK_REFERENCES: Final = "PRAGMA foreign_key_check"
# Name the tables, to tell an empty file and one of ours from somebody else's.
TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table'"
# Read the steps taken.
MIGRATIONS: Final = "SELECT version, checksum FROM migrations"
# Read the number of the last step taken.
SCHEMA_VERSION: Final = "SELECT ifnull(max(version), 0) FROM migrations"
# Record a step.
RECORD_MIGRATION: Final = """
INSERT INTO migrations (version, name, checksum, applied_at)
VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000000 AS INTEGER))"""

# ── submit ─────────────────────────────────────────────────────────

# Read the last number and the last seq that were given out, also to rows that are gone.
GIVEN_OUT: Final = "SELECT name, seq FROM sqlite_sequence WHERE name IN ('tasks', 'events')"
# Read the last number that was given out to a task of an origin.
GIVEN_OF_ORIGIN: Final = "SELECT given FROM origins WHERE origin = ?1"
# Keep the last number that was given out to a task of an origin.
KEEP_GIVEN: Final = "INSERT OR REPLACE INTO origins (origin, given) VALUES (?1, ?2)"
# Read all lanes.
LANES: Final = "SELECT lane, queue, kind FROM lanes"
# Make a lane.
INSERT_LANE: Final = "INSERT INTO lanes (lane, queue, kind) VALUES (?1, ?2, ?3)"
# Find tasks by their ids; run for many ids at once, it gives rows for the known ones only.
NUMBER_BY_ID: Final = each("SELECT id, number FROM (VALUES {(?)}) AS asked CROSS JOIN tasks ON id = asked.column1")
# Find tasks by their keys; run for many keys at once, it gives rows for the known ones only.
NUMBER_BY_KEY: Final = """
SELECT ?1, ?2, ?3, number FROM specs WHERE key = ?1 AND kind = ?2 AND ifnull(origin, '') = ?3"""
# Store what changes of a new task.
INSERT_TASK: Final = each("""
INSERT INTO tasks (number, id, lane, state, ready, priority, run_at, grace_s, size_bytes, origin_number)
VALUES {(?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)}""")
# Store what a new task was submitted with.
INSERT_SPEC: Final = each("""
INSERT INTO specs (number, kind, created_at, key, origin, fingerprint, name, description, tags, max_attempts, retry,
    recovery, timeout_s, payload)
VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)}""")
# Append an event.
INSERT_EVENT: Final = each("""
INSERT INTO events (seq, number, ordinal, at, name, state, attempt, reason, token, data)
VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)}""")
# Find replays that are not past their time; run for many at once, it gives rows for the known ones only.
KNOWN_REPLAY: Final = """
SELECT ?1, fingerprint, answer FROM replays WHERE scope = ?2 AND key = ?3 AND until > ?4"""
# Keep a replay; it takes the place of one past its time.
KEEP_REPLAY: Final = """
INSERT OR REPLACE INTO replays (scope, key, fingerprint, until, answer) VALUES (?1, ?2, ?3, ?4, ?5)"""

# ── writes of attempts: guarded by number, state and token ─────────

# Where rows of values come with an update, the `+` leaves one way to join them: each row finds its task by the number.
# Read what the events of attempts' writes need, each with its place among them; gives no row where the guard fails.
ATTEMPTS: Final = each("""
SELECT asked.column1, id, lane, attempt, ordinal, size_bytes, ending_bytes
FROM (VALUES {(?, ?, ?, ?)}) AS asked CROSS JOIN tasks ON number = asked.column2
WHERE state = 'running' AND token = asked.column3
    AND (asked.column4 IS NULL OR (cancel_requested_at IS NOT NULL) = asked.column4)""")
# Settle attempts that are settled alike, each by a row of its number, token, run_at, instant and running time, and the
# size of the result or error that it leaves, or nothing when it leaves what was there. The decision holds only while a
# cancel request stands as it did (?1) when it was taken. ?11: whether they have ended.
SETTLE: Final = each("""
UPDATE tasks SET state = ?2, ready = ?3, held = ?4, solo = ?5, reason = ?6, charged = ?7, lost = ?8, interrupted = ?9,
    cancel_outcome = ?10, run_at = one.column3, token = NULL, started_at = iif(?11, started_at, NULL),
    finished_at = iif(?11, one.column4, NULL), run_s = run_s + one.column5,
    size_bytes = size_bytes + ifnull(one.column6 - ending_bytes, 0), ending_bytes = ifnull(one.column6, ending_bytes),
    ordinal = ordinal + 1, version = version + 1
FROM (VALUES {(?, ?, ?, ?, ?, ?)}) AS one
WHERE number = +one.column1 AND state = 'running' AND token = +one.column2
    AND (cancel_requested_at IS NOT NULL) = ?1""")
# Keep the progress of an attempt.
REPORT: Final = each("""
UPDATE tasks SET progress = one.column3, version = version + 1
FROM (VALUES {(?, ?, ?)}) AS one
WHERE number = +one.column1 AND state = 'running' AND token = +one.column2""")
# Note that an attempt has saved a checkpoint.
SAVE: Final = each("""
UPDATE tasks SET interrupted = 0, version = version + 1
FROM (VALUES {(?, ?)}) AS one
WHERE number = +one.column1 AND state = 'running' AND token = +one.column2""")
# Note that an attempt has changed a file.
TOUCH: Final = each("""
UPDATE tasks SET version = version + 1
FROM (VALUES {(?, ?)}) AS one
WHERE number = +one.column1 AND state = 'running' AND token = +one.column2""")
# Keep a result; it takes the place of any error.
KEEP_RESULT: Final = each("INSERT OR REPLACE INTO endings (number, result) VALUES {(?, ?)}")
# Keep an error; it takes the place of the one before.
KEEP_ERROR: Final = each("INSERT OR REPLACE INTO endings (number, error) VALUES {(?, ?)}")
# Keep a checkpoint.
KEEP_CHECKPOINT: Final = each("INSERT OR REPLACE INTO checkpoints (number, checkpoint) VALUES {(?, ?)}")
# Keep a file.
KEEP_FILE: Final = each("""
INSERT OR REPLACE INTO files (number, idx, name, state, url, received_bytes, size_bytes, digest, verified_by,
    resumed_bytes, seconds, error)
VALUES {(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)}""")

# ── writes of clients and operators: guarded by number and version ─

# Store a task that was cancelled, retried, held or released; the change was made of this very version.
AMEND: Final = """
UPDATE tasks SET state = ?3, ready = ?4, held = ?5, reason = ?6, run_at = ?7, charged = ?8, lost = ?9,
    interrupted = ?10, retries = retries + ?11, started_at = ?12, finished_at = ?13, grace_s = ?14,
    cancel_requested_at = ?15, cancel_reason = ?16, cancel_outcome = ?17, progress = ?18, hidden = ?19,
    size_bytes = size_bytes - iif(?11, ending_bytes, 0), ending_bytes = iif(?11, 0, ending_bytes),
    ordinal = ordinal + 1, version = version + 1
WHERE number = ?1 AND version = ?2"""
# Have its origin know of a task no more.
HIDE: Final = "UPDATE tasks SET hidden = 1, version = version + 1 WHERE number = ?1 AND version = ?2"
# Store when and where an edited task runs.
EDIT: Final = """
UPDATE tasks SET lane = ?3, ready = ?4, priority = ?5, run_at = ?6, ordinal = ordinal + 1, version = version + 1
WHERE number = ?1 AND version = ?2"""
# Store the labels of an edited task.
RELABEL: Final = "UPDATE specs SET name = ?2, description = ?3, tags = ?4 WHERE number = ?1"
# Forget the result and the error of a task that is to run again.
FORGET_ENDING: Final = "DELETE FROM endings WHERE number = ?1"

# ── removal: of ended tasks, whose numbers come as a JSON array ────

# Find what has ended first in a state, and before a time.
ENDED_FIRST: Final = """
SELECT finished_at, number, lane, state, size_bytes FROM tasks INDEXED BY ended_tasks
WHERE state = ?1 AND finished_at < ?2
ORDER BY finished_at, number LIMIT ?3"""
# Leave tombstones.
BURY: Final = """
INSERT INTO tombstones (number, id, deleted_at)
SELECT number, id, ?2 FROM tasks WHERE number IN (SELECT value FROM json_each(?1))"""
# Remove events, files, checkpoints, endings and specs, and then the tasks themselves.
REMOVE_EVENTS: Final = "DELETE FROM events WHERE number IN (SELECT value FROM json_each(?1))"
REMOVE_FILES: Final = "DELETE FROM files WHERE number IN (SELECT value FROM json_each(?1))"
REMOVE_CHECKPOINTS: Final = "DELETE FROM checkpoints WHERE number IN (SELECT value FROM json_each(?1))"
REMOVE_ENDINGS: Final = "DELETE FROM endings WHERE number IN (SELECT value FROM json_each(?1))"
REMOVE_SPECS: Final = "DELETE FROM specs WHERE number IN (SELECT value FROM json_each(?1))"
REMOVE_TASKS: Final = "DELETE FROM tasks WHERE number IN (SELECT value FROM json_each(?1))"
# Note that the files of deleted tasks are gone.
SWEEP: Final = "UPDATE tombstones SET swept = 1 WHERE swept = 0 AND number IN (SELECT value FROM json_each(?1))"
# Forget replays past their time, the oldest first.
FORGET_REPLAYS: Final = """
DELETE FROM replays WHERE one IN (SELECT one FROM replays WHERE until <= ?1 ORDER BY until LIMIT ?2)"""
# Forget swept tombstones made before a time, the oldest first.
FORGET_TOMBSTONES: Final = """
DELETE FROM tombstones
WHERE number IN (
    SELECT number FROM tombstones INDEXED BY swept_tombstones
    WHERE swept = 1 AND deleted_at < ?1
    ORDER BY deleted_at, number LIMIT ?2)"""
# Read a tombstone by the number of its task.
TOMBSTONE_BY_NUMBER: Final = "SELECT number, id, deleted_at, swept FROM tombstones WHERE number = ?1"
# Read a tombstone by the id of its task; the last one, should an id have come twice.
TOMBSTONE_BY_ID: Final = """
SELECT number, id, deleted_at, swept FROM tombstones WHERE id = ?1 ORDER BY number DESC LIMIT 1"""
# Read tombstones of tasks whose files may still be there, rising.
UNSWEPT: Final = """
SELECT number, id, deleted_at, swept FROM tombstones INDEXED BY unswept_tombstones
WHERE swept = 0 ORDER BY number LIMIT ?1"""

# ── counters ───────────────────────────────────────────────────────

# Add what a turn has changed to a counter.
ADD_TO_COUNTER: Final = """
INSERT INTO counters (lane, state, tasks, size_bytes) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (lane, state) DO UPDATE SET tasks = tasks + excluded.tasks, size_bytes = size_bytes + excluded.size_bytes"""
# Read all counters that count something.
COUNTS: Final = """
SELECT queue, kind, state, tasks, size_bytes FROM counters CROSS JOIN lanes ON lanes.lane = counters.lane
WHERE tasks <> 0"""

# ── queues ─────────────────────────────────────────────────────────

# Read what is kept of queues.
QUEUES: Final = """
SELECT name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at, pause_reason
FROM queues ORDER BY name"""
# Keep what is said of a queue.
KEEP_QUEUE: Final = """
INSERT OR REPLACE INTO queues (name, default_concurrency, default_capacity, set_concurrency, set_capacity, paused_at,
    pause_reason)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"""
# Forget a queue of which nothing is said any more.
FORGET_QUEUE: Final = "DELETE FROM queues WHERE name = ?1"
# Read how many tasks of each lane of a queue are queued and running.
COUNTS_OF_QUEUE: Final = """
SELECT state, tasks FROM lanes CROSS JOIN counters ON counters.lane = lanes.lane
WHERE queue = ?1 AND state IN ('queued', 'running')"""
# Read how many tasks of each lane are in each state.
COUNTS_OF_LANES: Final = """
SELECT lanes.lane, queue, state, tasks FROM counters CROSS JOIN lanes ON lanes.lane = counters.lane
WHERE tasks <> 0"""
# Say since when a lane's oldest ready task is due: two steps of the index for each priority, however many tasks.
READY_SINCE: Final = """
WITH RECURSIVE line (priority) AS (
    SELECT (SELECT priority FROM tasks INDEXED BY ready_tasks
        WHERE ready = 1 AND lane = ?1 AND solo = ?2 ORDER BY priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT priority FROM tasks INDEXED BY ready_tasks
        WHERE ready = 1 AND lane = ?1 AND solo = ?2 AND priority < line.priority ORDER BY priority DESC LIMIT 1)
    FROM line WHERE line.priority IS NOT NULL)
SELECT min((
    SELECT run_at FROM tasks INDEXED BY ready_tasks
    WHERE ready = 1 AND lane = ?1 AND solo = ?2 AND priority = line.priority ORDER BY run_at LIMIT 1))
FROM line WHERE priority IS NOT NULL"""

# ── claim ──────────────────────────────────────────────────────────

# Say when the earliest task is due that only waits for its time.
NEXT_DUE: Final = """
SELECT run_at FROM tasks INDEXED BY scheduled_tasks
WHERE state = 'queued' AND ready = 0 AND held = 0
ORDER BY run_at LIMIT 1"""
# Make ready what is due, the earliest first.
PROMOTE: Final = """
UPDATE tasks SET ready = 1
WHERE number IN (
    SELECT number FROM tasks INDEXED BY scheduled_tasks
    WHERE state = 'queued' AND ready = 0 AND held = 0 AND run_at <= ?1
    ORDER BY run_at, number LIMIT ?2)"""
# Name the lanes that have ready tasks: one step of the index for each, however many tasks are in it.
READY_LANES: Final = """
WITH RECURSIVE busy (lane) AS (
    SELECT (SELECT lane FROM tasks INDEXED BY ready_tasks WHERE ready = 1 ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT lane FROM tasks INDEXED BY ready_tasks WHERE ready = 1 AND lane > busy.lane ORDER BY lane LIMIT 1)
    FROM busy WHERE busy.lane IS NOT NULL)
SELECT lane FROM busy WHERE lane IS NOT NULL"""
# Read some ready tasks of a lane, most urgent first: what is not known of every ready task, and their payloads.
READY_TASKS: Final = """
SELECT t.number, t.priority, t.run_at, t.id, t.attempt, t.charged, t.ordinal, t.version, t.grace_s,
    s.created_at, s.max_attempts, s.retry, s.recovery, s.timeout_s, s.payload,
    t.size_bytes, t.lost, t.interrupted, t.run_s, s.key, s.origin, s.fingerprint, s.name, s.description, s.tags,
    t.origin_number, t.hidden
FROM tasks AS t INDEXED BY ready_tasks CROSS JOIN specs AS s ON s.number = t.number
WHERE t.ready = 1 AND t.lane = ?1 AND t.solo = ?2
ORDER BY t.priority DESC, t.run_at, t.number LIMIT ?3 OFFSET ?4"""
# Read the error of a task.
ERROR: Final = "SELECT error FROM endings WHERE number = ?1"
# Start tasks at an instant (?1), each by a row of its number and its new token.
START: Final = each("""
UPDATE tasks SET state = 'running', ready = 0, attempt = attempt + 1, charged = charged + 1, token = one.column2,
    started_at = ?1, reason = NULL, progress = NULL, ordinal = ordinal + 1, version = version + 1
FROM (VALUES {(?, ?)}) AS one
WHERE number = +one.column1 AND state = 'queued' AND ready = 1""")

# ── reads ──────────────────────────────────────────────────────────

# Read a task by its number.
TASK_BY_NUMBER: Final = "SELECT * FROM whole_tasks WHERE number = ?1"
# Read a task by its id.
TASK_BY_ID: Final = "SELECT * FROM whole_tasks WHERE id = ?1"
# Read a task by its origin and its number there, which no more tasks have than there are origins.
TASK_OF_ORIGIN: Final = """
SELECT * FROM whole_tasks
WHERE number IN (
    SELECT t.number FROM tasks AS t INDEXED BY tasks_by_origin_number CROSS JOIN specs AS s ON s.number = t.number
    WHERE t.origin_number = ?2 AND s.origin = ?1)"""
# Read the lowest and the highest number; nothing at all is the stretch from 1 to 0.
SPAN: Final = "SELECT ifnull((SELECT min(number) FROM tasks), 1), ifnull((SELECT max(number) FROM tasks), 0)"
# Read running tasks, rising from above a number.
RUNNING: Final = """
SELECT * FROM whole_tasks
WHERE number IN (
    SELECT number FROM tasks INDEXED BY running_tasks
    WHERE state = 'running' AND number > ?1
    ORDER BY number LIMIT ?2)
ORDER BY number"""
# Read running tasks that are to be cancelled.
CANCELLING: Final = """
SELECT * FROM whole_tasks
WHERE number IN (SELECT number FROM tasks INDEXED BY running_tasks WHERE state = 'running' AND number > 0)
    AND cancel_requested_at IS NOT NULL
ORDER BY number"""
# Read the versions of the tasks whose numbers are in a JSON array.
VERSIONS: Final = "SELECT number, version FROM tasks WHERE number IN (SELECT value FROM json_each(?1))"
# Say when the task ended that is kept for longest; one step of the index for each state.
OLDEST_END: Final = """
SELECT min(finished_at) FROM (
    SELECT (SELECT min(finished_at) FROM tasks WHERE state = 'succeeded' AND finished_at IS NOT NULL) AS finished_at
    UNION ALL
    SELECT (SELECT min(finished_at) FROM tasks WHERE state = 'failed' AND finished_at IS NOT NULL)
    UNION ALL
    SELECT (SELECT min(finished_at) FROM tasks WHERE state = 'cancelled' AND finished_at IS NOT NULL))"""
# Read a payload.
PAYLOAD: Final = "SELECT payload FROM specs WHERE number = ?1"
# Read a result.
RESULT: Final = "SELECT result FROM endings WHERE number = ?1"
# Read a checkpoint.
CHECKPOINT: Final = "SELECT checkpoint FROM checkpoints WHERE number = ?1"
# Read the files of a task.
FILES: Final = """
SELECT idx, name, state, url, received_bytes, size_bytes, digest, verified_by, resumed_bytes, seconds, error
FROM files WHERE number = ?1 ORDER BY idx"""
# Read the events of a task.
HISTORY: Final = "SELECT * FROM whole_events WHERE number = ?1 AND ordinal > ?2 ORDER BY ordinal LIMIT ?3"
# Read the events of all tasks.
LOG: Final = "SELECT * FROM whole_events WHERE seq > ?1 ORDER BY seq LIMIT ?2"

# ── registry ───────────────────────────────────────────────────────

# Make a server the owner of all leases.
ENROLL: Final = """
INSERT OR REPLACE INTO owner (one, id, host, pid, version, started_at, beat_at) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?5)"""
# Read the owner.
OWNER: Final = "SELECT id, host, pid, version, started_at, beat_at FROM owner"
# Renew the owner's leases; changes nothing for any other server.
BEAT: Final = "UPDATE owner SET beat_at = ?2 WHERE one = 1 AND id = ?1"
# Write a worker process down.
RECORD_WORKER: Final = "INSERT OR IGNORE INTO workers (server, pid, started, boot) VALUES (?1, ?2, ?3, ?4)"
# Strike a worker process.
FORGET_WORKER: Final = "DELETE FROM workers WHERE server = ?1 AND pid = ?2 AND started = ?3 AND boot = ?4"
# Read all worker processes.
WORKERS: Final = "SELECT server, pid, started, boot FROM workers ORDER BY recorded"
# Keep a kind as the last of its name.
KEEP_KIND: Final = "INSERT OR REPLACE INTO kinds (name, app, version, definition) VALUES (?1, ?2, ?3, ?4)"
# Read the kind kept last under a name.
LAST_KIND: Final = "SELECT definition FROM kinds WHERE name = ?1 ORDER BY kept DESC LIMIT 1"
# Read all kinds.
KINDS: Final = "SELECT definition FROM kinds ORDER BY name, kept DESC"

# ── keys ───────────────────────────────────────────────────────────

# Keep a new key.
ADD_KEY: Final = """
INSERT INTO keys (id, name, digest, scopes, created_at, revoked_at, used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"""
# Revoke a key; the first time stays.
REVOKE_KEY: Final = "UPDATE keys SET revoked_at = ifnull(revoked_at, ?2) WHERE id = ?1"
# Note when a key was used; never an earlier time than is known.
TOUCH_KEY: Final = "UPDATE keys SET used_at = max(ifnull(used_at, ?2), ?2) WHERE id = ?1"
# Read all keys.
KEYS: Final = "SELECT id, name, digest, scopes, created_at, revoked_at, used_at FROM keys ORDER BY created_at, id"
