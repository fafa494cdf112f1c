-- The running jobs of a worker.
-- ?1: the worker. Rows: id, boot, claim, queue, priority, kind, attempt, interruptions, deaths, started_at, cancel,
-- begun, worker, key, scope, max_attempts, answer. Index: running_boot.
SELECT r.id, r.boot, r.claim, r.queue, r.priority, r.kind, r.attempt, r.interruptions, r.deaths, r.started_at,
    r.cancel_at IS NOT NULL AS cancel, r.begun,
    coalesce((SELECT coalesce(w.instance, w.host || ':' || w.pid) FROM worker w WHERE w.boot = r.boot), '?') AS worker,
    r.extra ->> 'key', r.extra ->> 'scope', r.max_attempts, r.answer
FROM running r
WHERE r.boot = ?1
ORDER BY r.id
