-- A job is one row in exactly one of ready, running, later, held and finished, and the table is its state. The tables
-- share their first columns, in one order, so that a move is a DELETE … RETURNING and an INSERT of the same names.
--
-- text is COLLATE "C": bytes compare faster, and the private queues ("run:…") are one range of the index.
-- Payloads are json and not jsonb: kept byte for byte, and 1.6 times as cheap to insert.

-- Ids and places in a queue come from one sequence: a job enqueued to run at once has seq = id.
CREATE SEQUENCE headcount.place AS bigint;

-- What may be claimed now, and nothing else. Rows are inserted and deleted, never updated.
CREATE TABLE headcount.ready (
    id            bigint      PRIMARY KEY,
    queue         text        COLLATE "C" NOT NULL,
    priority      smallint    NOT NULL,
    seq           bigint      NOT NULL,
    kind          text        COLLATE "C" NOT NULL,
    payload       json,                 -- NULL: it lies in body, part 0
    payload_codec smallint,             -- NULL: plain
    attempt       smallint    NOT NULL, -- attempts spent
    max_attempts  smallint    NOT NULL,
    interruptions smallint    NOT NULL,
    deaths        smallint    NOT NULL,
    timeout_ms    bigint,
    max_run_ms    bigint,
    options       json,                 -- backoff and retention, where the job has its own
    enqueued_at   timestamptz NOT NULL,
    run_at        timestamptz NOT NULL, -- not before
    ready_at      timestamptz NOT NULL, -- when it last became claimable
    meta          json,
    extra         json,                 -- of newer releases: every move copies it untouched
    CHECK (attempt >= 0 AND max_attempts > 0 AND interruptions >= 0 AND deaths >= 0)
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2,
    -- Truncating the empty end takes an exclusive lock, for which every claim would wait.
    vacuum_truncate = false
);

-- The order of claims within a queue and priority (a lane).
CREATE UNIQUE INDEX ready_lane ON headcount.ready (queue, priority, seq);

-- What workers hold. (boot, claim) is the token of the attempt.
CREATE TABLE headcount.running (
    id            bigint      PRIMARY KEY,
    queue         text        COLLATE "C" NOT NULL,
    priority      smallint    NOT NULL,
    seq           bigint      NOT NULL,
    kind          text        COLLATE "C" NOT NULL,
    payload       json,
    payload_codec smallint,
    attempt       smallint    NOT NULL,
    max_attempts  smallint    NOT NULL,
    interruptions smallint    NOT NULL,
    deaths        smallint    NOT NULL,
    timeout_ms    bigint,
    max_run_ms    bigint,
    options       json,
    enqueued_at   timestamptz NOT NULL,
    run_at        timestamptz NOT NULL,
    ready_at      timestamptz NOT NULL,
    meta          json,
    extra         json,
    boot          bigint      NOT NULL,
    claim         bigint      NOT NULL,
    started_at    timestamptz NOT NULL,
    cancel_at     timestamptz,          -- when someone asked for its end
    CHECK (attempt >= 0 AND max_attempts > 0 AND interruptions >= 0 AND deaths >= 0),
    CHECK (boot > 0 AND claim > 0)
) WITH (
    fillfactor = 90, -- cancel_at is set in place
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2,
    vacuum_truncate = false
);

CREATE INDEX running_token ON headcount.running (boot, claim);

-- Not due yet: a delay, a retry's wait, a snooze.
CREATE TABLE headcount.later (
    id            bigint      PRIMARY KEY,
    queue         text        COLLATE "C" NOT NULL,
    priority      smallint    NOT NULL,
    seq           bigint      NOT NULL,
    kind          text        COLLATE "C" NOT NULL,
    payload       json,
    payload_codec smallint,
    attempt       smallint    NOT NULL,
    max_attempts  smallint    NOT NULL,
    interruptions smallint    NOT NULL,
    deaths        smallint    NOT NULL,
    timeout_ms    bigint,
    max_run_ms    bigint,
    options       json,
    enqueued_at   timestamptz NOT NULL,
    run_at        timestamptz NOT NULL,
    ready_at      timestamptz,          -- NULL: it has not been claimable yet
    meta          json,
    extra         json,
    due_at        timestamptz NOT NULL, -- run_at, or the end of a retry's wait or a snooze
    note          text,                 -- why it waits
    CHECK (attempt >= 0 AND max_attempts > 0 AND interruptions >= 0 AND deaths >= 0)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);

CREATE INDEX later_due ON headcount.later (due_at, id);
CREATE INDEX later_queue ON headcount.later (queue, due_at);

