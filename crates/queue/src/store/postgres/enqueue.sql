-- Enqueues jobs of every sort: to run at once, after a delay or at a time, with long payloads.
-- $1 queue[]  $2 priority[]  $3 kind[]  $4 payload[]  $5 max_attempts[]  $6 timeout_ms[]  $7 max_run_ms[]
-- $8 options[]  $9 meta[]  $10 delay_ms[]  $11 run_at[]: a job each; $12: payloads of more bytes lie in body.
-- Rows: the ids, which ascend in the order of the jobs.
-- Locks: none.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS at
), new AS MATERIALIZED (
    SELECT nextval('headcount.place') AS id, u.queue, u.priority, u.kind, u.payload, u.max_attempts, u.timeout_ms,
           u.max_run_ms, u.options::json AS options, u.meta::json AS meta, c.at,
           coalesce(u.run_at, c.at + coalesce(u.delay_ms, 0) * interval '1 ms') AS run_at,
           octet_length(u.payload) > $12::integer AS long
    FROM clock c
    CROSS JOIN unnest(
        $1::text[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[], $8::text[],
        $9::text[], $10::bigint[], $11::timestamptz[]
    ) AS u (queue, priority, kind, payload, max_attempts, timeout_ms, max_run_ms, options, meta, delay_ms, run_at)
), ready AS (
    INSERT INTO headcount.ready (
        id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
        options, enqueued_at, run_at, ready_at, meta
    )
    SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, max_attempts, 0, 0,
           timeout_ms, max_run_ms, options, at, run_at, at, meta
    FROM new
    WHERE run_at <= at
), later AS (
    INSERT INTO headcount.later (
        id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
        options, enqueued_at, run_at, meta, due_at
    )
    SELECT id, queue, priority, id, kind, CASE WHEN NOT long THEN payload::json END, 0, max_attempts, 0, 0,
           timeout_ms, max_run_ms, options, at, run_at, meta, run_at
    FROM new
    WHERE run_at > at
), body AS (
    -- The cast refuses what json would refuse inline.
    INSERT INTO headcount.body (job_id, part, content)
    SELECT id, 0, payload::json::text FROM new WHERE long
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, ready, arrived, scheduled, deferred)
    SELECT queue, priority, kind,
           nullif(count(*) FILTER (WHERE run_at <= at), 0), nullif(count(*) FILTER (WHERE run_at <= at), 0),
           nullif(count(*) FILTER (WHERE run_at > at), 0), nullif(count(*) FILTER (WHERE run_at > at), 0)
    FROM new
    GROUP BY queue, priority, kind
)
SELECT id FROM new
