-- Enqueues jobs that may run at once and whose payloads are short: the common case, without a sort or a second table.
-- $1 queue[]  $2 priority[]  $3 kind[]  $4 payload[]  $5 max_attempts[]  $6 timeout_ms[]  $7 max_run_ms[]
-- $8 options[]  $9 meta[]: a job each; $10 queue[]  $11 priority[]  $12 kind[]  $13 jobs[]: a lane each.
-- Rows: the ids, which ascend in the order of the jobs.
-- Locks: none.
WITH new AS (
    INSERT INTO headcount.ready (
        id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
        options, enqueued_at, run_at, ready_at, meta
    )
    SELECT j.id, j.queue, j.priority, j.id, j.kind, j.payload::json, 0, j.max_attempts, 0, 0, j.timeout_ms,
           j.max_run_ms, j.options::json, c.at, c.at, c.at, j.meta::json
    FROM (SELECT clock_timestamp() AS at OFFSET 0) c
    CROSS JOIN (
        SELECT nextval('headcount.place') AS id, u.*
        FROM unnest(
            $1::text[], $2::smallint[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[], $8::text[],
            $9::text[]
        ) AS u (queue, priority, kind, payload, max_attempts, timeout_ms, max_run_ms, options, meta)
    ) j
    RETURNING id
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, ready, arrived)
    SELECT l.queue, l.priority, l.kind, l.jobs, l.jobs
    FROM unnest($10::text[], $11::smallint[], $12::text[], $13::integer[]) AS l (queue, priority, kind, jobs)
)
SELECT id FROM new
