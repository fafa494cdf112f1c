-- Tells the workers at drained places what their place is told.
-- ?1: JSON, rows of [pool, instance]. ?2: whether also those that leave. Rows: none.
-- Indexes: the primary key of place, and worker_place, once a row of ?1.
UPDATE worker
SET state = CASE WHEN p.leaving_until IS NULL THEN 'draining' ELSE 'leaving' END,
    drain_epoch = p.epoch,
    drained_by = p.drained_by,
    drain_until = p.drain_until,
    leaving_until = p.leaving_until
FROM place p
WHERE p.pool = worker.pool
    AND p.instance = worker.instance
    AND (worker.pool, worker.instance) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))
    AND (worker.state IN ('active', 'draining') OR worker.state = 'leaving' AND ?2)
