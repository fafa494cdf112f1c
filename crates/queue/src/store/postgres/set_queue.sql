-- Sets something for a queue; what is NULL stays as it is.
-- $1 queue  $2 paused  $3 whether $4 and $5 are set  $4 keep_completed_ms  $5 keep_failed_ms (NULL: without end)
-- $6 start_within_ms. Rows: none. Locks: the queue. Index: queue's primary key.
INSERT INTO headcount.queue AS q (queue, paused, retains, keep_completed_ms, keep_failed_ms, start_within_ms)
VALUES ($1, coalesce($2::boolean, false), coalesce($3::boolean, false), coalesce($4::bigint, 0), $5::bigint,
        coalesce($6::bigint, 60000))
ON CONFLICT (queue) DO UPDATE SET
    paused = coalesce($2::boolean, q.paused),
    retains = coalesce($3::boolean, q.retains),
    keep_completed_ms = CASE WHEN $3::boolean IS NULL THEN q.keep_completed_ms ELSE excluded.keep_completed_ms END,
    keep_failed_ms = CASE WHEN $3::boolean IS NULL THEN q.keep_failed_ms ELSE excluded.keep_failed_ms END,
    start_within_ms = coalesce($6::bigint, q.start_within_ms)
