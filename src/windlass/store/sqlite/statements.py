"""Every SQL statement that the SQLite store runs, each under a name and with a line that says what it does.

Nothing here is put together at run time: a statement is a constant, and its values are bound.
"""

from __future__ import annotations

from typing import Final

# ── transactions ───────────────────────────────────────────────────

# Take the write lock now, so that no transaction that has read finds it cannot write.
BEGIN: Final = "BEGIN IMMEDIATE"
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
# Name the tables, to tell an empty file and one of ours from somebody else's.
TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table'"
# Read the steps taken.
MIGRATIONS: Final = "SELECT version, checksum FROM migrations"
# Record a step.
RECORD_MIGRATION: Final = """
INSERT INTO migrations (version, name, checksum, applied_at)
VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000000 AS INTEGER))"""

# ── submit ─────────────────────────────────────────────────────────

# Read the last number and the last seq that were given out, also to rows that are gone.
COUNTERS: Final = "SELECT name, seq FROM sqlite_sequence WHERE name IN ('tasks', 'events')"
# Read all lanes.
LANES: Final = "SELECT lane, queue, kind FROM lanes"
# Make a lane.
INSERT_LANE: Final = "INSERT INTO lanes (lane, queue, kind) VALUES (?1, ?2, ?3)"
# Find tasks by their ids; run for many ids at once, it gives rows for the known ones only.
NUMBER_BY_ID: Final = "SELECT id, number FROM tasks WHERE id = ?1"
# Find the task that has a key.
NUMBER_BY_KEY: Final = "SELECT number FROM specs WHERE key = ?1 AND kind = ?2 AND ifnull(origin, '') = ?3"
# Store what changes of a new task.
INSERT_TASK: Final = """
INSERT INTO tasks (number, id, lane, state, ready, priority, run_at, grace_s)
VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6, ?7)"""
# Store what a new task was submitted with.
INSERT_SPEC: Final = """
INSERT INTO specs (number, kind, created_at, key, origin, fingerprint, name, description, tags, max_attempts, retry,
    recovery, timeout_s, payload)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"""
# Append an event.
INSERT_EVENT: Final = """
INSERT INTO events (seq, number, ordinal, at, name, state, attempt, reason, token, data)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"""

# ── writes of attempts: guarded by number, state and token ─────────

# Read what the events of attempts' writes need, each with its place among them; gives no row where the guard fails.
ATTEMPTS: Final = """
SELECT ?1, id, lane, attempt, ordinal FROM tasks
WHERE number = ?2 AND state = 'running' AND token = ?3 AND (?4 IS NULL OR (cancel_requested_at IS NOT NULL) = ?4)"""
# Settle an attempt; the decision holds only while a cancel request stands as it did when it was taken.
SETTLE: Final = """
UPDATE tasks SET state = ?4, ready = ?5, held = ?6, solo = ?7, reason = ?8, run_at = ?9, charged = ?10, lost = ?11,
    interrupted = ?12, token = NULL, started_at = iif(?13 IS NULL, NULL, started_at), finished_at = ?13,
    run_s = run_s + ?14, cancel_outcome = ?15, ordinal = ordinal + 1, version = version + 1
WHERE number = ?1 AND state = 'running' AND token = ?2 AND (cancel_requested_at IS NOT NULL) = ?3"""
# Keep the progress of an attempt.
REPORT: Final = """
UPDATE tasks SET progress = ?3, version = version + 1
WHERE number = ?1 AND state = 'running' AND token = ?2"""
# Note that an attempt has saved a checkpoint.
SAVE: Final = """
UPDATE tasks SET interrupted = 0, version = version + 1
WHERE number = ?1 AND state = 'running' AND token = ?2"""
# Note that an attempt has changed a file.
TOUCH: Final = """
UPDATE tasks SET version = version + 1
WHERE number = ?1 AND state = 'running' AND token = ?2"""
# Keep a result; it takes the place of any error.
KEEP_RESULT: Final = "INSERT OR REPLACE INTO endings (number, result) VALUES (?1, ?2)"
# Keep an error; it takes the place of the one before.
KEEP_ERROR: Final = "INSERT OR REPLACE INTO endings (number, error) VALUES (?1, ?2)"
# Keep a checkpoint.
KEEP_CHECKPOINT: Final = "INSERT OR REPLACE INTO checkpoints (number, checkpoint) VALUES (?1, ?2)"
# Keep a file.
KEEP_FILE: Final = """
INSERT OR REPLACE INTO files (number, idx, name, state, url, received_bytes, size_bytes, digest, verified_by,
    resumed_bytes, seconds, error)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"""

