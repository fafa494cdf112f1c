-- What the migrations add up to: read this to know the tables, and them to know why. Nothing reads it but a test,
-- which makes it anew and compares; HEADCOUNT_BLESS=1 writes it.

CREATE SEQUENCE headcount.attempt_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.lane_head_version_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.place AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.queue_state_version_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.tally_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE TABLE headcount.attempt (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    job_id bigint NOT NULL,
    attempt smallint NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    worker text NOT NULL,
    error text NOT NULL,
    CONSTRAINT attempt_outcome_check CHECK ((outcome = ANY (ARRAY['failed'::text, 'interrupted'::text, 'died'::text, 'cancelled'::text]))),
    CONSTRAINT attempt_pkey PRIMARY KEY (id)
);
CREATE INDEX attempt_job ON headcount.attempt USING btree (job_id, id);

CREATE TABLE headcount.body (
    job_id bigint NOT NULL,
    part smallint NOT NULL,
    content text NOT NULL,
    CONSTRAINT body_pkey PRIMARY KEY (job_id, part)
);

CREATE TABLE headcount.coalesce (
    queue text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    job_id bigint NOT NULL,
    scope text COLLATE "C" NOT NULL,
    CONSTRAINT coalesce_pkey PRIMARY KEY (queue, key),
    CONSTRAINT coalesce_scope_check CHECK ((scope = ANY (ARRAY['pending'::text, 'unfinished'::text, 'unfinished-or-failed'::text])))
) WITH (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.05, fillfactor=90, vacuum_truncate=false);

CREATE TABLE headcount.duty (
    name text COLLATE "C" NOT NULL,
    CONSTRAINT duty_pkey PRIMARY KEY (name)
);

CREATE TABLE headcount.finished (
    id bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload json,
    payload_codec smallint,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    interruptions smallint NOT NULL,
    deaths smallint NOT NULL,
    timeout_ms bigint,
    max_run_ms bigint,
    options json,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone,
    meta json,
    extra json,
    state text COLLATE "C" NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    worker text,
    error text,
    output text,
    expires_at timestamp with time zone,
    CONSTRAINT finished_check CHECK (((attempt >= 0) AND (max_attempts > 0) AND (interruptions >= 0) AND (deaths >= 0))),
    CONSTRAINT finished_check1 CHECK (((state <> 'completed'::text) OR ((error IS NULL) AND (started_at IS NOT NULL) AND (expires_at IS NOT NULL)))),
    CONSTRAINT finished_check2 CHECK (((state <> 'failed'::text) OR ((error IS NOT NULL) AND (started_at IS NOT NULL)))),
    CONSTRAINT finished_check3 CHECK (((state = 'completed'::text) OR (output IS NULL))),
    CONSTRAINT finished_pkey PRIMARY KEY (id),
    CONSTRAINT finished_state_check CHECK ((state = ANY (ARRAY['completed'::text, 'failed'::text, 'cancelled'::text])))
);
CREATE INDEX finished_expires ON headcount.finished USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE TABLE headcount.held (
    id bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload json,
    payload_codec smallint,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    interruptions smallint NOT NULL,
    deaths smallint NOT NULL,
    timeout_ms bigint,
    max_run_ms bigint,
    options json,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone NOT NULL,
    meta json,
    extra json,
    reason text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    CONSTRAINT held_check CHECK (((attempt >= 0) AND (max_attempts > 0) AND (interruptions >= 0) AND (deaths >= 0))),
    CONSTRAINT held_pkey PRIMARY KEY (id)
) WITH (vacuum_truncate=false);
CREATE UNIQUE INDEX held_again ON headcount.held USING btree (queue, key) WHERE (reason = 'again'::text);
CREATE INDEX held_suspect ON headcount.held USING btree (priority DESC, seq) INCLUDE (queue) WHERE (reason = 'suspect'::text);

