-- Jobs that are handed to a third party, and SQL from any language that answers for them.
--
-- The release before claims, ends and counts beside this one. Of what is new it knows nothing: it never parks a job and
-- leaves parked ones alone. A callback and an early answer go with the row of `running` that it deletes, as with any
-- other end of the attempt.

-- Handed to a third party, with a deadline.
CREATE TABLE headcount.parked (
    id                bigint      PRIMARY KEY,
    queue             text        COLLATE "C" NOT NULL,
    priority          smallint    NOT NULL,
    seq               bigint      NOT NULL,
    kind              text        COLLATE "C" NOT NULL,
    payload           json,
    payload_codec     smallint,
    attempt           smallint    NOT NULL,
    max_attempts      smallint    NOT NULL,
    interruptions     smallint    NOT NULL,
    deaths            smallint    NOT NULL,
    timeout_ms        bigint,
    max_run_ms        bigint,
    options           json,
    enqueued_at       timestamptz NOT NULL,
    run_at            timestamptz NOT NULL,
    ready_at          timestamptz NOT NULL,
    meta              json,
    extra             json,
    started_at        timestamptz NOT NULL,
    worker            text        NOT NULL, -- who ran it
    digest            text        COLLATE "C", -- of the secret by which it is resolved; NULL: it can only expire
    parked_at         timestamptz NOT NULL,
    deadline          timestamptz NOT NULL,
    expiry            text        COLLATE "C" NOT NULL CHECK (expiry IN ('retry', 'fail')),
    keep_completed_ms bigint      NOT NULL, -- how long it is kept once it is over; 0: not at all
    keep_failed_ms    bigint,               -- NULL: until someone retries or deletes it
    retry_ms          bigint      NOT NULL, -- the wait before it is tried again, where the answer names none
    CHECK (attempt >= 0 AND max_attempts > 0 AND interruptions >= 0 AND deaths >= 0)
) WITH (
    fillfactor = 90, -- the deadline is set in place
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false
);

CREATE INDEX parked_deadline ON headcount.parked (deadline, id);
CREATE INDEX parked_lane ON headcount.parked (queue, priority, kind);

-- digest: of the secret that this attempt has given out. answer: one that came before the job was parked, as
-- {"resolution": …, "output": …, "error": …, "ms": …}; parking takes it by RETURNING and settles at once, so that it
-- cannot be lost.
ALTER TABLE headcount.running ADD COLUMN digest text COLLATE "C", ADD COLUMN answer json;

-- What is parked is counted like the rest. The release before folds deltas without this column: it drops them, and
-- writes a version that does not say. That is NULL and not 0, so that nothing is lost in silence: whoever reads such a
-- version counts the rows of the table instead, and the next fold or audit of this release writes down what it counts.
ALTER TABLE headcount.tally ADD COLUMN parked integer;
ALTER TABLE headcount.queue_state ADD COLUMN parked bigint DEFAULT 0; -- of every version so far
ALTER TABLE headcount.queue_state ALTER COLUMN parked DROP DEFAULT;

INSERT INTO headcount.duty (name) VALUES ('expire');

