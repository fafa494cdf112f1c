-- A parked job.
-- ?1: its id. Rows: none or one: id, queue, priority, kind, attempt, interruptions, deaths, started_at, worker, key,
-- scope, max_attempts, digest, parked_at, deadline, expiry, keep_completed_ms, keep_failed_ms, retry_ms.
-- Index: the primary key.
SELECT p.id, p.queue, p.priority, p.kind, p.attempt, p.interruptions, p.deaths, p.started_at, p.worker,
    p.extra ->> 'key', p.extra ->> 'scope', p.max_attempts, p.digest, p.parked_at, p.deadline, p.expiry,
    p.keep_completed_ms, p.keep_failed_ms, p.retry_ms
FROM parked p
WHERE p.id = ?1
