-- Makes due jobs claimable, the earlier due first, each at the end of its lane.
-- $1 the most  $2 the cursor: nothing due before it is looked at, NULL for all
-- Rows: one: how many, the last one's due time, and their queues. Another doer: none promoted.
-- Locks: the duty and what is moved, both SKIP LOCKED. Index: later_due.
WITH duty AS MATERIALIZED (
    SELECT d.name FROM headcount.duty d WHERE d.name = 'promote' FOR UPDATE SKIP LOCKED
), due AS (
    DELETE FROM headcount.later
    WHERE id = ANY (ARRAY(
        SELECT l.id FROM headcount.later l
        WHERE l.due_at >= coalesce($2::timestamptz, '-infinity') AND l.due_at <= (SELECT clock_timestamp())
          AND EXISTS (SELECT FROM duty)
        ORDER BY l.due_at, l.id
        LIMIT $1::bigint
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
              timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra,
              due_at
), ready AS (
    -- Lateness counts from when it was due, not from when somebody noticed.
    INSERT INTO headcount.ready (
        id, queue, priority, seq, kind, payload, payload_codec, attempt, max_attempts, interruptions, deaths,
        timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra
    )
    SELECT d.id, d.queue, d.priority, nextval('headcount.place'), d.kind, d.payload, d.payload_codec, d.attempt,
           d.max_attempts, d.interruptions, d.deaths, d.timeout_ms, d.max_run_ms, d.options, d.enqueued_at, d.run_at,
           d.due_at, d.meta, d.extra
    FROM (SELECT * FROM due ORDER BY due_at, id) d
), counted AS (
    INSERT INTO headcount.tally (queue, priority, kind, ready, scheduled, promoted)
    SELECT queue, priority, kind, count(*), -count(*), count(*) FROM due GROUP BY queue, priority, kind
)
SELECT count(*) AS jobs, max(due_at) AS last, coalesce(array_agg(DISTINCT queue), '{}') AS queues FROM due
