-- A stretch of the coalesce keys, and which of them are held by jobs that may hold none: the release before this one
-- ends jobs without letting go.
-- ?1 queue, ?2 key: after these. ?3: how many. Rows: queue, key, job, whether it is stale. Indexes: the primary keys.
SELECT c.queue, c.key, c.job_id,
    NOT (EXISTS (SELECT 1 FROM ready r WHERE r.id = c.job_id)
        OR EXISTS (SELECT 1 FROM later l WHERE l.id = c.job_id)
        OR EXISTS (SELECT 1 FROM held h WHERE h.id = c.job_id)
        OR c.scope <> 'pending' AND (EXISTS (SELECT 1 FROM running r WHERE r.id = c.job_id)
            OR EXISTS (SELECT 1 FROM parked p WHERE p.id = c.job_id))
        OR c.scope = 'unfinished-or-failed'
            AND EXISTS (SELECT 1 FROM finished f WHERE f.id = c.job_id AND f.state = 'failed')) AS stale
FROM coalesce c
WHERE (c.queue, c.key) > (?1, ?2)
ORDER BY c.queue, c.key
LIMIT ?3
