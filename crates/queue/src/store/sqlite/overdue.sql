-- Parked jobs whose deadline has passed, the earlier first.
-- ?1: now. ?2: how many. Rows: as parked.sql. Index: parked_deadline.
SELECT p.id, p.queue, p.priority, p.kind, p.attempt, p.interruptions, p.deaths, p.started_at, p.worker,
    p.extra ->> 'key', p.extra ->> 'scope', p.max_attempts, p.digest, p.parked_at, p.deadline, p.expiry,
    p.keep_completed_ms, p.keep_failed_ms, p.retry_ms
FROM parked p
WHERE p.deadline <= ?1
ORDER BY p.deadline, p.id
LIMIT ?2
