-- What the migrations add up to: read this to know the tables, and them to know why. Nothing reads it but a test,
-- which makes it anew and compares; HEADCOUNT_BLESS=1 writes it.

CREATE SEQUENCE headcount.answer_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.attempt_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.decision_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.lane_head_version_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.place AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.queue_state_version_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE SEQUENCE headcount.tally_id_seq AS bigint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE 9223372036854775807 CACHE 1;

CREATE TABLE headcount.answer (
    job_id bigint NOT NULL,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    digest text COLLATE "C" NOT NULL,
    resolution text COLLATE "C" NOT NULL,
    output text,
    error text,
    wait_ms bigint,
    CONSTRAINT answer_kept TRIGGER DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT answer_pkey PRIMARY KEY (job_id, id)
) WITH (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.05, vacuum_truncate=false);
CREATE CONSTRAINT TRIGGER answer_kept AFTER INSERT ON headcount.answer DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION headcount.keep_answer();

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

CREATE TABLE headcount.decision (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    pool text COLLATE "C" NOT NULL,
    weight text COLLATE "C" NOT NULL,
    gist text NOT NULL,
    detail json NOT NULL,
    first_at timestamp with time zone NOT NULL,
    last_at timestamp with time zone NOT NULL,
    count bigint NOT NULL,
    CONSTRAINT decision_count_check CHECK ((count > 0)),
    CONSTRAINT decision_pkey PRIMARY KEY (id),
    CONSTRAINT decision_weight_check CHECK ((weight = ANY (ARRAY['change'::text, 'hold'::text])))
) WITH (fillfactor=70);
CREATE INDEX decision_age ON headcount.decision USING btree (weight, first_at);
CREATE INDEX decision_pool ON headcount.decision USING btree (pool, ((- id)));

CREATE TABLE headcount.drain (
    pool text COLLATE "C" NOT NULL,
    instance text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL,
    drained_by text NOT NULL,
    drained_at timestamp with time zone NOT NULL,
    drain_until timestamp with time zone,
    leaving_until timestamp with time zone,
    CONSTRAINT drain_pkey PRIMARY KEY (pool, instance)
) WITH (fillfactor=50);

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
CREATE INDEX held_paused ON headcount.held USING btree (kind, id) WHERE (reason = 'paused'::text);
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

CREATE TABLE headcount.lease (
    name text COLLATE "C" NOT NULL,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    since timestamp with time zone NOT NULL,
    until timestamp with time zone NOT NULL,
    CONSTRAINT lease_pkey PRIMARY KEY (name)
) WITH (fillfactor=50);

CREATE TABLE headcount.migration (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone NOT NULL DEFAULT now(),
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL,
    CONSTRAINT migration_pkey PRIMARY KEY (version)
);

CREATE TABLE headcount.parked (
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
    started_at timestamp with time zone NOT NULL,
    worker text NOT NULL,
    digest text COLLATE "C",
    parked_at timestamp with time zone NOT NULL,
    deadline timestamp with time zone NOT NULL,
    expiry text COLLATE "C" NOT NULL,
    keep_completed_ms bigint NOT NULL,
    keep_failed_ms bigint,
    retry_ms bigint NOT NULL,
    CONSTRAINT parked_check CHECK (((attempt >= 0) AND (max_attempts > 0) AND (interruptions >= 0) AND (deaths >= 0))),
    CONSTRAINT parked_expiry_check CHECK ((expiry = ANY (ARRAY['retry'::text, 'fail'::text]))),
    CONSTRAINT parked_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0.05, fillfactor=90, vacuum_truncate=false);
CREATE INDEX parked_deadline ON headcount.parked USING btree (deadline, id);
CREATE INDEX parked_lane ON headcount.parked USING btree (queue, priority, kind);

CREATE TABLE headcount.pool (
    name text COLLATE "C" NOT NULL,
    lease text COLLATE "C" NOT NULL,
    queues text[],
    ordered boolean NOT NULL,
    spec json NOT NULL,
    published_at timestamp with time zone NOT NULL,
    state json,
    overridden_by text,
    override_paused boolean NOT NULL DEFAULT false,
    override_min bigint,
    override_max bigint,
    override_until timestamp with time zone,
    CONSTRAINT pool_pkey PRIMARY KEY (name)
) WITH (fillfactor=50);

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
    parked bigint,
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
    digest text COLLATE "C",
    answer json,
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
    parked integer,
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
    ordinal bigint,
    leaving_until timestamp with time zone,
    CONSTRAINT worker_boot_check CHECK ((boot > 0)),
    CONSTRAINT worker_pkey PRIMARY KEY (boot),
    CONSTRAINT worker_state_check CHECK ((state = ANY (ARRAY['active'::text, 'draining'::text, 'leaving'::text, 'dead'::text])))
) WITH (autovacuum_vacuum_scale_factor=0.1, autovacuum_vacuum_threshold=500, fillfactor=50);
CREATE INDEX worker_place ON headcount.worker USING btree (pool COLLATE "C", instance COLLATE "C");
CREATE TRIGGER worker_comes_up BEFORE INSERT ON headcount.worker FOR EACH ROW EXECUTE FUNCTION headcount.comes_up();

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
    NULL::timestamp with time zone AS expires_at,
    (j.extra ->> 'key'::text) AS key,
    NULL::timestamp with time zone AS deadline
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
    NULL::timestamp with time zone AS expires_at,
    (j.extra ->> 'key'::text) AS key,
    NULL::timestamp with time zone AS deadline
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
    NULL::timestamp with time zone AS expires_at,
    (j.extra ->> 'key'::text) AS key,
    NULL::timestamp with time zone AS deadline
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
    NULL::timestamp with time zone AS expires_at,
    (j.extra ->> 'key'::text) AS key,
    NULL::timestamp with time zone AS deadline
   FROM headcount.running j
UNION ALL
 SELECT j.id,
    j.queue,
    j.kind,
    'wait_async'::text AS state,
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
    j.worker,
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
    NULL::timestamp with time zone AS expires_at,
    (j.extra ->> 'key'::text) AS key,
    j.deadline
   FROM headcount.parked j
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
    j.expires_at,
    (j.extra ->> 'key'::text) AS key,
    NULL::timestamp with time zone AS deadline
   FROM headcount.finished j;

CREATE OR REPLACE FUNCTION headcount.cancel(id bigint)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    tried record;
    state text;
BEGIN
    FOR tries IN 1..100 LOOP
        SELECT * INTO tried FROM headcount.try_cancel(cancel.id);
        IF tried.done THEN
            RETURN 'cancelled';
        ELSIF tried.asked THEN
            RETURN 'asked';
        END IF;
        SELECT j.state INTO state FROM headcount.jobs j WHERE j.id = cancel.id;
        IF state IS NULL THEN
            RAISE EXCEPTION 'no job has the id %', cancel.id
                USING ERRCODE = 'no_data_found', HINT = 'It may have completed, been deleted or expired.';
        ELSIF state IN ('completed', 'failed', 'cancelled') THEN
            RAISE EXCEPTION 'job % is %: it cannot be cancelled', cancel.id, state
                USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'It is over.';
        END IF;
    END LOOP;
    RAISE EXCEPTION 'job % is moving too fast to catch', cancel.id
        USING ERRCODE = 'serialization_failure', HINT = 'Try again.';
END
$function$;

