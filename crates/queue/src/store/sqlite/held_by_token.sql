-- The running jobs whose attempt is still the one named.
-- ?1: JSON, rows of [id, boot, claim]. Rows: as held_by_worker.sql. Index: the primary key, once a row of ?1.
SELECT r.id, r.boot, r.claim, r.queue, r.priority, r.kind, r.attempt, r.interruptions, r.deaths, r.started_at,
    r.cancel_at IS NOT NULL AS cancel, r.begun,
    coalesce((SELECT coalesce(w.instance, w.host || ':' || w.pid) FROM worker w WHERE w.boot = r.boot), '?') AS worker,
    r.extra ->> 'key', r.extra ->> 'scope', r.max_attempts, r.answer
FROM json_each(?1) j
CROSS JOIN running r ON r.id = j.value ->> 0
WHERE r.boot = j.value ->> 1 AND r.claim = j.value ->> 2
