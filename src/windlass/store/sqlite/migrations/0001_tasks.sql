-- Instants are microseconds since 1970, UTC. Ids and tokens are their 16 bytes.

-- What a claim walks: the ready tasks of one queue and kind.
CREATE TABLE lanes (
    lane INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (queue, kind)
) STRICT;

-- The hot table: what changes while a task lives, and no more.
-- ready: queued, not held, and its time has come. ordinal: how many events it has.
-- retries: how often it was led out of an ended state.
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    lane INTEGER NOT NULL REFERENCES lanes (lane),
    solo INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    ready INTEGER NOT NULL,
    held INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    priority INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    charged INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0,
    retries INTEGER NOT NULL DEFAULT 0,
    ordinal INTEGER NOT NULL DEFAULT 1,
    version INTEGER NOT NULL DEFAULT 1,
    token BLOB,
    started_at INTEGER,
    finished_at INTEGER,
    run_s REAL NOT NULL DEFAULT 0,
    grace_s REAL NOT NULL,
    cancel_requested_at INTEGER,
    cancel_reason TEXT,
    cancel_outcome TEXT,
    progress TEXT,
    -- One CASE, for speed: an IN over texts here costs each update more than the update itself.
    CHECK (CASE state
        WHEN 'queued' THEN token IS NULL AND finished_at IS NULL AND NOT (ready AND held)
        WHEN 'running' THEN token IS NOT NULL AND finished_at IS NULL AND NOT ready AND NOT held
        WHEN 'succeeded' THEN token IS NULL AND finished_at IS NOT NULL AND NOT ready AND NOT held
        WHEN 'failed' THEN token IS NULL AND finished_at IS NOT NULL AND NOT ready AND NOT held
        WHEN 'cancelled' THEN token IS NULL AND finished_at IS NOT NULL AND NOT ready AND NOT held
        ELSE 0
    END)
) STRICT;

CREATE INDEX ready_tasks ON tasks (lane, solo, priority DESC, run_at, number) WHERE ready = 1;
CREATE INDEX scheduled_tasks ON tasks (run_at, number) WHERE state = 'queued' AND ready = 0 AND held = 0;
CREATE INDEX running_tasks ON tasks (number) WHERE state = 'running';

CREATE TRIGGER ended_tasks_stay_ended
AFTER UPDATE OF state ON tasks
WHEN old.finished_at IS NOT NULL
    AND new.state <> old.state
    AND NOT (new.state = 'queued' AND new.retries = old.retries + 1)
BEGIN
    SELECT raise(ABORT, 'an ended task is left by a retry alone');
END;

-- What a task was submitted with; never changes. kind again, because keys are unique within it.
-- The payload comes last, so that reading the rest does not read it.
CREATE TABLE specs (
    number INTEGER PRIMARY KEY REFERENCES tasks (number),
    kind TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    key TEXT,
    origin TEXT,
    fingerprint BLOB,
    name TEXT,
    description TEXT,
    tags TEXT,
    max_attempts INTEGER NOT NULL,
    retry TEXT NOT NULL,
    recovery TEXT NOT NULL,
    timeout_s REAL,
    payload BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX specs_by_key ON specs (key, kind, ifnull(origin, '')) WHERE key IS NOT NULL;

-- The last error of a task, or its result.
CREATE TABLE endings (
    number INTEGER PRIMARY KEY REFERENCES tasks (number),
    error TEXT,
    result BLOB
) STRICT;

CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY REFERENCES tasks (number),
    checkpoint BLOB NOT NULL
) STRICT;

CREATE TABLE files (
    number INTEGER NOT NULL REFERENCES tasks (number),
    idx INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    url TEXT,
    received_bytes INTEGER NOT NULL,
    size_bytes INTEGER,
    digest TEXT,
    verified_by TEXT,
    resumed_bytes INTEGER NOT NULL,
    seconds REAL NOT NULL,
    error TEXT,
    PRIMARY KEY (number, idx)
) STRICT, WITHOUT ROWID;

-- The history of all tasks, only ever appended to.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL REFERENCES tasks (number),
    ordinal INTEGER NOT NULL,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT,
    token BLOB,
    data TEXT
) STRICT;

CREATE UNIQUE INDEX events_by_task ON events (number, ordinal);

-- The server that owns the store's leases: the last one that enrolled.
CREATE TABLE owner (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id BLOB NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL
) STRICT;

-- Worker processes, of any server, that have not been seen gone.
CREATE TABLE workers (
    recorded INTEGER PRIMARY KEY,
    server BLOB NOT NULL,
    pid INTEGER NOT NULL,
    started INTEGER NOT NULL,
    boot TEXT NOT NULL,
    UNIQUE (server, pid, started, boot)
) STRICT;

-- Kinds as workers announced them; kept rises with every announcement that changed something.
CREATE TABLE kinds (
    kept INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    app TEXT NOT NULL,
    version TEXT NOT NULL,
    definition TEXT NOT NULL,
    UNIQUE (name, app, version)
) STRICT;

-- A task as everybody sees it. CROSS JOIN: every reader finds its tasks first and the rest by their number.
CREATE VIEW whole_tasks AS
SELECT
    t.number, t.id, lanes.kind, lanes.queue, t.state, s.created_at, t.run_at, t.reason, t.priority,
    s.key, s.origin, s.fingerprint, s.name, s.description, s.tags,
    t.attempt, t.charged, s.max_attempts, t.lost, t.interrupted, t.held, t.solo, s.retry, s.recovery, s.timeout_s,
    t.grace_s, t.token, t.started_at, t.finished_at, t.run_s,
    t.cancel_requested_at, t.cancel_reason, t.cancel_outcome, t.progress, e.error, t.version,
    t.ordinal, t.lane, t.ready
FROM tasks AS t
CROSS JOIN specs AS s ON s.number = t.number
CROSS JOIN lanes ON lanes.lane = t.lane
LEFT JOIN endings AS e ON e.number = t.number;

-- Events as everybody sees them.
CREATE VIEW whole_events AS
SELECT
    events.seq, events.number, tasks.id, lanes.kind, events.ordinal, events.at, events.name, events.state,
    events.attempt, events.reason, events.token, events.data
FROM events
CROSS JOIN tasks ON tasks.number = events.number
CROSS JOIN lanes ON lanes.lane = tasks.lane;