# ── writes of clients and operators: guarded by number and version ─

# Store a task that was cancelled, retried, held or released; the change was made of this very version.
AMEND: Final = """
UPDATE tasks SET state = ?3, ready = ?4, held = ?5, reason = ?6, run_at = ?7, charged = ?8, lost = ?9,
    interrupted = ?10, retries = retries + ?11, started_at = ?12, finished_at = ?13, grace_s = ?14,
    cancel_requested_at = ?15, cancel_reason = ?16, cancel_outcome = ?17, progress = ?18, ordinal = ordinal + 1,
    version = version + 1
WHERE number = ?1 AND version = ?2"""
# Forget the result and the error of a task that is to run again.
FORGET_ENDING: Final = "DELETE FROM endings WHERE number = ?1"

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
# Read some ready tasks of a lane, most urgent first, with their payloads.
READY_TASKS: Final = """
SELECT whole_tasks.*, specs.payload FROM whole_tasks CROSS JOIN specs ON specs.number = whole_tasks.number
WHERE ready = 1 AND lane = ?1 AND solo = ?2
ORDER BY priority DESC, run_at, whole_tasks.number LIMIT ?3 OFFSET ?4"""
# Start a task.
START: Final = """
UPDATE tasks SET state = 'running', ready = 0, attempt = attempt + 1, charged = charged + 1, token = ?2,
    started_at = ?3, reason = NULL, progress = NULL, ordinal = ordinal + 1, version = version + 1
WHERE number = ?1 AND state = 'queued' AND ready = 1"""

# ── reads ──────────────────────────────────────────────────────────

# Read a task by its number.
TASK_BY_NUMBER: Final = "SELECT * FROM whole_tasks WHERE number = ?1"
# Read a task by its id.
TASK_BY_ID: Final = "SELECT * FROM whole_tasks WHERE id = ?1"
# Read the lowest and the highest number; nothing at all is the stretch from 1 to 0.
SPAN: Final = "SELECT ifnull((SELECT min(number) FROM tasks), 1), ifnull((SELECT max(number) FROM tasks), 0)"
# Read the tasks of a stretch of numbers that match, falling.
PAGE_NEWEST: Final = """
SELECT * FROM whole_tasks
WHERE number BETWEEN ?1 AND ?2 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR kind = ?4)
    AND (?5 IS NULL OR queue = ?5)
    AND (?6 IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) AS tag WHERE tag.key = ?6 AND tag.value = ?7))
ORDER BY number DESC LIMIT ?8"""
# Read the tasks of a stretch of numbers that match, rising.
PAGE_OLDEST: Final = """
SELECT * FROM whole_tasks
WHERE number BETWEEN ?1 AND ?2 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR kind = ?4)
    AND (?5 IS NULL OR queue = ?5)
    AND (?6 IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) AS tag WHERE tag.key = ?6 AND tag.value = ?7))
ORDER BY number LIMIT ?8"""
# Read the tasks with a key that match, falling.
PAGE_NEWEST_BY_KEY: Final = """
SELECT * FROM whole_tasks
WHERE number IN (SELECT number FROM specs WHERE key = ?9)
    AND number BETWEEN ?1 AND ?2 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR kind = ?4)
    AND (?5 IS NULL OR queue = ?5)
    AND (?6 IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) AS tag WHERE tag.key = ?6 AND tag.value = ?7))
ORDER BY number DESC LIMIT ?8"""
# Read the tasks with a key that match, rising.
PAGE_OLDEST_BY_KEY: Final = """
SELECT * FROM whole_tasks
WHERE number IN (SELECT number FROM specs WHERE key = ?9)
    AND number BETWEEN ?1 AND ?2 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR kind = ?4)
    AND (?5 IS NULL OR queue = ?5)
    AND (?6 IS NULL OR EXISTS (SELECT 1 FROM json_each(tags) AS tag WHERE tag.key = ?6 AND tag.value = ?7))
ORDER BY number LIMIT ?8"""
# Read running tasks, rising from above a number.
RUNNING: Final = """
SELECT * FROM whole_tasks
WHERE number IN (
    SELECT number FROM tasks INDEXED BY running_tasks
    WHERE state = 'running' AND number > ?1
    ORDER BY number LIMIT ?2)
ORDER BY number"""
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