CREATE OR REPLACE FUNCTION headcount.comes_up()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    told record;
BEGIN
    IF NEW.pool IS NULL OR NEW.instance IS NULL THEN
        RETURN NEW;
    END IF;
    -- As in lock_pools.sql, but shared.
    PERFORM pg_advisory_xact_lock_shared('headcount.drain'::regclass::oid::integer, hashtext(NEW.pool));
    SELECT d.epoch, d.drained_by, d.drain_until,
           CASE WHEN d.leaving_until >= clock_timestamp() THEN d.leaving_until END AS leaving_until
    INTO told
    FROM headcount.drain d
    WHERE d.pool = NEW.pool AND d.instance = NEW.instance
      AND (d.drain_until IS NULL OR d.drain_until >= clock_timestamp());
    IF FOUND THEN
        NEW.state := CASE WHEN told.leaving_until IS NULL THEN 'draining' ELSE 'leaving' END;
        NEW.drain_epoch := told.epoch;
        NEW.drained_by := told.drained_by;
        NEW.drain_until := told.drain_until;
        NEW.leaving_until := told.leaving_until;
    END IF;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.end_parked(jobs bigint[], how text, output text, error text, wait_ms bigint, inline_bytes integer)
 RETURNS TABLE(id bigint, queue text, fate text, deadline timestamp with time zone)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS at
    ), taken AS (
        DELETE FROM headcount.parked WHERE id = ANY (jobs)
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker,
                  parked_at, deadline, expiry, keep_completed_ms, keep_failed_ms, retry_ms
    ), ended AS MATERIALIZED (
        SELECT t.id, t.queue, t.priority, t.seq, t.kind, t.payload, t.payload_codec,
               -- The attempt is spent, whichever way; one that completed shows the attempt that completed it.
               least(t.attempt + 1, 32767)::smallint AS attempt,
               t.max_attempts, t.interruptions, t.deaths, t.timeout_ms, t.max_run_ms, t.options, t.enqueued_at,
               t.run_at, t.ready_at, t.meta, t.extra, t.started_at, t.worker, t.deadline, t.keep_completed_ms,
               t.keep_failed_ms, t.retry_ms, c.at,
               CASE how
                   WHEN 'completed' THEN NULL
                   WHEN 'expired' THEN format(
                       'nobody answered for it before its deadline, %s s after it was handed over',
                       trim_scale(extract(epoch FROM t.deadline - t.parked_at)::numeric(20, 3)))
                   ELSE end_parked.error
               END AS error,
               CASE
                   WHEN how = 'completed' THEN CASE WHEN t.keep_completed_ms = 0 THEN 'gone' ELSE 'completed' END
                   WHEN how = 'failed' OR t.attempt + 1 >= t.max_attempts THEN 'failed'
                   WHEN how = 'retry' THEN 'later'
                   WHEN t.expiry = 'retry' THEN 'ready'
                   ELSE 'failed'
               END AS fate
        FROM taken t
        CROSS JOIN clock c
    ), finished AS (
        INSERT INTO headcount.finished (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state, started_at, finished_at,
            worker, error, output, expires_at
        )
        SELECT e.id, e.queue, e.priority, e.seq, e.kind, e.payload, e.payload_codec, e.attempt, e.max_attempts,
               e.interruptions, e.deaths, e.timeout_ms, e.max_run_ms, e.options, e.enqueued_at, e.run_at, e.ready_at,
               e.meta, e.extra, e.fate, e.started_at, e.at, e.worker, e.error,
               CASE WHEN e.fate = 'completed' AND octet_length(end_parked.output) <= inline_bytes
                    THEN end_parked.output END,
               e.at + CASE e.fate WHEN 'completed' THEN e.keep_completed_ms ELSE e.keep_failed_ms END
                    * interval '1 ms'
        FROM ended e
        WHERE e.fate IN ('completed', 'failed')
    ), outputs AS (
        INSERT INTO headcount.body (job_id, part, content)
        SELECT e.id, 1, end_parked.output FROM ended e
        WHERE e.fate = 'completed' AND octet_length(end_parked.output) > inline_bytes
    ), later AS (
        INSERT INTO headcount.later (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, due_at, note
        )
        SELECT e.id, e.queue, e.priority, e.seq, e.kind, e.payload, e.payload_codec, e.attempt, e.max_attempts,
               e.interruptions, e.deaths, e.timeout_ms, e.max_run_ms, e.options, e.enqueued_at, e.run_at, e.ready_at,
               e.meta, e.extra, e.at + coalesce(wait_ms, e.retry_ms) * interval '1 ms', e.error
        FROM ended e
        WHERE e.fate = 'later'
    ), ready AS (
        -- seq is kept, and so the job's place.
        INSERT INTO headcount.ready (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
        )
        SELECT e.id, e.queue, e.priority, e.seq, e.kind, e.payload, e.payload_codec, e.attempt, e.max_attempts,
               e.interruptions, e.deaths, e.timeout_ms, e.max_run_ms, e.options, e.enqueued_at, e.run_at, e.at, e.meta,
               e.extra
        FROM ended e
        WHERE e.fate = 'ready'
    ), attempts AS (
        INSERT INTO headcount.attempt (job_id, attempt, outcome, started_at, ended_at, worker, error)
        SELECT e.id, e.attempt, 'failed', e.started_at, e.at, e.worker, e.error
        FROM ended e
        WHERE e.error IS NOT NULL
    ), bodies AS (
        DELETE FROM headcount.body WHERE job_id = ANY (ARRAY(SELECT e.id FROM ended e WHERE e.fate = 'gone'))
    ), tries AS (
        DELETE FROM headcount.attempt WHERE job_id = ANY (ARRAY(SELECT e.id FROM ended e WHERE e.fate = 'gone'))
    ), counted AS (
        INSERT INTO headcount.tally (
            queue, priority, kind, parked, ready, scheduled, completed, failed, returned, done, errored
        )
        SELECT e.queue, e.priority, e.kind, -count(*),
               nullif(count(*) FILTER (WHERE e.fate = 'ready'), 0),
               nullif(count(*) FILTER (WHERE e.fate = 'later'), 0),
               nullif(count(*) FILTER (WHERE e.fate = 'completed'), 0),
               nullif(count(*) FILTER (WHERE e.fate = 'failed'), 0),
               nullif(count(*) FILTER (WHERE e.fate = 'ready'), 0),
               nullif(count(*) FILTER (WHERE e.error IS NULL), 0),
               nullif(count(*) FILTER (WHERE e.error IS NOT NULL), 0)
        FROM ended e
        GROUP BY e.queue, e.priority, e.kind
    ), recalled AS (
        INSERT INTO headcount.queue AS q (queue, recalls)
        SELECT DISTINCT e.queue, 1 FROM ended e WHERE e.fate = 'ready' ORDER BY e.queue
        ON CONFLICT (queue) DO UPDATE SET recalls = q.recalls + 1
    ), let_go AS MATERIALIZED (
        SELECT headcount.let_go(array_agg(e.id), array_agg(e.queue), array_agg(e.extra ->> 'key'))
        FROM ended e
        WHERE e.extra IS NOT NULL
          AND (e.fate IN ('gone', 'completed')
               OR (e.fate = 'failed' AND e.extra ->> 'scope' IS DISTINCT FROM 'unfinished-or-failed'))
        HAVING count(*) > 0
    )
    SELECT e.id, e.queue, e.fate, e.deadline FROM ended e WHERE (SELECT count(*) FROM let_go) >= 0;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.enqueue(kind text, payload json DEFAULT '{}'::json, queue text DEFAULT 'default'::text, priority integer DEFAULT 0, delay interval DEFAULT NULL::interval, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT 5, timeout interval DEFAULT NULL::interval, max_run_time interval DEFAULT NULL::interval, key text DEFAULT NULL::text, scope text DEFAULT 'unfinished'::text, conflict text DEFAULT 'keep'::text, meta json DEFAULT NULL::json)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET standard_conforming_strings TO 'on'
AS $function$
DECLARE
    -- What is white space or a control character in Unicode, and what lists of queues are made with.
    no_name CONSTANT text := '[\u0001-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000,*]';
    no_key  CONSTANT text := '[\u0001-\u001f\u007f-\u009f]';
    years   CONSTANT numeric := 10 * 365 * 86400;
    what    text;
    name    text;
    content text;
    seconds numeric;
    job     bigint;