-- Queued, but something holds it back.
CREATE TABLE headcount.held (
    id            bigint      PRIMARY KEY,
    queue         text        COLLATE "C" NOT NULL,
    priority      smallint    NOT NULL,
    seq           bigint      NOT NULL,
    kind          text        COLLATE "C" NOT NULL,
    payload       json,
    payload_codec smallint,
    attempt       smallint    NOT NULL,
    max_attempts  smallint    NOT NULL,
    interruptions smallint    NOT NULL,
    deaths        smallint    NOT NULL,
    timeout_ms    bigint,
    max_run_ms    bigint,
    options       json,
    enqueued_at   timestamptz NOT NULL,
    run_at        timestamptz NOT NULL,
    ready_at      timestamptz NOT NULL,
    meta          json,
    extra         json,
    reason        text        COLLATE "C" NOT NULL, -- suspect: its process died under it; it runs only alone
    key           text        COLLATE "C",
    CHECK (attempt >= 0 AND max_attempts > 0 AND interruptions >= 0 AND deaths >= 0)
) WITH (vacuum_truncate = false);

CREATE INDEX held_suspect ON headcount.held (priority DESC, seq) INCLUDE (queue) WHERE reason = 'suspect';

-- Over. Completed jobs are here only where their retention keeps them.
CREATE TABLE headcount.finished (
    id            bigint      PRIMARY KEY,
    queue         text        COLLATE "C" NOT NULL,
    priority      smallint    NOT NULL,
    seq           bigint      NOT NULL,
    kind          text        COLLATE "C" NOT NULL,
    payload       json,
    payload_codec smallint,
    attempt       smallint    NOT NULL,
    max_attempts  smallint    NOT NULL,
    interruptions smallint    NOT NULL,
    deaths        smallint    NOT NULL,
    timeout_ms    bigint,
    max_run_ms    bigint,
    options       json,
    enqueued_at   timestamptz NOT NULL,
    run_at        timestamptz NOT NULL,
    ready_at      timestamptz,
    meta          json,
    extra         json,
    state         text        COLLATE "C" NOT NULL,
    started_at    timestamptz,          -- NULL: cancelled before it ran
    finished_at   timestamptz NOT NULL,
    worker        text,
    error         text,
    output        text,                 -- a long one lies in body, part 1
    expires_at    timestamptz,          -- NULL: until someone retries or deletes it
    CHECK (attempt >= 0 AND max_attempts > 0 AND interruptions >= 0 AND deaths >= 0),
    CHECK (state IN ('completed', 'failed', 'cancelled')),
    CHECK (state <> 'completed' OR (error IS NULL AND started_at IS NOT NULL AND expires_at IS NOT NULL)),
    CHECK (state <> 'failed' OR (error IS NOT NULL AND started_at IS NOT NULL)),
    CHECK (state = 'completed' OR output IS NULL)
);

CREATE INDEX finished_expires ON headcount.finished (expires_at) WHERE expires_at IS NOT NULL;

-- Long payloads (part 0) and outputs (part 1): written once, never moved, deleted with their job.
CREATE TABLE headcount.body (
    job_id  bigint   NOT NULL,
    part    smallint NOT NULL,
    content text     NOT NULL,
    PRIMARY KEY (job_id, part)
);

-- Attempts that did not complete.
CREATE TABLE headcount.attempt (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id     bigint      NOT NULL,
    attempt    smallint    NOT NULL,
    outcome    text        COLLATE "C" NOT NULL CHECK (outcome IN ('failed', 'interrupted', 'died', 'cancelled')),
    started_at timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    worker     text        NOT NULL,
    error      text        NOT NULL
);

CREATE INDEX attempt_job ON headcount.attempt (job_id, id);

-- A row per worker process, kept while it owns jobs. A claim locks it FOR SHARE, so that a drain's UPDATE waits for
-- claims in flight.
CREATE TABLE headcount.worker (
    boot        bigint      PRIMARY KEY CHECK (boot > 0),
    instance    text,
    host        text        NOT NULL,
    pid         bigint      NOT NULL,
    label       text        NOT NULL GENERATED ALWAYS AS (coalesce(instance, host || ':' || pid::text)) STORED,
    pool        text,
    queues      text[],                 -- NULL: any
    kinds       text[]      NOT NULL,
    slots       integer     NOT NULL,
    state       text        COLLATE "C" NOT NULL CHECK (state IN ('active', 'draining', 'leaving', 'dead')),
    busy        integer     NOT NULL DEFAULT 0,
    started     bigint[]    NOT NULL DEFAULT '{}', -- jobs whose handler had started at the last beat
    drain_epoch bigint      NOT NULL DEFAULT 0,
    drained_by  text,
    drain_until timestamptz,            -- NULL: the drain has no end
    started_at  timestamptz NOT NULL,
    beat_at     timestamptz NOT NULL,
    extra       json
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 500);

