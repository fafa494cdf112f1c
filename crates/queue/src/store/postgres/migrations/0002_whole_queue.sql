-- Coalescing, settings for kinds, waking, and the recent past.
--
-- A job that coalesces carries its key in `extra` ({"key": "…", "scope": "…"}), not in a column: the release before this
-- one copies `extra` in every move and would drop a column that it does not know. That release does not let go of keys
-- when it ends a job; maintenance does.

-- Who holds a key: the primary key is the mutex, so that jobs without one pay nothing. The row is inserted with ON
-- CONFLICT DO NOTHING and never locked by an application, so that no worker that ends the holder waits for one.
CREATE TABLE headcount.coalesce (
    queue  text   COLLATE "C" NOT NULL,
    key    text   COLLATE "C" NOT NULL,
    job_id bigint NOT NULL,
    scope  text   COLLATE "C" NOT NULL CHECK (scope IN ('pending', 'unfinished', 'unfinished-or-failed')),
    PRIMARY KEY (queue, key)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0,
        vacuum_truncate = false);

-- What is set for a kind. A kind without a row has the defaults.
CREATE TABLE headcount.kind (
    kind              text    COLLATE "C" PRIMARY KEY,
    paused            boolean NOT NULL DEFAULT false,
    retains           boolean NOT NULL DEFAULT false, -- whether the next two are set
    keep_completed_ms bigint  NOT NULL DEFAULT 0,
    keep_failed_ms    bigint,                         -- NULL: until someone retries or deletes them
    extra             json
);

CREATE INDEX kind_paused ON headcount.kind (kind) WHERE paused;

-- asleep: the workers bound so sleep, and whoever enqueues tells them. A binding to any queue has its row under '*', one
-- to a prefix under 'mail.*', which are no queues' names.
ALTER TABLE headcount.queue
    ADD COLUMN asleep            boolean NOT NULL DEFAULT false,
    ADD COLUMN retains           boolean NOT NULL DEFAULT false,
    ADD COLUMN keep_completed_ms bigint  NOT NULL DEFAULT 0,
    ADD COLUMN keep_failed_ms    bigint;

CREATE INDEX queue_asleep ON headcount.queue (queue) WHERE asleep;

-- Of the held those that any worker takes once it holds nothing else: only they are demand.
ALTER TABLE headcount.tally ADD COLUMN suspects integer;
ALTER TABLE headcount.queue_state ADD COLUMN suspects bigint NOT NULL DEFAULT 0;

-- The counters as they stood at the end of a minute in which they changed: rates, and later replay, are differences.
CREATE TABLE headcount.history (
    queue    text        COLLATE "C" NOT NULL,
    priority smallint    NOT NULL,
    kind     text        COLLATE "C" NOT NULL,
    at       timestamptz NOT NULL, -- the minute's beginning
    arrived  bigint      NOT NULL,
    deferred bigint      NOT NULL,
    promoted bigint      NOT NULL,
    returned bigint      NOT NULL,
    started  bigint      NOT NULL,
    late     bigint      NOT NULL,
    done     bigint      NOT NULL,
    errored  bigint      NOT NULL,
    run_ms   bigint      NOT NULL,
    delays   bigint[]    NOT NULL,
    PRIMARY KEY (queue, priority, kind, at)
);

CREATE INDEX history_at ON headcount.history (at);

INSERT INTO headcount.duty (name) VALUES ('release');
