-- Queues a failed or cancelled job again, at the end of its lane, with all its attempts. What was tried stays on
-- record. Its key it takes again, unless another job has it.
-- $1 id. Rows: one: whether it was queued, and who holds its key, if another does. Neither: it is in no such state, or
-- the key was let go of or taken meanwhile; only another look can tell.
-- Locks: the job's row; waits for who is just taking the key. Index: finished's and coalesce's primary keys.
WITH wanted AS MATERIALIZED (
    SELECT f.id, f.queue, f.extra ->> 'key' AS key, coalesce(f.extra ->> 'scope', 'unfinished') AS scope
    FROM headcount.finished f
    WHERE f.id = $1 AND f.state IN ('failed', 'cancelled')
    FOR UPDATE
), key AS (
    INSERT INTO headcount.coalesce (queue, key, job_id, scope)
    SELECT queue, key, id, scope FROM wanted WHERE key IS NOT NULL
    ON CONFLICT DO NOTHING
    RETURNING job_id
), holder AS MATERIALIZED (
    SELECT c.job_id FROM headcount.coalesce c
    WHERE c.queue = (SELECT queue FROM wanted) AND c.key = (SELECT key FROM wanted)
), taken AS (
    DELETE FROM headcount.finished
    WHERE id = ANY (ARRAY(
        SELECT w.id FROM wanted w
        WHERE w.key IS NULL OR EXISTS (SELECT FROM key) OR EXISTS (SELECT FROM holder h WHERE h.job_id = w.id)
    ))
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
              state
), ready AS (
    INSERT INTO headcount.ready (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
    )
    SELECT id, queue, priority, nextval('headcount.place'), kind, payload, payload_codec, 0, max_attempts, 0, 0,
           timeout_ms, max_run_ms, options, enqueued_at, least(run_at, clock_timestamp()), clock_timestamp(), meta,
           extra
    FROM taken
), counted AS (
    -- No flow: what a person does by hand says nothing about the rate of work.
    INSERT INTO headcount.tally (queue, priority, kind, ready, failed, cancelled)
    SELECT queue, priority, kind, 1, CASE WHEN state = 'failed' THEN -1 END,
           CASE WHEN state = 'cancelled' THEN -1 END
    FROM taken
)
SELECT EXISTS (SELECT FROM taken) AS done, (SELECT t.queue FROM taken t) AS queue,
       (SELECT h.job_id FROM holder h WHERE h.job_id <> $1) AS holder
