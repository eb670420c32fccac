-- Everything lies in a schema of its own, so that a database may be shared with others.
-- Names, keys and ids sort by their bytes, as they do in every other store.
CREATE SCHEMA IF NOT EXISTS windlass;

-- What a claim walks: the ready tasks of one queue, kind and priority that may share a worker, or must not.
CREATE TABLE windlass.lanes (
    lane integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    priority integer NOT NULL,
    solo boolean NOT NULL,
    UNIQUE (queue, kind, priority, solo)
);

CREATE SEQUENCE windlass.numbers AS bigint;

-- The hot table: tasks that have not ended, and of them what changes.
-- ready: queued, not held, and its time has come. ordinal: how many events it has.
-- retries: how often it was led out of an ended state. server: who holds its lease.
-- size_bytes: payload and ending; ending_bytes: of these the last error.
CREATE TABLE windlass.tasks (
    number bigint PRIMARY KEY,
    lane integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    ready boolean NOT NULL,
    held boolean NOT NULL DEFAULT false,
    reason text COLLATE "C",
    run_at timestamptz NOT NULL,
    attempt integer NOT NULL DEFAULT 0,
    charged integer NOT NULL DEFAULT 0,
    lost integer NOT NULL DEFAULT 0,
    interrupted integer NOT NULL DEFAULT 0,
    retries integer NOT NULL DEFAULT 0,
    ordinal integer NOT NULL DEFAULT 1,
    version integer NOT NULL DEFAULT 1,
    token uuid,
    server uuid,
    started_at timestamptz,
    run_s double precision NOT NULL DEFAULT 0,
    grace_s double precision NOT NULL,
    cancel_requested_at timestamptz,
    cancel_reason text,
    cancel_outcome text COLLATE "C",
    hidden boolean NOT NULL DEFAULT false,
    size_bytes bigint NOT NULL,
    ending_bytes bigint NOT NULL DEFAULT 0,
    progress text,
    error text,
    CHECK (CASE state
        WHEN 'queued' THEN token IS NULL AND server IS NULL AND NOT (ready AND held)
        WHEN 'running' THEN token IS NOT NULL AND NOT ready AND NOT held
        ELSE false
    END)
) WITH (
    fillfactor = 75,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX ready_tasks ON windlass.tasks (lane, run_at, number) WHERE ready;
CREATE INDEX scheduled_tasks ON windlass.tasks (run_at, number) WHERE state = 'queued' AND NOT ready AND NOT held;
CREATE INDEX running_tasks ON windlass.tasks (number) WHERE state = 'running';
CREATE INDEX cancelling_tasks ON windlass.tasks (server, number)
WHERE state = 'running' AND cancel_requested_at IS NOT NULL;

-- What a task was submitted with. The payload comes last, so that reading the rest does not read it.
CREATE TABLE windlass.specs (
    number bigint PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    kind text COLLATE "C" NOT NULL,
    created_at timestamptz NOT NULL,
    key text COLLATE "C",
    origin text COLLATE "C",
    origin_number integer,
    fingerprint bytea,
    name text COLLATE "C",
    description text,
    tags jsonb,
    max_attempts integer NOT NULL,
    retry text NOT NULL,
    recovery text COLLATE "C" NOT NULL,
    timeout_s double precision,
    payload bytea NOT NULL
);

CREATE UNIQUE INDEX specs_by_key ON windlass.specs (key, kind, coalesce(origin, '')) WHERE key IS NOT NULL;
CREATE INDEX specs_by_name ON windlass.specs (name) WHERE name IS NOT NULL;
CREATE INDEX specs_by_origin ON windlass.specs (origin, number) WHERE origin IS NOT NULL;
CREATE UNIQUE INDEX specs_by_origin_number ON windlass.specs (origin, origin_number) WHERE origin IS NOT NULL;

-- Ended tasks, out of the way of those that live, by the day of their end: a day that is empty is dropped.
CREATE TABLE windlass.ended (
    number bigint NOT NULL,
    lane integer NOT NULL,
    state text COLLATE "C" NOT NULL CHECK (state IN ('succeeded', 'failed', 'cancelled')),
    reason text COLLATE "C",
    run_at timestamptz NOT NULL,
    attempt integer NOT NULL,
    charged integer NOT NULL,
    lost integer NOT NULL,
    interrupted integer NOT NULL,
    retries integer NOT NULL,
    ordinal integer NOT NULL,
    version integer NOT NULL,
    started_at timestamptz,
    finished_at timestamptz NOT NULL,
    run_s double precision NOT NULL,
    grace_s double precision NOT NULL,
    cancel_requested_at timestamptz,
    cancel_reason text,
    cancel_outcome text COLLATE "C",
    hidden boolean NOT NULL,
    size_bytes bigint NOT NULL,
    ending_bytes bigint NOT NULL,
    progress text,
    error text,
    result bytea,
    PRIMARY KEY (number, finished_at)
) PARTITION BY RANGE (finished_at);

CREATE INDEX ended_tasks ON windlass.ended (state, finished_at, number);

-- Looked at once for each statement, not for each row.
CREATE FUNCTION windlass.unfinished_tasks_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone WHERE NOT EXISTS (SELECT FROM windlass.ended WHERE ended.number = gone.number)) THEN
        RAISE EXCEPTION 'a task that has not ended cannot be deleted';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER unfinished_tasks_stay AFTER DELETE ON windlass.tasks
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION windlass.unfinished_tasks_stay();

