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

-- Until now all that was held were suspects.
UPDATE headcount.tally SET suspects = held WHERE held IS NOT NULL;
UPDATE headcount.queue_state SET suspects = held WHERE held <> 0;

-- Jobs of paused kinds, kept out of the way of claims.
CREATE INDEX held_paused ON headcount.held (kind, id) WHERE reason = 'paused';

-- The counters as they stood at the end of a minute in which they changed: rates, and later replay, are differences.
-- A row is written when the counters change again: until then queue_state has them.
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

-- Every job in one shape, as before, now with its key. Columns may only be appended.
CREATE OR REPLACE VIEW headcount.jobs AS
SELECT j.id, j.queue, j.kind, 'queued'::text AS state, j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at,
       (SELECT t.started_at FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1) AS started_at,
       NULL::timestamptz AS finished_at,
       (SELECT t.worker FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1) AS worker,
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0))
           AS payload,
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1) AS error,
       NULL::text AS output, NULL::text AS reason, NULL::timestamptz AS expires_at, j.extra ->> 'key' AS key
FROM headcount.ready j
UNION ALL
SELECT j.id, j.queue, j.kind, 'queued', j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at,
       (SELECT t.started_at FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL,
       (SELECT t.worker FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1),
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL, j.reason, NULL,
       j.extra ->> 'key'
FROM headcount.held j
UNION ALL
-- run_at of a waiting job is the end of its wait.
SELECT j.id, j.queue, j.kind, 'scheduled', j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.due_at, j.ready_at, j.enqueued_at,
       (SELECT t.started_at FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL,
       (SELECT t.worker FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1),
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       coalesce(j.note, (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1)),
       NULL, NULL, NULL, j.extra ->> 'key'
FROM headcount.later j
UNION ALL
-- attempt of a running job is the number of the one under way.
SELECT j.id, j.queue, j.kind, 'running', j.priority, (j.attempt + 1)::smallint, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at, j.started_at, NULL,
       (SELECT w.label FROM headcount.worker w WHERE w.boot = j.boot),
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL, NULL, NULL,
       j.extra ->> 'key'
FROM headcount.running j
UNION ALL
SELECT j.id, j.queue, j.kind, j.state, j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at, j.started_at, j.finished_at, j.worker,
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta, j.error,
       coalesce(j.output, (SELECT b.content FROM headcount.body b WHERE b.job_id = j.id AND b.part = 1)),
       NULL, j.expires_at, j.extra ->> 'key'
FROM headcount.finished j;
