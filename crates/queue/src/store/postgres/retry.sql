-- Queues a failed or cancelled job again, at the end of its lane, with all its attempts. What was tried stays on
-- record.
-- $1 id. Rows: id and queue, if it was. Locks: the job's row. Index: finished's primary key.
WITH taken AS (
    DELETE FROM headcount.finished WHERE id = $1 AND state IN ('failed', 'cancelled')
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
SELECT id, queue FROM taken