CREATE FUNCTION windlass.ended_tasks_stay_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF EXISTS (SELECT FROM was LEFT JOIN now ON (now.number, now.state, now.finished_at)
                = (was.number, was.state, was.finished_at) WHERE now.number IS NULL) THEN
            RAISE EXCEPTION 'an ended task is left by a retry alone';
        END IF;
    ELSIF EXISTS (SELECT FROM was WHERE
            NOT EXISTS (SELECT FROM windlass.tasks WHERE tasks.number = was.number AND tasks.retries = was.retries + 1)
            AND NOT EXISTS (SELECT FROM windlass.tombstones WHERE tombstones.number = was.number)) THEN
        RAISE EXCEPTION 'an ended task is left by a retry alone';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER ended_tasks_stay_ended AFTER UPDATE ON windlass.ended
REFERENCING OLD TABLE AS was NEW TABLE AS now FOR EACH STATEMENT EXECUTE FUNCTION windlass.ended_tasks_stay_ended();
CREATE TRIGGER ended_tasks_stay AFTER DELETE ON windlass.ended
REFERENCING OLD TABLE AS was FOR EACH STATEMENT EXECUTE FUNCTION windlass.ended_tasks_stay_ended();

CREATE TABLE windlass.checkpoints (
    number bigint PRIMARY KEY,
    checkpoint bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE windlass.files (
    number bigint NOT NULL,
    idx integer NOT NULL,
    name text NOT NULL,
    state text COLLATE "C" NOT NULL,
    url text,
    received_bytes bigint NOT NULL,
    size_bytes bigint,
    digest text,
    verified_by text,
    resumed_bytes bigint NOT NULL,
    seconds double precision NOT NULL,
    error text,
    PRIMARY KEY (number, idx)
);

-- Who takes a number from it holds a lock on it until the transaction ends: so a reader of the log knows who may still
-- append an event before those it sees.
CREATE SEQUENCE windlass.seqs AS bigint;

-- The history of all tasks, only ever appended to.
CREATE TABLE windlass.events (
    seq bigint PRIMARY KEY DEFAULT nextval('windlass.seqs'),
    number bigint NOT NULL,
    ordinal integer NOT NULL,
    at timestamptz NOT NULL,
    name text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    attempt integer NOT NULL,
    reason text COLLATE "C",
    token uuid,
    data text
);
CREATE UNIQUE INDEX events_by_task ON windlass.events (number, ordinal);

-- How many tasks of a lane are in a state, and their sizes, as sums of what is inserted here with each change: no row
-- is waited for. They are folded now and then.
CREATE TABLE windlass.counts (
    lane integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    tasks bigint NOT NULL,
    size_bytes bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX counts_by_lane ON windlass.counts (lane);

-- What is left of a deleted task. swept: its files are gone from the disk too.
CREATE TABLE windlass.tombstones (
    number bigint PRIMARY KEY,
    id uuid NOT NULL,
    deleted_at timestamptz NOT NULL,
    swept boolean NOT NULL DEFAULT false
);
CREATE INDEX tombstones_by_id ON windlass.tombstones (id, number);
CREATE INDEX unswept_tombstones ON windlass.tombstones (number) WHERE NOT swept;
CREATE INDEX swept_tombstones ON windlass.tombstones (deleted_at, number) WHERE swept;

-- What was answered to requests with an Idempotency-Key.
CREATE TABLE windlass.replays (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    until timestamptz NOT NULL,
    answer bytea NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX replays_by_time ON windlass.replays (until);

-- What the settings say of a queue, what an operator has set, and since when and why it is paused. A turn that uses the
-- room under a limit locks the row.
CREATE TABLE windlass.queues (
    name text COLLATE "C" PRIMARY KEY,
    default_concurrency integer,
    default_capacity integer,
    set_concurrency integer,
    set_capacity integer,
    paused_at timestamptz,
    pause_reason text
);

-- The last number that was given out to a task of an origin, be it there or not.
CREATE TABLE windlass.origins (
    origin text COLLATE "C" PRIMARY KEY,
    given integer NOT NULL
);

-- Who may call. digest: the SHA-256 of the secret.
CREATE TABLE windlass.keys (
    id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    digest bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL,
    revoked_at timestamptz,
    used_at timestamptz
);

-- Leases, by the database's clock alone: beat_at is the last renewal, ended_at when it ran out, was given up or taken.
CREATE TABLE windlass.servers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    home text COLLATE "C" NOT NULL,
    started_at timestamptz NOT NULL,
    ttl_s double precision NOT NULL,
    beat_at timestamptz NOT NULL,
    ended_at timestamptz,
    kinds text[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);

-- The last turn of each open store, by a name of its own: how a store learns what has become of a commit whose answer
-- was lost.
CREATE TABLE windlass.turns (
    writer uuid PRIMARY KEY,
    turn uuid NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Worker processes, of any server, that have not been seen gone.
CREATE TABLE windlass.workers (
    recorded bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    home text COLLATE "C" NOT NULL,
    server uuid NOT NULL,
    pid integer NOT NULL,
    started bigint NOT NULL,
    boot text NOT NULL,
    UNIQUE (server, pid, started, boot)
);

-- Kinds as workers announced them; kept rises with every announcement that changed something.
CREATE SEQUENCE windlass.kinds_kept AS bigint;
CREATE TABLE windlass.kinds (
    name text COLLATE "C" NOT NULL,
    app text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    kept bigint NOT NULL,
    definition text NOT NULL,
    PRIMARY KEY (name, app, version)
);