CREATE TABLE headcount.history (
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    at timestamp with time zone NOT NULL,
    arrived bigint NOT NULL,
    deferred bigint NOT NULL,
    promoted bigint NOT NULL,
    returned bigint NOT NULL,
    started bigint NOT NULL,
    late bigint NOT NULL,
    done bigint NOT NULL,
    errored bigint NOT NULL,
    run_ms bigint NOT NULL,
    delays bigint[] NOT NULL,
    CONSTRAINT history_pkey PRIMARY KEY (queue, priority, kind, at)
);
CREATE INDEX history_at ON headcount.history USING btree (at);

CREATE TABLE headcount.kind (
    kind text COLLATE "C" NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    retains boolean NOT NULL DEFAULT false,
    keep_completed_ms bigint NOT NULL DEFAULT 0,
    keep_failed_ms bigint,
    extra json,
    CONSTRAINT kind_pkey PRIMARY KEY (kind)
);
CREATE INDEX kind_paused ON headcount.kind USING btree (kind) WHERE paused;

CREATE TABLE headcount.lane (
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    CONSTRAINT lane_pkey PRIMARY KEY (queue, priority, kind)
);

CREATE TABLE headcount.lane_head (
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    version bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone,
    CONSTRAINT lane_head_pkey PRIMARY KEY (queue, priority, version)
) WITH (autovacuum_vacuum_scale_factor=0.05, vacuum_truncate=false);

CREATE TABLE headcount.later (
    id bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload json,
    payload_codec smallint,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    interruptions smallint NOT NULL,
    deaths smallint NOT NULL,
    timeout_ms bigint,
    max_run_ms bigint,
    options json,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone,
    meta json,
    extra json,
    due_at timestamp with time zone NOT NULL,
    note text,
    CONSTRAINT later_check CHECK (((attempt >= 0) AND (max_attempts > 0) AND (interruptions >= 0) AND (deaths >= 0))),
    CONSTRAINT later_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.05, vacuum_truncate=false);
CREATE INDEX later_due ON headcount.later USING btree (due_at, id);
CREATE INDEX later_queue ON headcount.later USING btree (queue, due_at);

CREATE TABLE headcount.migration (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone NOT NULL DEFAULT now(),
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL,
    CONSTRAINT migration_pkey PRIMARY KEY (version)
);

CREATE TABLE headcount.queue (
    queue text COLLATE "C" NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    start_within_ms bigint NOT NULL DEFAULT 60000,
    recalls bigint NOT NULL DEFAULT 0,
    extra json,
    asleep boolean NOT NULL DEFAULT false,
    retains boolean NOT NULL DEFAULT false,
    keep_completed_ms bigint NOT NULL DEFAULT 0,
    keep_failed_ms bigint,
    CONSTRAINT queue_pkey PRIMARY KEY (queue)
) WITH (fillfactor=50);
CREATE INDEX queue_asleep ON headcount.queue USING btree (queue) WHERE asleep;
CREATE INDEX queue_paused ON headcount.queue USING btree (queue) WHERE paused;

CREATE TABLE headcount.queue_state (
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    version bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL,
    ready bigint NOT NULL,
    scheduled bigint NOT NULL,
    held bigint NOT NULL,
    running bigint NOT NULL,
    completed bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    arrived bigint NOT NULL,
    deferred bigint NOT NULL,
    promoted bigint NOT NULL,
    returned bigint NOT NULL,
    started bigint NOT NULL,
    late bigint NOT NULL,
    done bigint NOT NULL,
    errored bigint NOT NULL,
    run_ms bigint NOT NULL,
    delays bigint[] NOT NULL,
    suspects bigint NOT NULL DEFAULT 0,
    CONSTRAINT queue_state_pkey PRIMARY KEY (queue, priority, kind, version)
) WITH (autovacuum_vacuum_scale_factor=0.05, vacuum_truncate=false);

