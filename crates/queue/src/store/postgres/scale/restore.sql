-- Ends the drains of places, a person's and those of places that leave excepted; end_drains.sql comes before it.
-- $1 pool[]  $2 instance[]: a place each. Rows: boot of each worker that may claim again. Locks: the drains; their
-- workers, in order. Indexes: drain's primary key, worker_place; as in end_drains.sql.
WITH gone AS (
    DELETE FROM headcount.drain d USING unnest($1::text[], $2::text[]) AS u (pool, instance)
    WHERE d.pool = u.pool AND d.instance = u.instance AND d.drain_until IS NOT NULL AND d.leaving_until IS NULL
    RETURNING d.pool, d.instance
)
UPDATE headcount.worker
SET state = 'active', drained_by = NULL, drain_until = NULL
WHERE boot = ANY (ARRAY(
        SELECT w.boot
        FROM gone g
        JOIN headcount.worker w ON w.pool COLLATE "C" = g.pool AND w.instance COLLATE "C" = g.instance
        WHERE w.state = 'draining' AND w.drain_until IS NOT NULL
        ORDER BY w.boot
        FOR NO KEY UPDATE OF w
    ))
  AND state = 'draining' AND drain_until IS NOT NULL
RETURNING boot
