-- The jobs of dead workers. $1 the most. Rows: boot, id, queue, claim, whether the handler had started at the last beat.
-- Locks: none; settle.sql, which moves them, looks at the token again. Index: running_token.
SELECT r.boot, r.id, r.queue, r.claim, r.id = ANY (w.started) AND r.started_at <= w.beat_at AS started
FROM headcount.worker w
JOIN headcount.running r ON r.boot = w.boot
WHERE w.state = 'dead'
LIMIT $1::bigint
