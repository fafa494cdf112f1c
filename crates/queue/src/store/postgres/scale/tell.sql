-- Tells the workers at drained places what their place is told, and waits for their claims in flight.
-- $1 pool[]  $2 instance[]: a place each  $3 whether also those that leave. Rows: none. Locks: the workers, in order.
-- Indexes: worker_place, drain's primary key; as in end_drains.sql.
-- A worker may be drained without end where its place is not: by a command of the release before, or because its place
-- was forgotten. That is a person's order and stays.
UPDATE headcount.worker w
SET state = CASE WHEN d.leaving_until IS NULL THEN 'draining' ELSE 'leaving' END,
    drain_epoch = d.epoch,
    drained_by = CASE
        WHEN w.state <> 'active' AND w.drain_until IS NULL AND d.drain_until IS NOT NULL THEN w.drained_by
        ELSE d.drained_by
    END,
    drain_until = CASE WHEN w.state <> 'active' AND w.drain_until IS NULL THEN NULL ELSE d.drain_until END,
    leaving_until = d.leaving_until
FROM headcount.drain d
WHERE d.pool = w.pool AND d.instance = w.instance
  AND w.boot = ANY (ARRAY(
        SELECT o.boot
        FROM (SELECT DISTINCT u.pool, u.instance FROM unnest($1::text[], $2::text[]) AS u (pool, instance)) p
        JOIN headcount.worker o ON o.pool COLLATE "C" = p.pool AND o.instance COLLATE "C" = p.instance
        WHERE o.state <> 'dead'
        ORDER BY o.boot
        FOR NO KEY UPDATE OF o
    ))
  AND (w.state IN ('active', 'draining') OR (w.state = 'leaving' AND $3))
