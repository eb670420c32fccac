-- What keeps a store small and counted: sizes, counters, removal with tombstones, replays. And keys to the API.

-- size_bytes: payload and ending; ending_bytes: of these the result or the last error.
ALTER TABLE tasks ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN ending_bytes INTEGER NOT NULL DEFAULT 0;

UPDATE tasks SET ending_bytes = octet_length(ifnull(e.error, '')) + octet_length(ifnull(e.result, x''))
FROM endings AS e WHERE e.number = tasks.number;
UPDATE tasks SET size_bytes = ending_bytes + octet_length(s.payload)
FROM specs AS s WHERE s.number = tasks.number;

-- How many tasks of a lane are in a state, and their sizes: changed with them, in one transaction.
CREATE TABLE counters (
    lane INTEGER NOT NULL REFERENCES lanes (lane),
    state TEXT NOT NULL,
    tasks INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (lane, state)
) STRICT, WITHOUT ROWID;

INSERT INTO counters (lane, state, tasks, size_bytes)
SELECT lane, state, count(*), sum(size_bytes) FROM tasks GROUP BY lane, state;

-- Ended tasks by the time of their end: what goes first, and a list's order.
CREATE INDEX ended_tasks ON tasks (state, finished_at, number) WHERE finished_at IS NOT NULL;

CREATE INDEX specs_by_name ON specs (name) WHERE name IS NOT NULL;

CREATE TRIGGER unfinished_tasks_stay
BEFORE DELETE ON tasks
WHEN old.finished_at IS NULL
BEGIN
    SELECT raise(ABORT, 'a task that has not ended cannot be deleted');
END;

CREATE TRIGGER specs_of_unfinished_tasks_stay
BEFORE DELETE ON specs
WHEN EXISTS (SELECT 1 FROM tasks WHERE number = old.number AND finished_at IS NULL)
BEGIN
    SELECT raise(ABORT, 'the spec of a task that has not ended cannot be deleted');
END;

CREATE TRIGGER events_of_unfinished_tasks_stay
BEFORE DELETE ON events
WHEN EXISTS (SELECT 1 FROM tasks WHERE number = old.number AND finished_at IS NULL)
BEGIN
    SELECT raise(ABORT, 'an event of a task that has not ended cannot be deleted');
END;

-- What is left of a deleted task. swept: its files are gone from the disk too.
CREATE TABLE tombstones (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    deleted_at INTEGER NOT NULL,
    swept INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX tombstones_by_id ON tombstones (id, number);
CREATE INDEX unswept_tombstones ON tombstones (number) WHERE swept = 0;
CREATE INDEX swept_tombstones ON tombstones (deleted_at, number) WHERE swept = 1;

-- What was answered to requests with an Idempotency-Key. The answer comes last, so that finding one does not read it.
CREATE TABLE replays (
    one INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    until INTEGER NOT NULL,
    answer BLOB NOT NULL,
    UNIQUE (scope, key)
) STRICT;

CREATE INDEX replays_by_time ON replays (until);

-- Who may call. digest: the SHA-256 of the secret; scopes: a JSON array.
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    digest BLOB NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    used_at INTEGER
) STRICT;

-- The sizes come last: readers know the columns before them by their place.
DROP VIEW whole_tasks;
CREATE VIEW whole_tasks AS
SELECT
    t.number, t.id, lanes.kind, lanes.queue, t.state, s.created_at, t.run_at, t.reason, t.priority,
    s.key, s.origin, s.fingerprint, s.name, s.description, s.tags,
    t.attempt, t.charged, s.max_attempts, t.lost, t.interrupted, t.held, t.solo, s.retry, s.recovery, s.timeout_s,
    t.grace_s, t.token, t.started_at, t.finished_at, t.run_s,
    t.cancel_requested_at, t.cancel_reason, t.cancel_outcome, t.progress, e.error, t.version,
    t.ordinal, t.lane, t.ready, t.size_bytes, t.ending_bytes
FROM tasks AS t
CROSS JOIN specs AS s ON s.number = t.number
CROSS JOIN lanes ON lanes.lane = t.lane
LEFT JOIN endings AS e ON e.number = t.number;
