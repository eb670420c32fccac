-- Queues with limits, and tasks that came through a dialect: their numbers there, and whether it still knows of them.

-- What the settings say of a queue, what an operator has set, and since when and why it is paused.
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    default_concurrency INTEGER,
    default_capacity INTEGER,
    set_concurrency INTEGER,
    set_capacity INTEGER,
    paused_at INTEGER,
    pause_reason TEXT
) STRICT, WITHOUT ROWID;

-- The last number that was given out to a task of an origin, be it there or not.
CREATE TABLE origins (
    origin TEXT PRIMARY KEY,
    given INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- origin_number stands here and not in specs, where a new column would lie behind the payload.
ALTER TABLE tasks ADD COLUMN origin_number INTEGER;
ALTER TABLE tasks ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;

UPDATE tasks SET origin_number = counted.place
FROM (SELECT number, row_number() OVER (PARTITION BY origin ORDER BY number) AS place
    FROM specs WHERE origin IS NOT NULL) AS counted
WHERE counted.number = tasks.number;

INSERT INTO origins (origin, given)
SELECT origin, count(*) FROM specs WHERE origin IS NOT NULL GROUP BY origin;

CREATE INDEX tasks_by_origin_number ON tasks (origin_number) WHERE origin_number IS NOT NULL;

-- The tasks of an origin, by number: an index ends in the number of its row.
CREATE INDEX specs_by_origin ON specs (origin) WHERE origin IS NOT NULL;

-- What is new comes last: readers know the columns before by their place.
DROP VIEW whole_tasks;
CREATE VIEW whole_tasks AS
SELECT
    t.number, t.id, lanes.kind, lanes.queue, t.state, s.created_at, t.run_at, t.reason, t.priority,
    s.key, s.origin, s.fingerprint, s.name, s.description, s.tags,
    t.attempt, t.charged, s.max_attempts, t.lost, t.interrupted, t.held, t.solo, s.retry, s.recovery, s.timeout_s,
    t.grace_s, t.token, t.started_at, t.finished_at, t.run_s,
    t.cancel_requested_at, t.cancel_reason, t.cancel_outcome, t.progress, e.error, t.version,
    t.ordinal, t.lane, t.ready, t.size_bytes, t.ending_bytes, t.origin_number, t.hidden
FROM tasks AS t
CROSS JOIN specs AS s ON s.number = t.number
CROSS JOIN lanes ON lanes.lane = t.lane
LEFT JOIN endings AS e ON e.number = t.number;