CREATE TABLE headcount.ready (
    id bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload json,
    payload_codec smallint,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    interruptions smallint NOT NULL,
    deaths smallint NOT NULL,
    timeout_ms bigint,
    max_run_ms bigint,
    options json,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone NOT NULL,
    meta json,
    extra json,
    CONSTRAINT ready_check CHECK (((attempt >= 0) AND (max_attempts > 0) AND (interruptions >= 0) AND (deaths >= 0))),
    CONSTRAINT ready_pkey PRIMARY KEY (id)
) WITH (autovacuum_analyze_scale_factor=0.2, autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.02, vacuum_truncate=false);
CREATE UNIQUE INDEX ready_lane ON headcount.ready USING btree (queue, priority, seq);

CREATE TABLE headcount.running (
    id bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    seq bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    payload json,
    payload_codec smallint,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    interruptions smallint NOT NULL,
    deaths smallint NOT NULL,
    timeout_ms bigint,
    max_run_ms bigint,
    options json,
    enqueued_at timestamp with time zone NOT NULL,
    run_at timestamp with time zone NOT NULL,
    ready_at timestamp with time zone NOT NULL,
    meta json,
    extra json,
    boot bigint NOT NULL,
    claim bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    cancel_at timestamp with time zone,
    CONSTRAINT running_check CHECK (((attempt >= 0) AND (max_attempts > 0) AND (interruptions >= 0) AND (deaths >= 0))),
    CONSTRAINT running_check1 CHECK (((boot > 0) AND (claim > 0))),
    CONSTRAINT running_pkey PRIMARY KEY (id)
) WITH (autovacuum_analyze_scale_factor=0.2, autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.02, fillfactor=90, vacuum_truncate=false);
CREATE INDEX running_token ON headcount.running USING btree (boot, claim);

CREATE TABLE headcount.tally (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    queue text COLLATE "C" NOT NULL,
    priority smallint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    ready integer,
    scheduled integer,
    held integer,
    running integer,
    completed integer,
    failed integer,
    cancelled integer,
    arrived integer,
    deferred integer,
    promoted integer,
    returned integer,
    started integer,
    late integer,
    done integer,
    errored integer,
    run_ms bigint,
    delay_bucket smallint,
    suspects integer,
    CONSTRAINT tally_pkey PRIMARY KEY (id)
) WITH (autovacuum_analyze_scale_factor=0.5, autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.02, vacuum_truncate=false);

CREATE TABLE headcount.worker (
    boot bigint NOT NULL,
    instance text,
    host text NOT NULL,
    pid bigint NOT NULL,
    label text NOT NULL GENERATED ALWAYS AS (COALESCE(instance, ((host || ':'::text) || (pid)::text))) STORED,
    pool text,
    queues text[],
    kinds text[] NOT NULL,
    slots integer NOT NULL,
    state text COLLATE "C" NOT NULL,
    busy integer NOT NULL DEFAULT 0,
    started bigint[] NOT NULL DEFAULT '{}'::bigint[],
    drain_epoch bigint NOT NULL DEFAULT 0,
    drained_by text,
    drain_until timestamp with time zone,
    started_at timestamp with time zone NOT NULL,
    beat_at timestamp with time zone NOT NULL,
    extra json,
    CONSTRAINT worker_boot_check CHECK ((boot > 0)),
    CONSTRAINT worker_pkey PRIMARY KEY (boot),
    CONSTRAINT worker_state_check CHECK ((state = ANY (ARRAY['active'::text, 'draining'::text, 'leaving'::text, 'dead'::text])))
) WITH (autovacuum_vacuum_scale_factor=0.1, autovacuum_vacuum_threshold=500, fillfactor=50);