-- What is set for a queue. A queue without a row has the defaults.
CREATE TABLE headcount.queue (
    queue           text    COLLATE "C" PRIMARY KEY,
    paused          boolean NOT NULL DEFAULT false,
    start_within_ms bigint  NOT NULL DEFAULT 60000, -- a start later than this after ready_at is late
    recalls         bigint  NOT NULL DEFAULT 0,     -- raised when jobs are put back into their place: claimers sweep
    extra           json
) WITH (fillfactor = 50);

CREATE INDEX queue_paused ON headcount.queue (queue) WHERE paused;

-- Work that has one doer at a time: whoever locks the row.
CREATE TABLE headcount.duty (
    name text COLLATE "C" PRIMARY KEY
);

INSERT INTO headcount.duty (name) VALUES ('promote'), ('fold'), ('purge');

-- Deltas of the counters, appended by the statement that moves the rows. NULL says 0 and takes no room.
CREATE TABLE headcount.tally (
    id           bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue        text     COLLATE "C" NOT NULL,
    priority     smallint NOT NULL,
    kind         text     COLLATE "C" NOT NULL,
    -- How many more stand where
    ready        integer,
    scheduled    integer,
    held         integer,
    running      integer,
    completed    integer,
    failed       integer,
    cancelled    integer,
    -- What happened
    arrived      integer,
    deferred     integer,
    promoted     integer,
    returned     integer,
    started      integer,
    late         integer,
    done         integer,
    errored      integer,
    run_ms       bigint,
    delay_bucket smallint  -- of the started: 2^bucket ms
) WITH (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.5,
    vacuum_truncate = false
);

-- The lanes there have been, a kind's share each.
CREATE TABLE headcount.lane (
    queue    text     COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    kind     text     COLLATE "C" NOT NULL,
    PRIMARY KEY (queue, priority, kind)
);

-- The counters as folded. Appended, the newest version counts: updated in place it would slow down under an old
-- transaction (45 ms against 1 ms after half an hour).
CREATE TABLE headcount.queue_state (
    queue     text        COLLATE "C" NOT NULL,
    priority  smallint    NOT NULL,
    kind      text        COLLATE "C" NOT NULL,
    version   bigint      GENERATED ALWAYS AS IDENTITY,
    at        timestamptz NOT NULL,
    ready     bigint      NOT NULL,
    scheduled bigint      NOT NULL,
    held      bigint      NOT NULL,
    running   bigint      NOT NULL,
    completed bigint      NOT NULL,
    failed    bigint      NOT NULL,
    cancelled bigint      NOT NULL,
    arrived   bigint      NOT NULL,
    deferred  bigint      NOT NULL,
    promoted  bigint      NOT NULL,
    returned  bigint      NOT NULL,
    started   bigint      NOT NULL,
    late      bigint      NOT NULL,
    done      bigint      NOT NULL,
    errored   bigint      NOT NULL,
    run_ms    bigint      NOT NULL,
    delays    bigint[]    NOT NULL, -- starts by delay_bucket
    PRIMARY KEY (queue, priority, kind, version)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_truncate = false);

-- When the first job of each lane became claimable, as the folder saw it; appended likewise.
CREATE TABLE headcount.lane_head (
    queue    text        COLLATE "C" NOT NULL,
    priority smallint    NOT NULL,
    version  bigint      GENERATED ALWAYS AS IDENTITY,
    at       timestamptz NOT NULL,
    ready_at timestamptz,           -- NULL: the lane was empty
    PRIMARY KEY (queue, priority, version)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_truncate = false);

-- Every job in one shape. Each branch reads one table and no join: only so does a page by id come from the primary
-- keys, merged, instead of from all jobs, sorted.
CREATE VIEW headcount.jobs AS
SELECT j.id, j.queue, j.kind, 'queued'::text AS state, j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at,
       (SELECT t.started_at FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1) AS started_at,
       NULL::timestamptz AS finished_at,
       (SELECT t.worker FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1) AS worker,
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0))
           AS payload,
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1) AS error,
       NULL::text AS output, NULL::text AS reason, NULL::timestamptz AS expires_at
FROM headcount.ready j
UNION ALL
SELECT j.id, j.queue, j.kind, 'queued', j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at,
       (SELECT t.started_at FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL,
       (SELECT t.worker FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1),
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL, j.reason, NULL
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
       NULL, NULL, NULL
FROM headcount.later j
UNION ALL
-- attempt of a running job is the number of the one under way.
SELECT j.id, j.queue, j.kind, 'running', j.priority, (j.attempt + 1)::smallint, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at, j.started_at, NULL,
       (SELECT w.label FROM headcount.worker w WHERE w.boot = j.boot),
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL, NULL, NULL
FROM headcount.running j
UNION ALL
SELECT j.id, j.queue, j.kind, j.state, j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at, j.started_at, j.finished_at, j.worker,
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta, j.error,
       coalesce(j.output, (SELECT b.content FROM headcount.body b WHERE b.job_id = j.id AND b.part = 1)),
       NULL, j.expires_at
FROM headcount.finished j;