BEGIN
    FOR what, name IN VALUES ('a kind', enqueue.kind), ('a queue', enqueue.queue) LOOP
        IF name IS NULL OR name = '' THEN
            RAISE EXCEPTION '% has no name', what
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Give a name of 1 to 128 bytes.';
        ELSIF octet_length(name) > 128 THEN
            RAISE EXCEPTION 'the name of % has % bytes', what, octet_length(name)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'At most 128 are allowed.';
        ELSIF name COLLATE "C" ~ no_name THEN
            RAISE EXCEPTION 'the name of %, %, holds a character that is not allowed', what, quote_literal(name)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Spaces, control characters, commas and asterisks are not allowed.';
        END IF;
    END LOOP;
    FOR what, content IN VALUES ('the payload', enqueue.payload::text), ('meta', enqueue.meta::text) LOOP
        IF content IS NULL AND what = 'the payload' THEN
            RAISE EXCEPTION 'the payload is NULL'
                USING ERRCODE = 'null_value_not_allowed',
                      HINT = 'Leave it out, or give the JSON value null: ''null''.';
        ELSIF octet_length(content) > 1048576 THEN
            RAISE EXCEPTION '% has % bytes; at most 1048576 are allowed', what, octet_length(content)
                USING ERRCODE = 'program_limit_exceeded',
                      HINT = 'Keep large data elsewhere and enqueue its address.';
        ELSIF strpos(content, '\u0000') > 0 THEN
            RAISE EXCEPTION '% holds the character U+0000', what
                USING ERRCODE = 'invalid_parameter_value', HINT = 'It cannot be stored: leave it out.';
        END IF;
    END LOOP;
    IF enqueue.priority IS NULL OR enqueue.priority NOT BETWEEN -32768 AND 32767 THEN
        RAISE EXCEPTION 'a priority of %', coalesce(enqueue.priority::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'From -32768 to 32767; higher runs first.';
    END IF;
    IF enqueue.max_attempts IS NULL OR enqueue.max_attempts NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION '% attempts', coalesce(enqueue.max_attempts::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', HINT = '1 to 10000 are allowed.';
    END IF;
    IF enqueue.delay IS NOT NULL AND enqueue.run_at IS NOT NULL THEN
        RAISE EXCEPTION 'both a delay and a time to run at'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give delay or run_at.';
    END IF;
    IF enqueue.run_at > '2200-01-01 00:00:00+00' THEN
        RAISE EXCEPTION '% is after the year 2200', enqueue.run_at
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Give an earlier run_at.';
    END IF;
    FOR what, seconds IN VALUES
        ('a delay', extract(epoch FROM enqueue.delay)), ('a timeout', extract(epoch FROM enqueue.timeout)),
        ('a maximum run time', extract(epoch FROM enqueue.max_run_time))
    LOOP
        IF seconds > years OR seconds < 0 THEN
            RAISE EXCEPTION '% of % s', what, trim_scale(seconds)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'From 0 s to ten years are allowed.';
        ELSIF seconds = 0 AND what <> 'a delay' THEN
            RAISE EXCEPTION '% of 0 s would never let the job run', what
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out for none.';
        END IF;
    END LOOP;
    IF enqueue.key IS NOT NULL THEN
        IF octet_length(enqueue.key) NOT BETWEEN 1 AND 512 OR enqueue.key COLLATE "C" ~ no_key THEN
            RAISE EXCEPTION 'the coalesce key % has % bytes', quote_literal(left(enqueue.key, 40)),
                octet_length(enqueue.key)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = '1 to 512 without control characters are allowed.';
        END IF;
        IF enqueue.scope IS NULL OR enqueue.scope NOT IN ('pending', 'unfinished', 'unfinished-or-failed') THEN
            RAISE EXCEPTION 'unknown scope %', quote_nullable(enqueue.scope)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'It is one of pending, unfinished, unfinished-or-failed.';
        END IF;
        IF enqueue.conflict IS NULL OR enqueue.conflict NOT IN ('keep', 'replace', 'run-again') THEN
            RAISE EXCEPTION 'unknown conflict rule %', quote_nullable(enqueue.conflict)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'It is one of keep, replace, run-again.';
        END IF;
    END IF;
    SELECT e.id INTO job
    FROM headcount.enqueue_all(
        ARRAY[enqueue.queue], ARRAY[enqueue.priority::smallint], ARRAY[enqueue.kind], ARRAY[enqueue.payload::text],
        ARRAY[enqueue.max_attempts::smallint],
        -- Whole milliseconds, rounded up.
        ARRAY[ceil(extract(epoch FROM enqueue.timeout) * 1000)::bigint],
        ARRAY[ceil(extract(epoch FROM enqueue.max_run_time) * 1000)::bigint],
        ARRAY[NULL::text], ARRAY[enqueue.meta::text],
        ARRAY[nullif(ceil(extract(epoch FROM enqueue.delay) * 1000)::bigint, 0)],
        ARRAY[CASE WHEN enqueue.run_at IS NOT NULL THEN greatest(enqueue.run_at, '1970-01-01 00:00:00+00') END],
        ARRAY[enqueue.key], ARRAY[CASE WHEN enqueue.key IS NOT NULL THEN enqueue.scope END],
        ARRAY[CASE WHEN enqueue.key IS NOT NULL THEN enqueue.conflict END], 1024, true
    ) e;
    RETURN job;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.enqueue_all(queues text[], priorities smallint[], kinds text[], payloads text[], attempts smallint[], timeouts bigint[], max_runs bigint[], optionals text[], metas text[], delays bigint[], run_ats timestamp with time zone[], keys text[], scopes text[], conflicts text[], inline_bytes integer, wakes boolean)
 RETURNS TABLE(id bigint, admission text, holder bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_nestloop TO 'off'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
#variable_conflict use_column
DECLARE
    size      CONSTANT integer := cardinality(queues);
    -- An id for each job, used or not: those that are used ascend.
    ids       bigint[] := ARRAY(SELECT nextval('headcount.place') FROM generate_series(1, size));
    -- What is answered for each job, and what those that are new get that a later one replaced.
    news      boolean[] := array_fill(false, ARRAY[size]);
    doers     bigint[] := ids;
    words     text[] := array_fill('new'::text, ARRAY[size]);
    waits_for bigint[] := array_fill(NULL::bigint, ARRAY[size]);
    contents  text[] := payloads;
    lags      bigint[] := delays;
    times     timestamptz[] := run_ats;
    group_of  integer[]; -- of a job: the place of its key in what follows
    g_queues  text[];    -- the keys of this bulk, each once, in the order of queue and key
    g_keys    text[];
    g_firsts  integer[]; -- the first job with it
    g_replace integer[]; -- the last that replaces
    g_agains  integer[]; -- the first that is not content with a holder that has started
    g_fates   text[];    -- what they met
    g_holders bigint[];
    g_jobs    bigint[];  -- who does the work
    -- Who has set a time limit for locks is not left waiting anyway.
    patience  CONSTANT text := CASE WHEN current_setting('lock_timeout') = '0' THEN '50ms' END;
    tries     integer := 0;
    g         integer;
    n         integer;
    source    integer;
    at        timestamptz;
BEGIN
    IF size = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(k.queue ORDER BY k.g), array_agg(k.key ORDER BY k.g), array_agg(k.first ORDER BY k.g),
           array_agg(k.last_replace ORDER BY k.g), array_agg(k.first_again ORDER BY k.g)
    INTO g_queues, g_keys, g_firsts, g_replace, g_agains
    FROM (
        SELECT u.queue, u.key, min(u.n)::integer AS first,
               (max(u.n) FILTER (WHERE u.conflict = 'replace'))::integer AS last_replace,
               (min(u.n) FILTER (WHERE u.conflict <> 'keep'))::integer AS first_again,
               row_number() OVER (ORDER BY u.queue COLLATE "C", u.key COLLATE "C") AS g
        FROM unnest(queues, keys, conflicts) WITH ORDINALITY AS u (queue, key, conflict, n)
        WHERE u.key IS NOT NULL
        GROUP BY u.queue, u.key
    ) k;
    SELECT array_agg(k.g ORDER BY k.n) INTO group_of
    FROM (
        SELECT u.n, CASE WHEN u.key IS NOT NULL THEN (dense_rank() OVER (
                   PARTITION BY u.key IS NULL ORDER BY u.queue COLLATE "C", u.key COLLATE "C"
               ))::integer END AS g
        FROM unnest(queues, keys) WITH ORDINALITY AS u (queue, key, n)
    ) k;

    IF cardinality(g_keys) = 1 THEN
        SELECT m.fates, m.holders, m.doers INTO g_fates, g_holders, g_jobs
        FROM headcount.meet_keys(
            ids, priorities, kinds, payloads, attempts, timeouts, max_runs, optionals, metas, delays, run_ats, scopes,
            g_queues, g_keys, g_firsts, g_replace, g_agains, inline_bytes, NULL
        ) m;
    ELSIF cardinality(g_keys) > 1 THEN
        LOOP
            tries := tries + 1;
            BEGIN
                SELECT m.fates, m.holders, m.doers INTO g_fates, g_holders, g_jobs
                FROM headcount.meet_keys(
                    ids, priorities, kinds, payloads, attempts, timeouts, max_runs, optionals, metas, delays, run_ats,
                    scopes, g_queues, g_keys, g_firsts, g_replace, g_agains, inline_bytes, patience
                ) m;
                EXIT;
            EXCEPTION WHEN lock_not_available THEN
                IF patience IS NULL OR tries >= 100 THEN
                    RAISE;
                END IF;
            END;
        END LOOP;
    END IF;
    FOR g IN 1..coalesce(cardinality(g_keys), 0) LOOP
        IF g_fates[g] = 'new' THEN
            n := g_firsts[g];
            source := g_replace[g];
            news[n] := true;
            IF source IS NOT NULL THEN
                contents[n] := payloads[source];
                lags[n] := delays[source];
                times[n] := run_ats[source];
            END IF;
        END IF;
    END LOOP;

    -- Of the jobs with one key the first has met the holder; the others meet what it made.
    FOR n IN 1..size LOOP
        g := group_of[n];
        IF g IS NULL THEN
            news[n] := true;
        ELSIF NOT news[n] THEN
            doers[n] := g_jobs[g];
            words[n] := 'kept';
            IF g_fates[g] = 'stale' OR (g_fates[g] = 'runs' AND conflicts[n] <> 'keep') THEN
                words[n] := 'again';
                waits_for[n] := g_holders[g];
            ELSIF g_fates[g] = 'runs' THEN
                -- Who is content with the holder hears of it, whatever waits for it.
                doers[n] := g_holders[g];
            ELSIF conflicts[n] = 'replace' THEN
                words[n] := 'replaced';
            END IF;
        END IF;
    END LOOP;

    at := clock_timestamp();
    WITH new AS MATERIALIZED (
        SELECT u.id, u.queue, u.priority, u.kind, u.attempts, u.timeout_ms, u.max_run_ms, u.options::json AS options,
               u.meta::json AS meta, u.payload, octet_length(u.payload) > inline_bytes AS long,
               coalesce(u.run_at, at + coalesce(u.delay_ms, 0) * interval '1 ms') AS run_at,
               CASE WHEN u.key IS NOT NULL THEN json_build_object('key', u.key, 'scope', u.scope) END AS extra
        FROM unnest(ids, queues, priorities, kinds, attempts, timeouts, max_runs, optionals, metas, keys, scopes,
                    contents, lags, times, news)
            AS u (id, queue, priority, kind, attempts, timeout_ms, max_run_ms, options, meta, key, scope, payload,
                  delay_ms, run_at, is_new)
        WHERE u.is_new
    ), ready AS (
        INSERT INTO headcount.ready (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
        )
        SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, attempts, 0, 0,
               timeout_ms, max_run_ms, options, at, run_at, at, meta, extra
        FROM new
        WHERE run_at <= at
    ), later AS (
        INSERT INTO headcount.later (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, meta, extra, due_at
        )
        SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, attempts, 0, 0,
               timeout_ms, max_run_ms, options, at, run_at, meta, extra, run_at
        FROM new
        WHERE run_at > at
    ), body AS (
        INSERT INTO headcount.body (job_id, part, content)
        SELECT id, 0, payload::json::text FROM new WHERE long
    )
    INSERT INTO headcount.tally (queue, priority, kind, ready, arrived, scheduled, deferred)
    SELECT queue, priority, kind,
           nullif(count(*) FILTER (WHERE run_at <= at), 0), nullif(count(*) FILTER (WHERE run_at <= at), 0),
           nullif(count(*) FILTER (WHERE run_at > at), 0), nullif(count(*) FILTER (WHERE run_at > at), 0)
    FROM new
    GROUP BY queue, priority, kind;

    IF wakes THEN
        PERFORM headcount.wake(ARRAY(
            SELECT DISTINCT u.queue FROM unnest(queues, delays) AS u (queue, delay_ms) WHERE u.delay_ms IS NULL
        ));
    END IF;

    RETURN QUERY
    SELECT u.id, u.admission, u.holder
    FROM unnest(doers, words, waits_for) WITH ORDINALITY AS u (id, admission, holder, n)
    ORDER BY u.n;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.forget_scaling()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
DECLARE
    at    CONSTANT timestamptz := clock_timestamp();
    runs  text[];
    pools text[];
BEGIN
    -- An entry that still goes on is not old, however long ago it began.
    DELETE FROM headcount.decision d
    WHERE d.id = ANY (ARRAY(
        SELECT o.id FROM headcount.decision o
        WHERE o.weight = 'change' AND o.first_at < at - interval '30 days' AND o.last_at < at - interval '30 days'
        UNION ALL
        SELECT o.id FROM headcount.decision o
        WHERE o.weight = 'hold' AND o.first_at < at - interval '3 days' AND o.last_at < at - interval '3 days'
    ));
    WITH gone AS (
        DELETE FROM headcount.lease l
        WHERE starts_with(l.name, 'run:') AND l.until < at - interval '1 day'
        RETURNING l.name
    )
    SELECT array_agg(g.name) INTO runs FROM gone g;
    WITH gone AS (
        DELETE FROM headcount.pool p WHERE p.lease = ANY (runs) RETURNING p.name
    )
    SELECT array_agg(g.name) INTO pools FROM gone g;
    -- Whoever renews an ended drain in this moment has locked it, and is found to have.
    DELETE FROM headcount.drain d WHERE d.pool = ANY (pools) OR d.drain_until < clock_timestamp();
END
$function$;

CREATE OR REPLACE FUNCTION headcount.free_again(of_queue text, of_key text, OUT job bigint, OUT scope text, OUT claimable boolean)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
BEGIN
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS at
    ), taken AS (
        DELETE FROM headcount.held
        WHERE id = (
            SELECT h.id FROM headcount.held h
            WHERE h.queue = of_queue AND h.key = of_key AND h.reason = 'again'
            FOR UPDATE SKIP LOCKED
        )
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, meta, extra
    ), ready AS (
        INSERT INTO headcount.ready (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
        )
        SELECT id, queue, priority, nextval('headcount.place'), kind, payload, payload_codec, attempt, max_attempts,
               interruptions, deaths, timeout_ms, max_run_ms, options, enqueued_at, run_at, c.at, meta, extra
        FROM taken CROSS JOIN clock c
        WHERE run_at <= c.at
    ), later AS (
        INSERT INTO headcount.later (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, meta, extra, due_at
        )
        SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
               timeout_ms, max_run_ms, options, enqueued_at, run_at, meta, extra, run_at
        FROM taken CROSS JOIN clock c
        WHERE run_at > c.at
    ), counted AS (
        INSERT INTO headcount.tally (queue, priority, kind, held, ready, scheduled)
        SELECT queue, priority, kind, -1, CASE WHEN run_at <= c.at THEN 1 END, CASE WHEN run_at > c.at THEN 1 END
        FROM taken CROSS JOIN clock c
    )
    SELECT t.id, coalesce(t.extra ->> 'scope', 'unfinished'), t.run_at <= c.at INTO job, scope, claimable
    FROM taken t CROSS JOIN clock c;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.hold_again(job bigint, of_queue text, of_key text, of_scope text, of_priority smallint, of_kind text, content text, attempts smallint, timeout bigint, max_run bigint, optional text, labels text, due timestamp with time zone, inline_bytes integer)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
DECLARE
    at    CONSTANT timestamptz := clock_timestamp();
    short CONSTANT json := CASE WHEN octet_length(content) <= inline_bytes THEN content::json END;
BEGIN
    INSERT INTO headcount.held (
        id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
        options, enqueued_at, run_at, ready_at, meta, extra, reason, key
    )
    VALUES (
        job, of_queue, of_priority, job, of_kind, short, 0, attempts, 0, 0, timeout, max_run, optional::json, at, due, at,
        labels::json, json_build_object('key', of_key, 'scope', of_scope), 'again', of_key
    )
    ON CONFLICT (queue, key) WHERE reason = 'again' DO NOTHING;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF short IS NULL THEN
        INSERT INTO headcount.body (job_id, part, content) VALUES (job, 0, content::json::text);
    END IF;
    INSERT INTO headcount.tally (queue, priority, kind, held, arrived) VALUES (of_queue, of_priority, of_kind, 1, 1);
    RETURN job;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.keep_answer()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    DELETE FROM headcount.answer a WHERE a.job_id = NEW.job_id AND a.id = NEW.id;
    PERFORM headcount.must_resolve(
        NEW.job_id, NEW.digest, NEW.resolution, NEW.output, NEW.error, NEW.wait_ms, in_transaction => false);
    RETURN NULL;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.let_go(jobs bigint[], queues text[], keys text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    held  record;
    next  record;
    freed bigint := 0;
BEGIN
    FOR held IN
        SELECT u.job, u.queue, u.key FROM unnest(jobs, queues, keys) AS u (job, queue, key)
        ORDER BY u.queue COLLATE "C", u.key COLLATE "C"
    LOOP
        PERFORM FROM headcount.coalesce c
        WHERE c.queue = held.queue AND c.key = held.key AND c.job_id = held.job
        FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        SELECT * INTO next FROM headcount.free_again(held.queue, held.key);
        IF next.job IS NULL THEN
            DELETE FROM headcount.coalesce c WHERE c.queue = held.queue AND c.key = held.key;
        ELSE
            UPDATE headcount.coalesce c SET job_id = next.job, scope = next.scope
            WHERE c.queue = held.queue AND c.key = held.key;
            freed := freed + next.claimable::integer;
        END IF;
    END LOOP;
    RETURN freed;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.lock_waiting(job bigint, place text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
BEGIN
    CASE place
        WHEN 'ready' THEN PERFORM FROM headcount.ready j WHERE j.id = job FOR UPDATE;
        WHEN 'later' THEN PERFORM FROM headcount.later j WHERE j.id = job FOR UPDATE;
        ELSE PERFORM FROM headcount.held j WHERE j.id = job FOR UPDATE;
    END CASE;
    RETURN FOUND;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.may_hold(place text, scope text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$
    SELECT coalesce(place IN ('ready', 'later', 'held') OR (place IN ('running', 'parked') AND scope <> 'pending')
                    OR (place = 'failed' AND scope = 'unfinished-or-failed'), false)
$function$;

CREATE OR REPLACE FUNCTION headcount.meet_keys(ids bigint[], priorities smallint[], kinds text[], payloads text[], attempts smallint[], timeouts bigint[], max_runs bigint[], optionals text[], metas text[], delays bigint[], run_ats timestamp with time zone[], scopes text[], g_queues text[], g_keys text[], g_firsts integer[], g_replace integer[], g_agains integer[], inline_bytes integer, patience text, OUT fates text[], OUT holders bigint[], OUT doers bigint[])
 RETURNS record
 LANGUAGE plpgsql
AS $function$
#variable_conflict use_column
DECLARE
    size     CONSTANT integer := cardinality(g_keys);
    no_waits CONSTANT text := current_setting('lock_timeout');
    g_ids    bigint[] := array_fill(NULL::bigint, ARRAY[size]); -- of the first job with it, and its scope
    g_scopes text[] := array_fill(NULL::text, ARRAY[size]);
    rounds   integer := 0;
    locked   bigint[];
    before   text[];
    places   text[];
    r_jobs   bigint[]; -- what is replaced
    r_texts  text[];
    r_dues   timestamptz[];
    a_keys   integer[]; -- what is to run again, by the places of the keys
    a_jobs   bigint[];
    met      integer[]; -- of these, where one waits for the key already; and where that was found
    standing integer[];
    at       timestamptz;
    g        integer;
BEGIN
    fates := g_scopes;
    holders := g_ids;
    doers := g_ids;
    FOR g IN 1..size LOOP
        g_ids[g] := ids[g_firsts[g]];
        g_scopes[g] := scopes[g_firsts[g]];
    END LOOP;
    LOOP
        rounds := rounds + 1;
        IF rounds > 100 THEN
            g := array_position(fates, NULL);
            RAISE EXCEPTION 'the coalesce key % of queue % changes hands too fast', g_keys[g], g_queues[g]
                USING ERRCODE = 'serialization_failure', HINT = 'Try again.';
        ELSIF rounds = 2 AND patience IS NOT NULL THEN
            PERFORM set_config('lock_timeout', patience, true);
        END IF;
        before := fates;

        -- A key is taken by INSERT … ON CONFLICT DO NOTHING, never DO UPDATE: that would lock the key until the
        -- application commits, and stop the worker that finishes its job.
        INSERT INTO headcount.coalesce (queue, key, job_id, scope)
        SELECT u.queue, u.key, u.id, u.scope
        FROM unnest(g_queues, g_keys, g_ids, g_scopes, fates) AS u (queue, key, id, scope, fate)
        WHERE u.fate IS NULL
        ON CONFLICT DO NOTHING;

        -- Who holds it and where that stands are one view: what moves a job moves its key with it.
        SELECT array_agg(m.fate ORDER BY m.g), array_agg(m.holder ORDER BY m.g), array_agg(m.place ORDER BY m.g)
        INTO fates, holders, places
        FROM (
            SELECT u.g, coalesce(h.job_id, u.holder) AS holder, s.place,
                   CASE
                       WHEN u.fate IS NOT NULL THEN u.fate
                       WHEN h.job_id = u.id THEN 'new'
                       WHEN h.job_id IS NULL THEN NULL
                       -- Of the release before, which lets go of no key. The job waits until maintenance does: to drop
                       -- it would be to lose it.
                       WHEN NOT headcount.may_hold(s.place, h.scope) THEN 'stale'
                       WHEN s.place NOT IN ('ready', 'later', 'held') THEN 'runs'
                       WHEN u.again IS NULL THEN 'waits'
                   END AS fate
            FROM unnest(g_queues, g_keys, g_ids, g_agains, fates, holders) WITH ORDINALITY
                AS u (queue, key, id, again, fate, holder, g)
            LEFT JOIN LATERAL (
                SELECT c.job_id, c.scope FROM headcount.coalesce c
                WHERE u.fate IS NULL AND c.queue = u.queue AND c.key = u.key
                LIMIT 1
            ) h ON true
            LEFT JOIN LATERAL (
                -- Probes of an index each, and no EXISTS: that may be made a hash of the whole table.
                SELECT CASE
                    WHEN (SELECT j.id FROM headcount.ready j WHERE j.id = h.job_id) IS NOT NULL THEN 'ready'
                    WHEN (SELECT j.id FROM headcount.running j WHERE j.id = h.job_id) IS NOT NULL THEN 'running'
                    WHEN (SELECT j.id FROM headcount.later j WHERE j.id = h.job_id) IS NOT NULL THEN 'later'
                    WHEN (SELECT j.id FROM headcount.held j WHERE j.id = h.job_id) IS NOT NULL THEN 'held'
                    WHEN (SELECT j.id FROM headcount.parked j WHERE j.id = h.job_id) IS NOT NULL THEN 'parked'
                    ELSE (SELECT j.state FROM headcount.finished j WHERE j.id = h.job_id)
                END AS place
                WHERE h.job_id <> u.id
                LIMIT 1
            ) s ON true
        ) m;

        IF array_position(fates, NULL) IS NOT NULL THEN
            -- One that waits does not start before this transaction ends.
            locked := ARRAY(
                SELECT j.id FROM headcount.ready j
                WHERE j.id = ANY (ARRAY(
                    SELECT u.holder FROM unnest(fates, holders, places) AS u (fate, holder, place)
                    WHERE u.fate IS NULL AND u.place = 'ready'
                ))
                ORDER BY j.id
                FOR UPDATE
            ) || ARRAY(
                SELECT j.id FROM headcount.later j
                WHERE j.id = ANY (ARRAY(
                    SELECT u.holder FROM unnest(fates, holders, places) AS u (fate, holder, place)
                    WHERE u.fate IS NULL AND u.place = 'later'
                ))
                ORDER BY j.id
                FOR UPDATE
            ) || ARRAY(
                SELECT j.id FROM headcount.held j
                WHERE j.id = ANY (ARRAY(
                    SELECT u.holder FROM unnest(fates, holders, places) AS u (fate, holder, place)
                    WHERE u.fate IS NULL AND u.place = 'held'
                ))
                ORDER BY j.id
                FOR UPDATE
            );
            IF cardinality(locked) > 0 THEN
                at := clock_timestamp();
                -- It may have started and come back before it was locked, without its key.
                SELECT array_agg(m.fate ORDER BY m.g) INTO fates
                FROM (
                    SELECT u.g, CASE
                               WHEN u.fate IS NOT NULL THEN u.fate
                               WHEN l.id IS NOT NULL AND u.holder = (
                                   SELECT c.job_id FROM headcount.coalesce c WHERE c.queue = u.queue AND c.key = u.key
                               ) THEN 'waits'
                           END AS fate
                    FROM unnest(g_queues, g_keys, fates, holders) WITH ORDINALITY AS u (queue, key, fate, holder, g)
                    LEFT JOIN unnest(locked) AS l (id) ON l.id = u.holder
                ) m;
                SELECT array_agg(u.holder), array_agg(j.payload),
                       array_agg(coalesce(j.run_at, at + coalesce(j.delay_ms, 0) * interval '1 ms'))
                INTO r_jobs, r_texts, r_dues
                FROM unnest(before, fates, holders, g_replace) AS u (before, fate, holder, replace)
                JOIN unnest(payloads, run_ats, delays) WITH ORDINALITY AS j (payload, run_at, delay_ms, n)
                    ON j.n = u.replace
                WHERE u.before IS NULL AND u.fate = 'waits';
                IF r_jobs IS NOT NULL THEN
                    PERFORM headcount.replace_all(r_jobs, r_texts, r_dues, inline_bytes);
                END IF;
            END IF;
        END IF;

        IF 'stale' = ANY (fates) OR 'runs' = ANY (fates) THEN
            -- What waits for a key is inserted under it, never a flag of the holder's row: the worker has that.
            at := clock_timestamp();
            WITH wanted AS MATERIALIZED (
                SELECT u.g, u.queue, u.key, j.id, j.scope, j.priority, j.kind, j.attempts, j.timeout_ms, j.max_run_ms,
                       j.options::json AS options, j.meta::json AS meta, s.payload,
                       octet_length(s.payload) > inline_bytes AS long,
                       coalesce(s.run_at, at + coalesce(s.delay_ms, 0) * interval '1 ms') AS run_at
                FROM unnest(g_queues, g_keys, g_firsts, g_agains, g_replace, before, fates) WITH ORDINALITY
                    AS u (queue, key, first, again, replace, before, fate, g)
                JOIN unnest(ids, priorities, kinds, attempts, timeouts, max_runs, optionals, metas, scopes)
                    WITH ORDINALITY AS j (id, priority, kind, attempts, timeout_ms, max_run_ms, options, meta, scope, n)
                    ON j.n = coalesce(u.again, u.first)
                JOIN unnest(payloads, run_ats, delays) WITH ORDINALITY AS s (payload, run_at, delay_ms, n)
                    ON s.n = coalesce(u.replace, u.again, u.first)
                WHERE u.before IS NULL AND (u.fate = 'stale' OR (u.fate = 'runs' AND u.again IS NOT NULL))
            ), held AS (
                INSERT INTO headcount.held (
                    id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
                    max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, reason, key
                )
                SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, attempts, 0, 0,
                       timeout_ms, max_run_ms, options, at, run_at, at, meta,
                       json_build_object('key', key, 'scope', scope), 'again', key
                FROM (SELECT * FROM wanted ORDER BY g) w
                ON CONFLICT (queue, key) WHERE reason = 'again' DO NOTHING
                RETURNING id, queue, priority, kind
            ), body AS (
                INSERT INTO headcount.body (job_id, part, content)
                SELECT w.id, 0, w.payload::json::text FROM wanted w JOIN held h ON h.id = w.id WHERE w.long
            ), counted AS (
                INSERT INTO headcount.tally (queue, priority, kind, held, arrived)
                SELECT queue, priority, kind, count(*), count(*) FROM held GROUP BY queue, priority, kind
            )
            SELECT array_agg(w.g::integer ORDER BY w.g), array_agg(h.id ORDER BY w.g),
                   array_agg(w.g::integer ORDER BY w.g) FILTER (WHERE h.id IS NULL)
            INTO a_keys, a_jobs, met
            FROM wanted w
            LEFT JOIN held h ON h.id = w.id;
            FOR n IN 1..coalesce(cardinality(a_keys), 0) LOOP
                doers[a_keys[n]] := a_jobs[n];
            END LOOP;

            IF met IS NOT NULL THEN
                -- One that waits for the key already is enough.
                SELECT array_agg(w.g::integer), array_agg(w.id) INTO standing, a_jobs
                FROM (
                    SELECT u.g, h.id
                    FROM (
                        SELECT k.g, k.queue, k.key
                        FROM unnest(g_queues, g_keys) WITH ORDINALITY AS k (queue, key, g)
                        JOIN unnest(met) AS l (g) ON l.g = k.g
                        ORDER BY k.g
                    ) u
                    CROSS JOIN LATERAL (
                        SELECT h.id FROM headcount.held h
                        WHERE h.queue = u.queue AND h.key = u.key AND h.reason = 'again'
                        FOR UPDATE
                    ) h
                ) w;
                FOR n IN 1..coalesce(cardinality(standing), 0) LOOP
                    doers[standing[n]] := a_jobs[n];
                END LOOP;
                -- Where there is none, the holder has ended meanwhile, and it has the key now.
                FOREACH g IN ARRAY met LOOP
                    IF doers[g] IS NULL THEN
                        fates[g] := NULL;
                    END IF;
                END LOOP;
                SELECT array_agg(u.job), array_agg(j.payload),
                       array_agg(coalesce(j.run_at, at + coalesce(j.delay_ms, 0) * interval '1 ms'))
                INTO r_jobs, r_texts, r_dues
                FROM unnest(standing, a_jobs) AS u (g, job)
                JOIN unnest(g_replace) WITH ORDINALITY AS k (replace, g) ON k.g = u.g
                JOIN unnest(payloads, run_ats, delays) WITH ORDINALITY AS j (payload, run_at, delay_ms, n)
                    ON j.n = k.replace;
                IF r_jobs IS NOT NULL THEN
                    PERFORM headcount.replace_all(r_jobs, r_texts, r_dues, inline_bytes);
                END IF;
            END IF;
        END IF;
        EXIT WHEN array_position(fates, NULL) IS NULL;
    END LOOP;
    IF rounds > 1 AND patience IS NOT NULL THEN
        PERFORM set_config('lock_timeout', no_waits, true);
    END IF;
    FOR n IN 1..size LOOP
        IF fates[n] = 'new' THEN
            doers[n] := g_ids[n];
            holders[n] := NULL;
        ELSIF doers[n] IS NULL THEN
            doers[n] := holders[n];
        END IF;
    END LOOP;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.must_resolve(job bigint, of_digest text, resolution text, output text, error text, wait_ms bigint, in_transaction boolean)
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    tried record;
BEGIN
    FOR tries IN 1..100 LOOP
        SELECT * INTO tried
        FROM headcount.try_resolve(job, of_digest, resolution, output, error, wait_ms, 1024, in_transaction);
        CASE tried.done
            WHEN 'done', 'early' THEN
                RETURN tried.done;
            WHEN 'unknown' THEN
                RAISE EXCEPTION 'no job has the id %', job
                    USING ERRCODE = 'no_data_found', HINT = 'It may have completed, been deleted or expired.';
            WHEN 'wrong_state' THEN
                RAISE EXCEPTION 'job % is %: it cannot be resolved', job, tried.state
                    USING ERRCODE = 'object_not_in_prerequisite_state',
                          HINT = 'Only a job can that waits for an answer, or runs and has given out its callback.';
            WHEN 'wrong_secret' THEN
                RAISE EXCEPTION 'job % cannot be resolved by this secret', job
                    USING ERRCODE = 'insufficient_privilege',
                          HINT = 'Each attempt has its own, and an answer uses it up.';
            WHEN 'answered' THEN
                RAISE EXCEPTION 'job % has been answered for already', job
                    USING ERRCODE = 'object_not_in_prerequisite_state',
                          HINT = 'It goes where that answer says as soon as it is parked.';
            ELSE
                -- It moved.
        END CASE;
    END LOOP;
    RAISE EXCEPTION 'job % is moving too fast to catch', job
        USING ERRCODE = 'serialization_failure', HINT = 'Try again.';
END
$function$;

CREATE OR REPLACE FUNCTION headcount.release_again(most bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '50ms'
AS $function$
DECLARE
    waits   record;
    next    record;
    freed   bigint := 0;
    blocked integer := 0;
BEGIN
    FOR waits IN
        SELECT h.id, h.queue, h.key FROM headcount.held h
        WHERE h.reason = 'again'
          AND NOT EXISTS (SELECT FROM headcount.coalesce c WHERE c.queue = h.queue AND c.key = h.key)
        ORDER BY h.queue, h.key
        LIMIT most
    LOOP
        BEGIN
            PERFORM FROM headcount.held h WHERE h.id = waits.id AND h.reason = 'again' FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            INSERT INTO headcount.coalesce (queue, key, job_id, scope)
            SELECT h.queue, h.key, h.id, coalesce(h.extra ->> 'scope', 'unfinished')
            FROM headcount.held h WHERE h.id = waits.id
            ON CONFLICT DO NOTHING;
            CONTINUE WHEN NOT FOUND;
            SELECT * INTO next FROM headcount.free_again(waits.queue, waits.key);
            freed := freed + coalesce(next.claimable, false)::integer;
        EXCEPTION WHEN lock_not_available THEN
            blocked := blocked + 1;
        END;
        EXIT WHEN blocked >= 10;
    END LOOP;
    RETURN freed;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.release_keys(most bigint, after_queue text, after_key text, OUT freed bigint, OUT last_queue text, OUT last_key text)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
DECLARE
    seen  bigint := 0;
    stale record;
BEGIN
    freed := 0;
    FOR stale IN
        SELECT c.queue, c.key, c.job_id, c.scope FROM headcount.coalesce c
        WHERE (c.queue, c.key) > (coalesce(after_queue, ''), coalesce(after_key, ''))
        ORDER BY c.queue, c.key
        LIMIT most
    LOOP
        seen := seen + 1;
        last_queue := stale.queue;
        last_key := stale.key;
        CONTINUE WHEN headcount.may_hold(headcount.stands(stale.job_id), stale.scope);
        -- Under a lock: what moves a job and its key does both or neither.
        PERFORM FROM headcount.coalesce c
        WHERE c.queue = stale.queue AND c.key = stale.key AND c.job_id = stale.job_id
        FOR UPDATE SKIP LOCKED;
        IF FOUND AND NOT headcount.may_hold(headcount.stands(stale.job_id), stale.scope) THEN
            freed := freed + headcount.let_go(ARRAY[stale.job_id], ARRAY[stale.queue], ARRAY[stale.key]);
        END IF;
    END LOOP;
    IF seen < most THEN
        last_queue := NULL;
        last_key := NULL;
    END IF;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.replace_all(jobs bigint[], contents text[], dues timestamp with time zone[], inline_bytes integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
DECLARE
    at CONSTANT timestamptz := clock_timestamp();
BEGIN
    DELETE FROM headcount.body b WHERE b.job_id = ANY (jobs) AND b.part = 0;
    -- Rows are named by their ids and never joined with arrays: that joins whole tables, by a plan that was made while
    -- they were empty. What is joined is what comes out of them.
    WITH wanted AS MATERIALIZED (
        SELECT u.id AS job, u.due, u.content, octet_length(u.content) > inline_bytes AS long
        FROM unnest(jobs, contents, dues) AS u (id, content, due)
    ), from_ready AS (
        DELETE FROM headcount.ready WHERE id = ANY (jobs)
        RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
                  options, enqueued_at, ready_at, meta, extra
    ), from_later AS (
        DELETE FROM headcount.later WHERE id = ANY (jobs)
        RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
                  options, enqueued_at, ready_at, meta, extra
    ), from_held AS (
        DELETE FROM headcount.held WHERE id = ANY (jobs)
        RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
                  options, enqueued_at, ready_at, meta, extra, reason, key
    ), changed AS MATERIALIZED (
        SELECT t.*, w.due, CASE WHEN NOT w.long THEN w.content::json END AS payload,
               CASE WHEN t.place = 'held' THEN 'held' WHEN w.due <= at THEN 'ready' ELSE 'later' END AS goes
        FROM (
            SELECT *, NULL::text AS reason, NULL::text AS key, 'ready' AS place FROM from_ready
            UNION ALL
            SELECT *, NULL, NULL, 'later' FROM from_later
            UNION ALL
            SELECT *, 'held' FROM from_held
        ) t
        JOIN wanted w ON w.job = t.id
    ), ready AS (
        -- One that was there keeps its place.
        INSERT INTO headcount.ready (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
        )
        SELECT id, queue, priority, CASE WHEN place = 'ready' THEN seq ELSE nextval('headcount.place') END, kind,
               payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms, options, enqueued_at, due,
               CASE WHEN place = 'ready' THEN ready_at ELSE at END, meta, extra
        FROM (SELECT * FROM changed WHERE goes = 'ready' ORDER BY due, id) c
    ), later AS (
        INSERT INTO headcount.later (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, due_at
        )
        SELECT id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
               max_run_ms, options, enqueued_at, due, ready_at, meta, extra, due
        FROM changed
        WHERE goes = 'later'
    ), held AS (
        INSERT INTO headcount.held (
            id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
            max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, reason, key
        )
        SELECT id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
               max_run_ms, options, enqueued_at, due, ready_at, meta, extra, reason, key
        FROM changed
        WHERE goes = 'held'
    ), body AS (
        INSERT INTO headcount.body (job_id, part, content)
        SELECT w.job, 0, w.content::json::text FROM wanted w JOIN changed c ON c.id = w.job WHERE w.long
    )
    INSERT INTO headcount.tally (queue, priority, kind, ready, scheduled)
    SELECT queue, priority, kind,
           count(*) FILTER (WHERE goes = 'ready') - count(*) FILTER (WHERE goes = 'later'),
           count(*) FILTER (WHERE goes = 'later') - count(*) FILTER (WHERE goes = 'ready')
    FROM changed
    WHERE goes <> place
    GROUP BY queue, priority, kind;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.replace_waiting(job bigint, place text, content text, due timestamp with time zone, inline_bytes integer)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
DECLARE
    at    CONSTANT timestamptz := clock_timestamp();
    short CONSTANT json := CASE WHEN octet_length(content) <= inline_bytes THEN content::json END;
BEGIN
    DELETE FROM headcount.body b WHERE b.job_id = job AND b.part = 0;
    IF short IS NULL THEN
        INSERT INTO headcount.body (job_id, part, content) VALUES (job, 0, content::json::text);
    END IF;
    IF place = 'held' THEN
        UPDATE headcount.held SET payload = short, payload_codec = NULL, run_at = due WHERE id = job;
    ELSIF place = 'ready' AND due <= at THEN
        -- It keeps its place.
        UPDATE headcount.ready SET payload = short, payload_codec = NULL, run_at = due WHERE id = job;
    ELSIF place = 'later' AND due > at THEN
        UPDATE headcount.later SET payload = short, payload_codec = NULL, run_at = due, due_at = due, note = NULL
        WHERE id = job;
    ELSIF place = 'ready' THEN
        WITH taken AS (
            DELETE FROM headcount.ready WHERE id = job
            RETURNING id, queue, priority, seq, kind, attempt, max_attempts, interruptions, deaths, timeout_ms,
                      max_run_ms, options, enqueued_at, ready_at, meta, extra
        ), later AS (
            INSERT INTO headcount.later (
                id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
                max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, due_at
            )
            SELECT id, queue, priority, seq, kind, short, attempt, max_attempts, interruptions, deaths, timeout_ms,
                   max_run_ms, options, enqueued_at, due, ready_at, meta, extra, due
            FROM taken
        )
        INSERT INTO headcount.tally (queue, priority, kind, ready, scheduled)
        SELECT queue, priority, kind, -1, 1 FROM taken;
    ELSE
        WITH taken AS (
            DELETE FROM headcount.later WHERE id = job
            RETURNING id, queue, priority, kind, attempt, max_attempts, interruptions, deaths, timeout_ms,
                      max_run_ms, options, enqueued_at, meta, extra
        ), ready AS (
            INSERT INTO headcount.ready (
                id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms,
                max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
            )
            SELECT id, queue, priority, nextval('headcount.place'), kind, short, attempt, max_attempts, interruptions,
                   deaths, timeout_ms, max_run_ms, options, enqueued_at, due, at, meta, extra
            FROM taken
        )
        INSERT INTO headcount.tally (queue, priority, kind, ready, scheduled)
        SELECT queue, priority, kind, 1, -1 FROM taken;
    END IF;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.resolve(id bigint, secret text, resolution text, output text DEFAULT NULL::text, error text DEFAULT NULL::text, wait interval DEFAULT NULL::interval)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    years   CONSTANT numeric := 10 * 365 * 86400;
    seconds CONSTANT numeric := extract(epoch FROM resolve.wait);
    said    text := resolve.error;
BEGIN
    IF resolve.id IS NULL OR resolve.secret IS NULL THEN
        RAISE EXCEPTION 'the % is NULL', CASE WHEN resolve.id IS NULL THEN 'id' ELSE 'secret' END
            USING ERRCODE = 'null_value_not_allowed', HINT = 'A callback is ID:SECRET, as its job was given it.';
    ELSIF resolve.resolution IS NULL OR resolve.resolution NOT IN ('completed', 'still_waiting', 'failed', 'retry') THEN
        RAISE EXCEPTION 'unknown resolution %', quote_nullable(resolve.resolution)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'It is one of completed, still_waiting, failed, retry.';
    ELSIF resolve.output IS NOT NULL AND resolve.resolution <> 'completed' THEN
        RAISE EXCEPTION 'an output of a job that is not completed, but %', resolve.resolution
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out.';
    ELSIF octet_length(resolve.output) > 65536 THEN
        RAISE EXCEPTION 'the output has % bytes; at most 65536 are allowed', octet_length(resolve.output)
            USING ERRCODE = 'program_limit_exceeded', HINT = 'Keep large data elsewhere and give its address.';
    ELSIF resolve.error IS NULL AND resolve.resolution IN ('failed', 'retry') THEN
        RAISE EXCEPTION 'no error is given for %', resolve.resolution
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Say why: error => ''…''.';
    ELSIF resolve.error IS NOT NULL AND resolve.resolution NOT IN ('failed', 'retry') THEN
        RAISE EXCEPTION 'an error of a job that is %', replace(resolve.resolution, '_', ' ')
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out.';
    ELSIF resolve.wait IS NULL AND resolve.resolution = 'still_waiting' THEN
        RAISE EXCEPTION 'no wait is given for still_waiting'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Say for how long, from now: wait => ''1 hour''.';
    ELSIF resolve.wait IS NOT NULL AND resolve.resolution NOT IN ('still_waiting', 'retry') THEN
        RAISE EXCEPTION 'a wait of a job that is %', resolve.resolution
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Leave it out.';
    ELSIF seconds > years OR seconds < 0 THEN
        RAISE EXCEPTION 'a wait of % s', trim_scale(seconds)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'From 0 s to ten years are allowed.';
    ELSIF seconds = 0 AND resolve.resolution = 'still_waiting' THEN
        RAISE EXCEPTION 'a deadline of 0 s would end the wait'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Fail or retry the job instead.';
    END IF;
    -- Of a long error the end is kept.
    said := right(said, 16384);
    WHILE octet_length(said) > 16384 LOOP
        said := right(said, -greatest((octet_length(said) - 16384) / 4, 1));
    END LOOP;
    RETURN headcount.must_resolve(
        resolve.id, encode(sha256(convert_to(resolve.secret, 'UTF8')), 'hex'), resolve.resolution, resolve.output, said,
        -- Whole milliseconds, rounded up.
        ceil(seconds * 1000)::bigint, in_transaction => true);
END
$function$;

CREATE OR REPLACE FUNCTION headcount.stands(job bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
BEGIN
    RETURN (
        SELECT CASE
            WHEN EXISTS (SELECT FROM headcount.ready j WHERE j.id = job) THEN 'ready'
            WHEN EXISTS (SELECT FROM headcount.running j WHERE j.id = job) THEN 'running'
            WHEN EXISTS (SELECT FROM headcount.later j WHERE j.id = job) THEN 'later'
            WHEN EXISTS (SELECT FROM headcount.held j WHERE j.id = job) THEN 'held'
            WHEN EXISTS (SELECT FROM headcount.parked j WHERE j.id = job) THEN 'parked'
            ELSE (SELECT j.state FROM headcount.finished j WHERE j.id = job)
        END
    );
END
$function$;

CREATE OR REPLACE FUNCTION headcount.try_cancel(job bigint, OUT done boolean, OUT asked boolean)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
BEGIN
    WITH clock AS MATERIALIZED (
        SELECT clock_timestamp() AS at
    ), asked AS (
        UPDATE headcount.running SET cancel_at = coalesce(cancel_at, clock_timestamp()) WHERE id = job RETURNING id
    ), from_ready AS (
        DELETE FROM headcount.ready WHERE id = job
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
    ), from_held AS (
        DELETE FROM headcount.held WHERE id = job
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
                  NULL::text AS note, CASE WHEN reason = 'suspect' THEN 'suspect' ELSE 'held' END AS place
    ), from_later AS (
        DELETE FROM headcount.later WHERE id = job
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
                  note
    ), from_parked AS (
        DELETE FROM headcount.parked WHERE id = job
        RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
                  timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, started_at, worker
    ), taken AS (
        SELECT *, NULL::text AS note, 'ready' AS place FROM from_ready
        UNION ALL
        SELECT * FROM from_held
        UNION ALL
        SELECT *, 'later' FROM from_later
        UNION ALL
        SELECT id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
               timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, NULL, 'parked'
        FROM from_parked
    ), finished AS (
        INSERT INTO headcount.finished (
            id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
            timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra, state,
            started_at, finished_at, worker, error
        )
        SELECT t.id, t.queue, t.priority, t.seq, t.kind, t.payload, t.payload_codec, t.attempt, t.max_attempts,
               t.interruptions, t.deaths, t.timeout_ms, t.max_run_ms, t.options, t.enqueued_at, t.run_at, t.ready_at,
               t.meta, t.extra, 'cancelled', coalesce(p.started_at, a.started_at), c.at, coalesce(p.worker, a.worker),
               coalesce(t.note, a.error)
        FROM taken t
        CROSS JOIN clock c
        LEFT JOIN from_parked p ON true
        LEFT JOIN LATERAL (
            SELECT a.started_at, a.worker, a.error FROM headcount.attempt a
            WHERE a.job_id = t.id ORDER BY a.id DESC LIMIT 1
        ) a ON true
    ), counted AS (
        INSERT INTO headcount.tally (queue, priority, kind, ready, held, suspects, scheduled, parked, cancelled)
        SELECT queue, priority, kind, CASE WHEN place = 'ready' THEN -1 END,
               CASE WHEN place IN ('held', 'suspect') THEN -1 END, CASE WHEN place = 'suspect' THEN -1 END,
               CASE WHEN place = 'later' THEN -1 END, CASE WHEN place = 'parked' THEN -1 END, 1
        FROM taken
    ), let_go AS MATERIALIZED (
        SELECT headcount.let_go(array_agg(id), array_agg(queue), array_agg(extra ->> 'key'))
        FROM taken WHERE extra IS NOT NULL HAVING count(*) > 0
    )
    SELECT EXISTS (SELECT FROM taken), EXISTS (SELECT FROM asked) INTO done, asked
    WHERE (SELECT count(*) FROM let_go) >= 0;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.try_resolve(job bigint, of_digest text, resolution text, output text, error text, wait_ms bigint, inline_bytes integer, in_transaction boolean, OUT done text, OUT state text)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
 SET jit TO 'off'
AS $function$
BEGIN
    IF resolution = 'still_waiting' THEN
        UPDATE headcount.parked p SET deadline = clock_timestamp() + wait_ms * interval '1 ms'
        WHERE p.id = job AND p.digest = of_digest;
        done := CASE WHEN FOUND THEN 'done' END;
    ELSE
        PERFORM FROM headcount.parked p WHERE p.id = job AND p.digest = of_digest FOR UPDATE;
        IF FOUND THEN
            PERFORM FROM headcount.end_parked(ARRAY[job], resolution, output, error, wait_ms, inline_bytes);
            done := 'done';
        END IF;
    END IF;
    IF done IS NOT NULL THEN
        RETURN;
    END IF;

    -- A final answer stands, one that the job still waits gives way to any other.
    IF in_transaction THEN
        INSERT INTO headcount.answer (job_id, digest, resolution, output, error, wait_ms)
        SELECT r.id, r.digest, try_resolve.resolution, try_resolve.output, try_resolve.error, try_resolve.wait_ms
        FROM headcount.running r
        WHERE r.id = job AND r.digest = of_digest
          AND (r.answer IS NULL OR r.answer ->> 'resolution' = 'still_waiting')
          AND NOT EXISTS (
              SELECT FROM headcount.answer a
              WHERE a.job_id = job AND a.digest = of_digest AND a.resolution <> 'still_waiting'
          );
    ELSE
        UPDATE headcount.running r
        SET answer = json_strip_nulls(json_build_object(
            'resolution', try_resolve.resolution, 'output', try_resolve.output, 'error', try_resolve.error,
            'ms', try_resolve.wait_ms))
        WHERE r.id = job AND r.digest = of_digest
          AND (r.answer IS NULL OR r.answer ->> 'resolution' = 'still_waiting');
    END IF;
    IF FOUND THEN
        done := 'early';
        RETURN;
    END IF;

    -- Why not? All in one view: a job on the move is in one place of it.
    SELECT CASE
               WHEN now.state IS NULL THEN 'unknown'
               WHEN now.state = 'wait_async'
                   THEN CASE WHEN now.parked IS DISTINCT FROM of_digest THEN 'wrong_secret' END
               WHEN now.state <> 'running' OR now.running IS NULL THEN 'wrong_state'
               WHEN now.running <> of_digest THEN 'wrong_secret'
               WHEN now.answered THEN 'answered'
           END,
           now.state
    INTO done, state
    FROM (
        SELECT (SELECT j.state FROM headcount.jobs j WHERE j.id = job) AS state,
               (SELECT p.digest FROM headcount.parked p WHERE p.id = job) AS parked,
               (SELECT r.digest FROM headcount.running r WHERE r.id = job) AS running,
               EXISTS (
                   SELECT FROM headcount.running r WHERE r.id = job AND r.answer ->> 'resolution' <> 'still_waiting'
               ) OR EXISTS (
                   SELECT FROM headcount.answer a
                   WHERE a.job_id = job AND a.digest = of_digest AND a.resolution <> 'still_waiting'
               ) AS answered
    ) now;
END
$function$;

CREATE OR REPLACE FUNCTION headcount.wake(queues text[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
BEGIN
    -- A commit that notifies takes a lock of the whole server: only who must does so.
    IF EXISTS (SELECT FROM headcount.queue s WHERE s.asleep) THEN
        PERFORM pg_notify('headcount.wake', q.queue)
        FROM (SELECT DISTINCT u.queue FROM unnest(queues) AS u (queue)) q
        WHERE EXISTS (
            SELECT FROM headcount.queue s
            WHERE s.asleep
              AND (s.queue = q.queue
                   -- Private queues are meant only by an entry that begins so itself.
                   OR (right(s.queue, 1) = '*' AND starts_with(q.queue, left(s.queue, -1))
                       AND (starts_with(s.queue, 'run:') OR NOT starts_with(q.queue, 'run:'))))
        );
    END IF;
END
$function$;
