-- Removes chosen jobs that claim.sql has copied.
-- ?1: JSON, the ids. Rows: each job as a claim hands it out, in no order. Index: the primary key, once an id.
DELETE FROM ready
WHERE id IN (SELECT value FROM json_each(?1))
RETURNING id, queue, kind, priority, payload, attempt, max_attempts, interruptions, deaths, timeout_ms, max_run_ms,
    options, enqueued_at, run_at, ready_at, meta,
    extra ->> 'key', extra ->> 'scope'