-- Answers that an application's transaction gives for jobs that still run. They lie here until it commits, and no other
-- transaction ever sees one: to write them into `running` at once would lock the rows until then, and the workers that
-- end those attempts would wait for the application.
CREATE TABLE headcount.answer (
    job_id     bigint NOT NULL,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    digest     text   COLLATE "C" NOT NULL,
    resolution text   COLLATE "C" NOT NULL,
    output     text,
    error      text,
    wait_ms    bigint,
    PRIMARY KEY (job_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);

-- Every job in one shape, as before, now with the parked ones and their deadlines. Columns may only be appended.
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
       NULL::text AS output, NULL::text AS reason, NULL::timestamptz AS expires_at, j.extra ->> 'key' AS key,
       NULL::timestamptz AS deadline
FROM headcount.ready j
UNION ALL
SELECT j.id, j.queue, j.kind, 'queued', j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at,
       (SELECT t.started_at FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL,
       (SELECT t.worker FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1),
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL, j.reason, NULL,
       j.extra ->> 'key', NULL
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
       NULL, NULL, NULL, j.extra ->> 'key', NULL
FROM headcount.later j
UNION ALL
-- attempt of a running job, and of one that is parked, is the number of the one under way.
SELECT j.id, j.queue, j.kind, 'running', j.priority, (j.attempt + 1)::smallint, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at, j.started_at, NULL,
       (SELECT w.label FROM headcount.worker w WHERE w.boot = j.boot),
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL, NULL, NULL,
       j.extra ->> 'key', NULL
FROM headcount.running j
UNION ALL
SELECT j.id, j.queue, j.kind, 'wait_async', j.priority, (j.attempt + 1)::smallint, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at, j.started_at, NULL, j.worker,
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta,
       (SELECT t.error FROM headcount.attempt t WHERE t.job_id = j.id ORDER BY t.id DESC LIMIT 1), NULL, NULL, NULL,
       j.extra ->> 'key', j.deadline
FROM headcount.parked j
UNION ALL
SELECT j.id, j.queue, j.kind, j.state, j.priority, j.attempt, j.max_attempts, j.interruptions,
       j.deaths, j.run_at, j.ready_at, j.enqueued_at, j.started_at, j.finished_at, j.worker,
       coalesce(j.payload, (SELECT b.content::json FROM headcount.body b WHERE b.job_id = j.id AND b.part = 0)),
       j.payload_codec, j.meta, j.error,
       coalesce(j.output, (SELECT b.content FROM headcount.body b WHERE b.job_id = j.id AND b.part = 1)),
       NULL, j.expires_at, j.extra ->> 'key', NULL
FROM headcount.finished j;

-- Where a job stands, in one view: ready, later, held, running, parked, completed, failed, cancelled; NULL: nowhere.
CREATE OR REPLACE FUNCTION headcount.stands(job bigint) RETURNS text
LANGUAGE plpgsql AS $$
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
$$;

-- Whether a job that stands there may hold a key of this scope. One that is parked has started, as one that runs.
CREATE OR REPLACE FUNCTION headcount.may_hold(place text, scope text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(place IN ('ready', 'later', 'held') OR (place IN ('running', 'parked') AND scope <> 'pending')
                    OR (place = 'failed' AND scope = 'unfinished-or-failed'), false)
$$;

-- Cancels a job that waits; asks for the end of one that runs. Neither: it moved, or is over, or is nowhere; only
-- another look can tell, since a row that a claim in flight takes matches nothing here.
-- Locks: the job's row; waits for a move in flight; its key.
CREATE OR REPLACE FUNCTION headcount.try_cancel(job bigint, OUT done boolean, OUT asked boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
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
$$;

-- Ends the wait of parked jobs, each as it came: completed with `output`, failed for good by `error`, retry (the
-- attempt failed by `error`; after `wait_ms`, or the job's own wait), or expired. Outputs of more than `inline_bytes`
-- lie in body.
-- Rows: each job that was still parked: its id, its queue, its fate (gone, completed, failed, later, ready) and what
-- was its deadline.
-- Locks: the jobs, which the caller has locked; their keys; last of all queue, by name.
CREATE FUNCTION headcount.end_parked(
    jobs bigint[], how text, output text, error text, wait_ms bigint, inline_bytes integer
) RETURNS TABLE (id bigint, queue text, fate text, deadline timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
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
$$;

-- A third party's answer for a job, by the digest of its secret: completed, still_waiting, failed or retry. What became
-- of it: done, or early (kept until the job is parked); else nothing was changed: wrong_secret, answered (early, for
-- good), wrong_state (it is in this state), unknown. NULL: it moved, and only another look can tell.
-- `in_transaction`: an early answer is kept when the transaction commits and not before, so that no worker waits for it.
-- With the rights of its owner: who answers may read no job, and knows a secret instead.
-- Locks: the job's row where it is parked, and its key; the row where it runs only if not `in_transaction`.
CREATE FUNCTION headcount.try_resolve(
    job bigint, of_digest text, resolution text, output text, error text, wait_ms bigint, inline_bytes integer,
    in_transaction boolean, OUT done text, OUT state text
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
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
$$;

-- The same until it is certain. Returns done or early; raises what stands in its way.
CREATE FUNCTION headcount.must_resolve(
    job bigint, of_digest text, resolution text, output text, error text, wait_ms bigint, in_transaction boolean
) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
$$;

-- When the transaction commits that has answered for a job that ran: keeps the answer, or gives it, if the job is
-- parked by now. What stands in its way by then fails the commit: nothing was changed, and the application knows.
CREATE FUNCTION headcount.keep_answer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM headcount.answer a WHERE a.job_id = NEW.job_id AND a.id = NEW.id;
    PERFORM headcount.must_resolve(
        NEW.job_id, NEW.digest, NEW.resolution, NEW.output, NEW.error, NEW.wait_ms, in_transaction => false);
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER answer_kept AFTER INSERT ON headcount.answer
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION headcount.keep_answer();

-- Answers for a job inside this transaction, by its id and secret: 'done', or 'early' of one that is not parked yet,
-- which goes where the answer says as soon as it is. The limits are those of the library (limits.rs and parking.rs).
--
--     SELECT headcount.resolve(4711, '8f1e…', 'completed', output => 'scanned: clean');
--     SELECT headcount.resolve(4711, '8f1e…', 'still_waiting', wait => '1 hour');
--     SELECT headcount.resolve(4711, '8f1e…', 'failed', error => 'the bank refused it');
--     SELECT headcount.resolve(4711, '8f1e…', 'retry', error => 'the bank was closed', wait => '8 hours');
--
-- No worker waits for the transaction, however long it stays open: of a job that is parked the row is locked, which no
-- worker needs; one that runs is not touched before the commit. A commit fails if the job has moved on by then.
CREATE FUNCTION headcount.resolve(
    id         bigint,
    secret     text,
    resolution text,
    output     text     DEFAULT NULL, -- of completed: what it has to show
    error      text     DEFAULT NULL, -- of failed and retry: why
    wait       interval DEFAULT NULL  -- of still_waiting: the deadline, from now; of retry: in place of the kind's own
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
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
$$;

-- Whoever may use them is told so by name.
REVOKE ALL ON FUNCTION
    headcount.end_parked(bigint[], text, text, text, bigint, integer),
    headcount.try_resolve(bigint, text, text, text, text, bigint, integer, boolean),
    headcount.must_resolve(bigint, text, text, text, text, bigint, boolean),
    headcount.keep_answer(),
    headcount.resolve(bigint, text, text, text, text, interval)
FROM PUBLIC;

-- Roles have been granted what they need before all this was there, and functions that the release before calls look
-- into the new table with its role's rights. Whoever may do something with held jobs may do it with parked ones; and
-- end their waits, if he may let go of keys.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT format('%s ON headcount.parked', a.privilege_type) AS what, a.grantee
        FROM pg_catalog.pg_class c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
        WHERE c.oid = 'headcount.held'::regclass AND a.grantee <> c.relowner
        UNION ALL
        SELECT 'EXECUTE ON FUNCTION headcount.end_parked', a.grantee
        FROM pg_catalog.pg_proc p
        CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) a
        WHERE p.oid = 'headcount.let_go(bigint[],text[],text[])'::regprocedure AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('GRANT %s TO %s', given.what,
                       CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END);
    END LOOP;
END
$$;
