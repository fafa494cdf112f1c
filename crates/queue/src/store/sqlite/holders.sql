-- Who holds these coalesce keys, and what waits for its end.
-- ?1: JSON, rows of [queue, key]. Rows: queue, key, the holder, whether it waits to run, whether it may hold the key at
-- all (the release before this one ends jobs without letting go), the job that runs again.
-- Indexes: the primary keys, held_key, once a row of ?1.
SELECT c.queue, c.key, c.job_id,
    EXISTS (SELECT 1 FROM ready r WHERE r.id = c.job_id)
        OR EXISTS (SELECT 1 FROM later l WHERE l.id = c.job_id)
        OR EXISTS (SELECT 1 FROM held h WHERE h.id = c.job_id) AS waits,
    c.scope <> 'pending' AND (EXISTS (SELECT 1 FROM running r WHERE r.id = c.job_id)
            OR EXISTS (SELECT 1 FROM parked p WHERE p.id = c.job_id))
        OR c.scope = 'unfinished-or-failed'
            AND EXISTS (SELECT 1 FROM finished f WHERE f.id = c.job_id AND f.state = 'failed') AS holds,
    (SELECT h.id FROM held h WHERE h.queue = c.queue AND h.key = c.key) AS again
FROM json_each(?1) j
CROSS JOIN coalesce c ON c.queue = j.value ->> 0 AND c.key = j.value ->> 1