CREATE VIEW headcount.jobs AS
 SELECT j.id,
    j.queue,
    j.kind,
    'queued'::text AS state,
    j.priority,
    j.attempt,
    j.max_attempts,
    j.interruptions,
    j.deaths,
    j.run_at,
    j.ready_at,
    j.enqueued_at,
    ( SELECT t.started_at
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS started_at,
    NULL::timestamp with time zone AS finished_at,
    ( SELECT t.worker
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS worker,
    COALESCE(j.payload, ( SELECT (b.content)::json AS content
           FROM headcount.body b
          WHERE ((b.job_id = j.id) AND (b.part = 0)))) AS payload,
    j.payload_codec,
    j.meta,
    ( SELECT t.error
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS error,
    NULL::text AS output,
    NULL::text AS reason,
    NULL::timestamp with time zone AS expires_at
   FROM headcount.ready j
UNION ALL
 SELECT j.id,
    j.queue,
    j.kind,
    'queued'::text AS state,
    j.priority,
    j.attempt,
    j.max_attempts,
    j.interruptions,
    j.deaths,
    j.run_at,
    j.ready_at,
    j.enqueued_at,
    ( SELECT t.started_at
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS started_at,
    NULL::timestamp with time zone AS finished_at,
    ( SELECT t.worker
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS worker,
    COALESCE(j.payload, ( SELECT (b.content)::json AS content
           FROM headcount.body b
          WHERE ((b.job_id = j.id) AND (b.part = 0)))) AS payload,
    j.payload_codec,
    j.meta,
    ( SELECT t.error
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS error,
    NULL::text AS output,
    j.reason,
    NULL::timestamp with time zone AS expires_at
   FROM headcount.held j
UNION ALL
 SELECT j.id,
    j.queue,
    j.kind,
    'scheduled'::text AS state,
    j.priority,
    j.attempt,
    j.max_attempts,
    j.interruptions,
    j.deaths,
    j.due_at AS run_at,
    j.ready_at,
    j.enqueued_at,
    ( SELECT t.started_at
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS started_at,
    NULL::timestamp with time zone AS finished_at,
    ( SELECT t.worker
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS worker,
    COALESCE(j.payload, ( SELECT (b.content)::json AS content
           FROM headcount.body b
          WHERE ((b.job_id = j.id) AND (b.part = 0)))) AS payload,
    j.payload_codec,
    j.meta,
    COALESCE(j.note, ( SELECT t.error
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1)) AS error,
    NULL::text AS output,
    NULL::text AS reason,
    NULL::timestamp with time zone AS expires_at
   FROM headcount.later j
UNION ALL
 SELECT j.id,
    j.queue,
    j.kind,
    'running'::text AS state,
    j.priority,
    ((j.attempt + 1))::smallint AS attempt,
    j.max_attempts,
    j.interruptions,
    j.deaths,
    j.run_at,
    j.ready_at,
    j.enqueued_at,
    j.started_at,
    NULL::timestamp with time zone AS finished_at,
    ( SELECT w.label
           FROM headcount.worker w
          WHERE (w.boot = j.boot)) AS worker,
    COALESCE(j.payload, ( SELECT (b.content)::json AS content
           FROM headcount.body b
          WHERE ((b.job_id = j.id) AND (b.part = 0)))) AS payload,
    j.payload_codec,
    j.meta,
    ( SELECT t.error
           FROM headcount.attempt t
          WHERE (t.job_id = j.id)
          ORDER BY t.id DESC
         LIMIT 1) AS error,
    NULL::text AS output,
    NULL::text AS reason,
    NULL::timestamp with time zone AS expires_at
   FROM headcount.running j
UNION ALL
 SELECT j.id,
    j.queue,
    j.kind,
    j.state,
    j.priority,
    j.attempt,
    j.max_attempts,
    j.interruptions,
    j.deaths,
    j.run_at,
    j.ready_at,
    j.enqueued_at,
    j.started_at,
    j.finished_at,
    j.worker,
    COALESCE(j.payload, ( SELECT (b.content)::json AS content
           FROM headcount.body b
          WHERE ((b.job_id = j.id) AND (b.part = 0)))) AS payload,
    j.payload_codec,
    j.meta,
    j.error,
    COALESCE(j.output, ( SELECT b.content
           FROM headcount.body b
          WHERE ((b.job_id = j.id) AND (b.part = 1)))) AS output,
    NULL::text AS reason,
    j.expires_at
   FROM headcount.finished j;
