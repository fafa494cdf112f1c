-- Writes new jobs that are due later.
-- ?1: JSON, a row a job: [id, queue, priority, kind, payload, max_attempts, timeout_ms, max_run_ms, options, run_at,
-- meta, extra]. ?2: now. Rows: none. A first seq is the id.
INSERT INTO later (id, queue, priority, seq, kind, payload, attempt, max_attempts, interruptions, deaths,
    timeout_ms, max_run_ms, options, enqueued_at, run_at, ready_at, meta, extra)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 0, value ->> 3, value ->> 4, 0, value ->> 5, 0, 0,
    value ->> 6, value ->> 7, value ->> 8, ?2, value ->> 9, NULL, value ->> 10, value ->> 11
FROM json_each(?1)
