-- Removes finished jobs whose retention has ended.
-- ?1: now. ?2: how many. Rows: id, queue, priority, kind, state, key of each. Index: finished_expiry.
DELETE FROM finished
WHERE id IN (SELECT id FROM finished WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)
RETURNING id, queue, priority, kind, state, extra ->> 'key'
